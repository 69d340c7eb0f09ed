"""Measure a model that somebody else compressed: what its weights show, held against what was asked and claimed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.asked import hold
from lm_eval_ext.models.evidence.canary import CANARY, canary_ids, canary_logits, compare_canary
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.evidence.faithful import decoded_logits
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence, totals
from lm_eval_ext.models.evidence.summary import whole
from lm_eval_ext.models.evidence.whole import decoder_totals
from lm_eval_ext.models.formats.modules import packed_matrices, read_modules
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.step import Step
from lm_eval_ext.models.targets.find import find_targets
from lm_eval_ext.models.targets.packed import packed_weights
from lm_eval_ext.models.targets.target import Target
from lm_eval_ext.tokens.vocabulary import refuse_foreign_ids, refuse_foreign_tokenizer

__all__ = ["measure"]

log = logging.getLogger(__name__)

# A share found may stray from the one asked by this: shares of rows are rounded, and a dense model has a few zeros.
_EXTRA_ZEROS = 0.005


def measure(loaded: Loaded, recipe: Recipe, claim: Claim, *, backend: str, pretrained: str) -> Evidence:
    """Look at every matrix that a recipe meant, in a model that was loaded compressed.

    Args:
        loaded: The model as it was loaded, and how the run calls it.
        recipe: What was asked; at least one step.
        claim: What the backend says that it did. Matrices that it left alone are listed as skipped.
        backend: Its name.
        pretrained: What was loaded.

    Returns:
        The evidence. `sparsity` is the share asked where it is what is there, else the share found; `bits` are those
        asked, if no group of weights has more values than they allow. Where the weights can't be read as plain numbers,
        or a method promises no form that could be looked at, the status is "unverified", the label says so, and neither
        is stated. `weights_hash_before` is missing: the source was not loaded.

    Raises:
        UserError: If the weights contradict what was asked or claimed, or are not finite; every fault is listed.
    """
    start = time.perf_counter()
    model, tokenizer = loaded.model, loaded.tokenizer
    refuse_foreign_tokenizer(model, tokenizer)
    refuse_foreign_ids(model, tokenizer, canary_ids(tokenizer), "the canary prompt")
    inner: Any = unwrap(model)
    packed = packed_weights(inner)
    # Read and hashed before the first forward pass: some libraries unpack their weights during it.
    matrices = packed_matrices(inner) if packed else []
    digest = weights_hash(model)
    doubts = [packed] if packed and not matrices else []
    records: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    faults: list[str] = []
    # A quantizer rounds small weights to zero, so that there may be more zeros than were asked for.
    exact = all(step.asked_bits is None for step in recipe.steps)
    for place, step in () if packed else enumerate(recipe.steps):
        later = recipe.steps[place + 1 :]
        if later and getattr(step, "transforms", False):
            continue
        lenient = any(getattr(other, "allow_regrowth", False) for other in later)
        targets, skips = find_targets(model, step)
        kept = [target for target in targets if target.info.name not in claim.skipped]
        left = [target.info.name for target in targets if target.info.name in claim.skipped]
        skipped += [{"name": skip.name, "reason": skip.reason, "method": step.method} for skip in skips]
        skipped += [{"name": n, "reason": f"{backend}: {claim.skipped[n]}", "method": step.method} for n in left]
        if not kept:
            raise UserError(f"{step.method} left every matrix as it was ({backend}: {claim.skipped[left[0]]})")
        of_step = [_record(step, target) for target in kept]
        faults += _faults(step, of_step, exact=exact, lenient=lenient)
        if (doubt := _doubt(step, of_step)) is not None:
            doubts.append(doubt)
        records += of_step
    sparsity, bits = (None, None) if doubts or packed else _held(recipe.steps, records)
    if not doubts and not packed:
        faults += _contradictions(claim, recipe, records, exact=exact)
    sums = totals(records) | decoder_totals(model, records)
    if matrices and (came := read_modules(inner, matrices)) is not None:
        found = hold(inner, recipe, claim, came, matrices, backend)
        records, skipped, faults, doubts = found.records, found.skipped, found.faults, found.doubts
        sparsity, bits = (None, None) if doubts else (found.sparsity, found.bits)
        sums = totals(records) | whole(inner, came)[0]
    if faults:
        raise UserError(f"{recipe.label} by {backend} is not what was asked: {'; '.join(faults)}")
    for doubt in doubts:
        log.warning("%s by %s is unverified: %s", recipe.label, backend, doubt)
    decoded, facts = decoded_logits(loaded, matrices) if matrices else (None, {})
    logits = canary_logits(loaded.call, tokenizer)
    if decoded is not None:
        facts = facts | compare_canary(decoded, logits)
    return Evidence(
        label=f"{recipe.label}(unverified)" if doubts else recipe.label,
        method=recipe.method,
        sparsity=sparsity,
        bits=bits,
        recipe=recipe.as_dict(),
        base=loaded.base,
        weights_hash_before=None,
        weights_hash_after=digest,
        dtype=loaded.dtype,
        softmax_dtype=loaded.softmax_dtype,
        device=loaded.device,
        seconds=time.perf_counter() - start,
        calibration=claim.facts.get("calibration"),
        totals=sums,
        matrices=records,
        skipped=skipped,
        canary={"prompt": CANARY, "finite": True, "argmax": int(logits.argmax())} | facts,
        status="unverified" if doubts else "proved",
        doubts=doubts,
        backend=backend,
        claim=claim.as_dict(),
        loaded=pretrained,
    )


def _record(step: Step, target: Target) -> dict[str, Any]:
    """What one matrix shows."""
    weight: Tensor = target.view()
    zeros = int((weight == 0).sum())
    groups, of = step.breaches(weight)
    record: dict[str, Any] = {
        "name": target.info.name,
        "shape": [target.info.rows, target.info.cols],
        "method": step.method,
        "finite": bool(torch.isfinite(weight).all()),
        "achieved_sparsity": zeros / weight.numel(),
        "zeros": zeros,
        "bytes": weight.numel() * weight.element_size(),
        "groups": of,
        "broken_groups": groups,
    }
    asked = {"asked_sparsity": step.asked_sparsity, "asked_bits": step.asked_bits}
    aliases = {"aliases": list(target.aliases)} if target.aliases else {}
    return record | aliases | {key: value for key, value in asked.items() if value is not None}


def _faults(step: Step, records: Sequence[dict[str, Any]], *, exact: bool, lenient: bool) -> list[str]:
    """Where the matrices of one step contradict what was asked of it; `lenient` if a later one may undo some of it."""
    faults = [f"{record['name']} has non-finite weights" for record in records if not record["finite"]]
    if lenient:
        return faults
    broken = [record for record in records if record["broken_groups"]]
    if broken:
        count, of = (sum(record[key] for record in broken) for key in ("broken_groups", "groups"))
        faults.append(
            f"{count} of {of} groups of weights don't have the form of {step.method}{step.level} "
            f"({_named([record['name'] for record in broken])})"
        )
    if step.asked_sparsity is not None:
        found, numel, rows = _zeros(records)
        # A share of each row is rounded down to whole weights.
        if found < step.asked_sparsity * numel - rows:
            dense = [r["name"] for r in records if r["achieved_sparsity"] < step.asked_sparsity / 2]
            least = f"; least in {_named(dense)}" if dense else ""
            faults.append(f"{found / numel:.4%} of the weights are zeros, asked {step.asked_sparsity:.4%}{least}")
        elif exact and found > (step.asked_sparsity + _EXTRA_ZEROS) * numel + rows:
            faults.append(f"{found / numel:.4%} of the weights are zeros, asked {step.asked_sparsity:.4%}")
    return faults


def _doubt(step: Step, records: Sequence[dict[str, Any]]) -> str | None:
    """Why a step can't be told from the weights, or None if it can."""
    if step.asked_sparsity is None and step.asked_bits is None:
        return f"{step.method} says neither a share of zeros nor bits, so there is nothing to measure"
    unseen = [record["name"] for record in records if not record["groups"]]
    if step.asked_bits is not None and unseen:
        return f"{step.method} says nothing of how its values can be counted ({_named(unseen)})"
    return None


def _contradictions(claim: Claim, recipe: Recipe, records: Sequence[dict[str, Any]], *, exact: bool) -> list[str]:
    """Where the weights or the recipe contradict what the backend says."""
    faults = []
    found, numel, _ = _zeros(list({record["name"]: record for record in records}.values()))
    over = 0.0 if claim.sparsity is None else found / numel - claim.sparsity
    if claim.sparsity is not None and (over < -_EXTRA_ZEROS or (exact and over > _EXTRA_ZEROS)):
        faults.append(f"it claims {claim.sparsity:.4%} zeros, the weights have {found / numel:.4%}")
    if claim.bits is not None and claim.bits != recipe.bits:
        faults.append(f"it claims {claim.bits:g} bits, asked {'none' if recipe.bits is None else f'{recipe.bits:g}'}")
    return faults


def _held(steps: Sequence[Step], records: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Share of zeros and bits that hold: what was asked, since no matrix contradicts it, or the share found."""
    asked = [step.asked_sparsity for step in steps if step.asked_sparsity is not None]
    bits = [step.asked_bits for step in steps if step.asked_bits is not None]
    if not asked:
        return None, min(bits, default=None)
    pruned = {record["name"]: record for record in records if "asked_sparsity" in record}
    found, numel, _ = _zeros(list(pruned.values()))
    share = found / numel
    return (asked[-1] if abs(share - asked[-1]) < _EXTRA_ZEROS else share), min(bits, default=None)


def _zeros(records: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Zeros, weights and rows of some matrices together."""
    sizes = [record["shape"] for record in records]
    return sum(r["zeros"] for r in records), sum(rows * cols for rows, cols in sizes), sum(rows for rows, _ in sizes)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more matrices" if len(names) > 3 else "")

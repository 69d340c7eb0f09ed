"""Compress a loaded model in place, and prove it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.came import came
from lm_eval_ext.models.evidence.canary import canary_ids, canary_logits, compare_canary
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence, totals
from lm_eval_ext.models.evidence.whole import decoder_totals
from lm_eval_ext.models.native.method import Method
from lm_eval_ext.models.native.pipeline import earlier_steps, held_bits, held_sparsity, refuse_undoing
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.parts.finite import all_finite
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.calibration import load_calibration
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.models.targets.find import find_targets
from lm_eval_ext.models.targets.matrix import Skip
from lm_eval_ext.models.targets.target import Target
from lm_eval_ext.tokens.positions import model_positions
from lm_eval_ext.tokens.vocabulary import refuse_foreign_ids, refuse_foreign_tokenizer

__all__ = ["compress_"]

log = logging.getLogger(__name__)


def compress_(
    model: nn.Module,
    tokenizer: Any,
    recipe: Recipe,
    *,
    base: dict[str, Any] | None = None,
    softmax_dtype: str = "float32",
    autocast: torch.dtype | None = None,
) -> Evidence:
    """Apply a recipe to a model, in place.

    Args:
        model: A transformers decoder-only model on its device(s), or a PEFT wrapper of one. Weights stay in their
            dtype: quantized values are stored dequantized, pruned ones as zeros.
        tokenizer: Its tokenizer.
        recipe: What to do; a recipe without steps changes nothing and gives the same kind of evidence.
        base: Facts about where the model came from, for the evidence.
        softmax_dtype: The dtype in which answers will be scored, for the evidence.
        autocast: Dtype of the autocast under which the run calls its model; calibration and canary are run so too.

    Returns:
        The evidence.

    Raises:
        UserError: Before any change, if some step can't be done as asked (every offending matrix is listed); after,
            if a matrix achieved less than asked or something is not finite.
    """
    start = time.perf_counter()
    loaded = Loaded(model=model, tokenizer=tokenizer, base=base or {}, softmax_dtype=softmax_dtype, autocast=autocast)
    if not recipe.steps:
        return came(loaded, recipe)
    refuse_foreign_tokenizer(model, tokenizer)
    steps = _in_place(recipe)
    plan = [_plan(model, step) for step in steps]
    refuse_undoing([(step, [target.info.name for target in kept]) for step, (kept, _) in zip(steps, plan, strict=True)])
    for step in steps:
        step.check_installed()
    hash_before = weights_hash(model)
    call = loaded.call
    refuse_foreign_ids(model, tokenizer, canary_ids(tokenizer), "the canary prompt")
    before = canary_logits(call, tokenizer)
    samples: list[Tensor] = []
    record = None
    if recipe.needs_calibration:
        calibration = recipe.calibration or Calibration()
        samples, record = load_calibration(calibration, tokenizer, model_positions(unwrap(model)))
        for sample in samples:
            refuse_foreign_ids(model, tokenizer, [int(sample.max())], f"calibration={record.source}")
        _rehearse(call, steps, plan, samples)
    done: list[tuple[Method, list[dict[str, Any]]]] = []
    skipped: dict[str, dict[str, str]] = {}
    unseen: list[str] = []
    for step, (targets, skips) in zip(steps, plan, strict=True):
        bench = Workbench(call, step, targets, skips, samples, earlier_steps(done))
        with torch.no_grad():
            step.run(bench)
        bench.finish()
        done.append((step, bench.records))
        skipped |= {
            f"{step.method} {s.name}": {"name": s.name, "reason": s.reason, "method": step.method} for s in bench.skips
        }
        unseen += bench.unseen
    if unseen:
        log.warning("no calibration token reached %d experts, ranked by magnitude: %s", len(unseen), ", ".join(unseen))
    records = [record for _, of_step in done for record in of_step]
    hash_after = weights_hash(model)
    if hash_after == hash_before:
        log.warning("recipe %s left every weight as it was", recipe.name)
    return Evidence(
        label=recipe.label,
        method=recipe.method,
        sparsity=held_sparsity(done),
        bits=held_bits(done),
        recipe=recipe.as_dict(),
        base=base or {},
        weights_hash_before=hash_before,
        weights_hash_after=hash_after,
        dtype=loaded.dtype,
        softmax_dtype=softmax_dtype,
        device=loaded.device,
        seconds=time.perf_counter() - start,
        calibration=None if record is None else record.as_dict(),
        totals=totals(records) | decoder_totals(model, records),
        matrices=records,
        skipped=list(skipped.values()),
        unseen_experts=unseen,
        canary=compare_canary(before, canary_logits(call, tokenizer)),
    )


Plan = Sequence[tuple[list[Target], list[Skip]]]


def _in_place(recipe: Recipe) -> list[Method]:
    """The steps, all of which must be methods that work on a loaded model."""
    steps = [step for step in recipe.steps if isinstance(step, Method)]
    assert len(steps) == len(recipe.steps), recipe.method
    return steps


def _rehearse(model: Calling, steps: Sequence[Method], plan: Plan, samples: Sequence[Tensor]) -> None:
    """See that every step that looks at data gets its statistics, before a weight is touched."""
    for step, (targets, _) in zip(steps, plan, strict=True):
        if step.needs_calibration:
            Workbench(model, step, targets, (), samples, quiet=True).rehearse()


def _plan(model: nn.Module, step: Method) -> tuple[list[Target], list[Skip]]:
    """Targets and skips of a step, everything checked that can be before any weight is touched."""
    targets, skips = find_targets(model, step)
    broken = [target.info.name for target in targets if not all_finite(target.view())]
    if broken:
        raise UserError(f"{len(broken)} matrices hold non-finite weights before compression: {', '.join(broken)}")
    left = step.check([target.info for target in targets])
    names = {skip.name for skip in left}
    kept = [target for target in targets if target.info.name not in names]
    if not kept:
        raise UserError(f"method {step.method} would skip every matrix ({left[0].name}: {left[0].reason}, and so on)")
    return kept, [*skips, *left]

"""Recipes whose steps belong to several backends: stage by stage, each of which but the last ends on disk."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Backend, Checkpoint, InPlace, Prepared, Source
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.recipe.recipe import Recipe

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded

__all__ = ["prepare_stages", "stages_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What a stage left behind."""

    source: Source
    claim: Claim
    entry: dict[str, Any]
    """Its line of the evidence."""


def stages_of(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """The steps that follow each other in one backend, each run of them as a recipe of its own."""
    found = []
    for backend, group in groupby(recipe.steps, key=lambda step: step.backend):
        steps = tuple(group)
        part = Recipe(
            name="+".join(step.method + step.level for step in steps),
            steps=steps,
            calibration=recipe.calibration if any(step.needs_calibration for step in steps) else None,
            dtype=recipe.dtype,
        )
        found.append((backend, part))
    return found


def prepare_stages(source: Source, recipe: Recipe, cache: Path, backend_named: Callable[[str], Backend]) -> Prepared:
    """Carry out all stages but the last, and ask the last one what to load.

    Args:
        source: What to compress.
        recipe: Its steps belong to more than one backend.
        cache: Where checkpoints are kept.
        backend_named: A backend by its name.

    Raises:
        UserError: If a stage before the last leaves no plain checkpoint, or is not what was asked.
    """
    stages = stages_of(recipe)
    for name, stage in stages[:-1]:
        _refuse_in_the_middle(name, stage)
    entries: list[dict[str, Any]] = []
    claims: list[Claim] = []
    last = len(stages)
    for number, (name, stage) in enumerate(stages[:-1], 1):
        log.info("stage %d of %d: %s by %s", number, last, stage.label, name)
        prepared = backend_named(name).prepare(source, stage, cache)
        done = _saved(source, stage, name, prepared, cache)
        source = done.source
        entries.append(done.entry)
        claims.append(done.claim)
    name, stage = stages[-1]
    log.info("stage %d of %d: %s by %s", last, last, stage.label, name)
    prepared = backend_named(name).prepare(source, stage, cache)
    backends = "+".join(name for name, _ in stages)
    start = Checkpoint(pretrained=str(source.pretrained), claim=_together(claims), loader={})
    if isinstance(prepared, InPlace):
        return InPlace(compress=_last_in_place(prepared, recipe, stages, start, entries, backends), start=start)
    claim = _together([*claims, prepared.claim])
    return replace(prepared, claim=claim, stages=tuple(entries), backend=backends)


def _refuse_in_the_middle(backend: str, stage: Recipe) -> None:
    """Refuse a stage that leaves packed weights, which no later one takes."""
    packed = [
        step.method
        for step in stage.steps
        if backend != "native" and step.asked_bits is not None and getattr(step, "checkpoint", "") != "dequantized"
    ]
    if packed:
        raise UserError(
            f"{', '.join(packed)} leaves packed weights, which no later step takes; put it last"
            + (", or give checkpoint=dequantized" if backend == "gptqmodel" else "")
        )


def _together(claims: list[Claim]) -> Claim:
    """One claim of several stages."""
    skipped = {name: reason for claim in claims for name, reason in claim.skipped.items()}
    facts: dict[str, Any] = {"stages": [dict(claim.facts) for claim in claims]}
    seen = [claim.facts["calibration"] for claim in claims if "calibration" in claim.facts]
    if seen:
        facts["calibration"] = seen[-1]
    bits = next((claim.bits for claim in reversed(claims) if claim.bits is not None), None)
    return Claim(bits=bits, skipped=skipped, facts=facts)


def _saved(source: Source, stage: Recipe, name: str, prepared: Prepared, cache: Path) -> _Done:
    """The checkpoint of a stage before the last, measured, as the source of the next one."""
    from lm_eval_ext.models.evidence.measure import measure

    if isinstance(prepared, Checkpoint):
        if prepared.pretrained == source.pretrained:
            raise UserError(f"backend {name} compresses while the model is loaded, so its step must be the last one")
        after = Source(pretrained=prepared.pretrained, loader=prepared.arguments(source))
        loaded = _load(after)
        found = measure(loaded, stage, prepared.claim, backend=name, pretrained=prepared.pretrained)
        del loaded
        gc.collect()
        return _Done(source=after, claim=prepared.claim, entry=_entry(name, found.as_dict()))
    return _in_place(source, stage, name, prepared, cache)


def _in_place(source: Source, stage: Recipe, name: str, prepared: InPlace, cache: Path) -> _Done:
    """Load, compress, save and free; kept by content as what other backends make."""
    import torch

    from lm_eval_ext.models.backends.sources import files_hash, plain_dtype, source_folder
    from lm_eval_ext.models.checkpoints.kept import kept
    from lm_eval_ext.models.checkpoints.reuse import code_of, release_of
    from lm_eval_ext.models.checkpoints.write import save_checkpoint

    def write(folder: Path) -> Mapping[str, Any]:
        loaded = _load(source)
        evidence = prepared.compress(loaded)
        save_checkpoint(loaded.model, loaded.tokenizer, folder, stage, evidence)
        return evidence.as_dict()

    folder = source_folder(source, name)
    key = {
        "backend": name,
        "weights": files_hash(folder),
        "recipe": stage.as_dict(),
        "dtype": plain_dtype(source),
        "device": str(source.loader.get("device") or "cpu"),
        "calibration": _tokens(source, stage, folder),
        "threads": torch.get_num_threads(),
        "code": code_of(stage),
        "versions": {library: release_of(library) for library in ("lm-eval-ext", "torch", "transformers")},
    }
    found = kept(cache, key, write)
    gc.collect()
    before = Checkpoint(pretrained=str(found.path), claim=Claim())
    after = Source(pretrained=str(found.path), loader=before.arguments(source))
    calibration = found.facts.get("calibration")
    facts = {"calibration": calibration} if calibration is not None else {}
    return _Done(source=after, claim=Claim(facts=facts), entry=_entry(name, dict(found.facts)))


def _tokens(source: Source, stage: Recipe, folder: Path) -> str | None:
    """Hash of the calibration's tokens: the text behind a path may be another one next time."""
    from lm_eval_ext.models.backends.sources import source_config, source_tokenizer
    from lm_eval_ext.models.recipe.calibration import load_calibration
    from lm_eval_ext.models.recipe.recipe import Calibration
    from lm_eval_ext.tokens.positions import config_positions

    if not stage.needs_calibration:
        return None
    tokenizer, positions = source_tokenizer(source, folder), config_positions(source_config(source, folder))
    return load_calibration(stage.calibration or Calibration(), tokenizer, positions)[1].token_hash


def _load(source: Source) -> Loaded:
    """A model as a stage needs it: plain, whole, on its device."""
    from transformers import AutoModelForCausalLM

    from lm_eval_ext.models.backends.sources import plain_dtype, source_tokenizer
    from lm_eval_ext.models.parts.loaded import Loaded

    folder = Path(str(source.pretrained))
    more: dict[str, Any] = {"trust_remote_code": bool(source.loader.get("trust_remote_code"))}
    if not folder.is_dir():
        more["revision"] = source.loader.get("revision") or "main"
    model: Any = AutoModelForCausalLM.from_pretrained(str(source.pretrained), dtype=plain_dtype(source), **more)
    device = str(source.loader.get("device") or "cpu")
    return Loaded(model=model.to(device).eval(), tokenizer=source_tokenizer(source, folder))


def _entry(backend: str, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What the evidence of the whole says of one stage."""
    keys = ("label", "method", "status", "sparsity", "bits", "doubts", "weights_hash_after", "totals", "seconds")
    return {"backend": backend, **{key: evidence[key] for key in keys}}


def _last_in_place(
    prepared: InPlace,
    recipe: Recipe,
    stages: list[tuple[str, Recipe]],
    start: Checkpoint,
    entries: list[dict[str, Any]],
    backends: str,
) -> Callable[[Loaded], Evidence]:
    """Compress behind the load, then measure again what all earlier stages made."""

    def compress(loaded: Loaded) -> Evidence:
        from lm_eval_ext.models.evidence.measure import measure
        from lm_eval_ext.models.evidence.record import totals
        from lm_eval_ext.models.evidence.whole import decoder_totals

        own = prepared.compress(loaded)
        found = measure(loaded, recipe, start.claim, backend=backends, pretrained=start.pretrained)
        earlier = sum(len(stage.steps) for _, stage in stages[:-1])
        methods = {step.method for step in recipe.steps[:earlier]}
        records = [record for record in found.matrices if record["method"] in methods] + own.matrices
        return replace(
            found,
            matrices=records,
            totals=totals(records) | decoder_totals(loaded.model, records),
            canary=own.canary,
            calibration=own.calibration or found.calibration,
            unseen_experts=own.unseen_experts,
            seconds=own.seconds + found.seconds,
            stages=[*entries, _entry(stages[-1][0], own.as_dict())],
        )

    return compress

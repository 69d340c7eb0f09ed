"""Compress a model and write it in one of the formats that others read, whole and checked or not at all."""

from __future__ import annotations

import gc
import glob
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.arguments import OWN_KEYS, take_recipe_keys
from lm_eval_ext.models.checkpoints.kept import disk_fault
from lm_eval_ext.models.checkpoints.manifest import MANIFEST, readable_as
from lm_eval_ext.models.checkpoints.trial import refuse_occupied, refuse_unsaveable
from lm_eval_ext.models.checkpoints.write import EVIDENCE_FILE, RECIPE_FILE, save_checkpoint
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.export.card import write_card
from lm_eval_ext.models.export.packed import pack, refuse_unpackable
from lm_eval_ext.models.export.reload import Expected, check_reload, expected_of
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.resolve import resolve

__all__ = ["FORMATS", "Exported", "export"]

FORMATS = ("hf", "compressed-tensors", "gptq", "gguf")
"""hf: a plain checkpoint, or that of the library that made it. The others hold packed or other forms, if they can."""

_OPTION = "--output "


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    folder: Path
    format: str
    evidence: Evidence
    bytes: int
    """Of all files."""
    logits: float
    """Largest difference of a logit of the canary prompt, in memory and loaded again."""


def export(
    pretrained: str,
    output: Path,
    *,
    recipe: str | None = None,
    method: str | None = None,
    format: str = "hf",
    arguments: Mapping[str, Any] | None = None,
) -> Exported:
    """Compress a model and write it with its recipe, its evidence and a model card.

    Args:
        pretrained: Folder or hub name of the model.
        output: New folder.
        recipe: As compressed_hf takes it.
        method: Likewise.
        format: One of FORMATS.
        arguments: Keys of the recipe, and model arguments (dtype, device, trust_remote_code ...).

    Returns:
        What was written. It has been loaded again by transformers and holds the weights that were in memory.

    Raises:
        UserError: If the model can't be compressed as asked, the format can't hold it exactly, or what was written
            does not load to the same model. Nothing is left of it.
    """
    keys = dict(arguments or {})
    if format not in FORMATS:
        raise unknown_name("format (--format)", format, list(FORMATS))
    for key in ("pretrained", *OWN_KEYS):
        if key in keys and key != "cache_compressed":
            raise UserError(f"{key}={keys[key]}: not an argument of compress; the folder is --output")
    refuse_occupied(output, option=_OPTION)
    asked = _asked(recipe, method, keys)
    _refuse_format(format, asked)
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    model: Any = CompressedHFLM(pretrained=pretrained, recipe=recipe, method=method, **keys)
    evidence: Evidence = model._evidence
    there = output.expanduser().absolute()
    stage = there.with_name(f".{there.name}.{uuid.uuid4().hex[:8]}")
    try:
        if evidence.backend == "native":
            refuse_unsaveable(model.model, model.tokenizer, output, option=_OPTION)
            expected = expected_of(model.model, model.tokenizer, evidence)
            save_checkpoint(model.model, model.tokenizer, stage, asked, evidence)
        else:
            expected = expected_of(model.model, model.tokenizer, None)
            _copy(evidence, stage, asked)
            _refuse_other_form(stage, format, asked)
        del model  # the check loads it again; two at once might not fit
        gc.collect()
        if format == "compressed-tensors" and evidence.backend == "native":
            stage = pack(stage, pretrained, str(keys.get("revision", "main")), asked, evidence)
        difference, loaded_hash = _checked(stage, expected, keys, format)
        if loaded_hash != evidence.weights_hash_after:
            evidence = replace(evidence, packed_hash=loaded_hash)
            readable_as(_write_evidence(stage, evidence))
        readable_as(write_card(stage, evidence, asked, format, difference))
        if there.is_dir():
            there.rmdir()
        stage.rename(there)
    except BaseException as error:
        if (fault := disk_fault(error)) is not None:
            raise UserError(
                f"--output {output} can't be written: {fault.strerror or fault}; nothing was kept"
            ) from error
        raise
    finally:
        for left in there.parent.glob(f"{glob.escape(stage.name)}*"):
            shutil.rmtree(left, ignore_errors=True)
    size = sum(path.stat().st_size for path in there.rglob("*") if path.is_file())
    return Exported(folder=there, format=format, evidence=evidence, bytes=size, logits=difference)


def _asked(recipe: str | None, method: str | None, keys: Mapping[str, Any]) -> Recipe:
    """The recipe, as compressed_hf will resolve it."""
    return resolve(recipe=recipe, method=method, **take_recipe_keys(recipe, method, dict(keys)))


def _refuse_format(format: str, recipe: Recipe) -> None:
    """Say before any work that a format can't hold what was asked."""
    if recipe.kv is not None:
        raise UserError(
            f"{recipe.label}: keys and values are rounded as a model runs, no checkpoint holds that; leave kv out"
        )
    backends = {step.backend for step in recipe.steps} - {"native"}
    if format == "hf":
        return
    if format == "gguf":
        raise UserError("--format gguf is not written yet: write --format hf and convert it with llama.cpp's converter")
    if format == "gptq":
        if not any(step.method.startswith(("gptq", "awq")) for step in recipe.steps):
            raise UserError(
                f"--format gptq keeps scales in float16, which can't hold {recipe.label} exactly; use method=gptq, "
                "or --format compressed-tensors"
            )
        return
    if not backends:
        refuse_unpackable(recipe)


def _copy(evidence: Evidence, stage: Path, recipe: Recipe) -> None:
    """Take the folder that a library's backend made, as it is."""
    source = Path(evidence.loaded or "")
    if not evidence.loaded or not source.is_dir():
        raise UserError(f"backend {evidence.backend} leaves no folder of {recipe.label} that could be written")
    shutil.copytree(source, stage, ignore=shutil.ignore_patterns(MANIFEST, "*.log"))
    (stage / RECIPE_FILE).write_text(recipe.as_yaml(), encoding="utf-8")
    _write_evidence(stage, evidence)


def _refuse_other_form(stage: Path, format: str, recipe: Recipe) -> None:
    """Refuse a format that the library's checkpoint is not in; raises UserError."""
    config = json.loads((stage / "config.json").read_text(encoding="utf-8"))
    form = (config.get("quantization_config") or {}).get("quant_method")
    if format != "hf" and form not in (("gptq", "awq") if format == "gptq" else (format,)):
        raise UserError(f"--format {format}: {recipe.label} leaves {form or 'plain weights'}; use --format hf")


def _write_evidence(stage: Path, evidence: Evidence) -> Path:
    path = stage / EVIDENCE_FILE
    path.write_text(json.dumps(evidence.as_dict(), indent=2) + "\n", encoding="utf-8")
    return path


def _checked(stage: Path, expected: Expected, keys: Mapping[str, Any], format: str) -> tuple[float, str]:
    try:
        return check_reload(stage, expected, trust_remote_code=bool(keys.get("trust_remote_code", False)))
    except UserError as error:
        raise UserError(f"--format {format}: {error}; nothing was kept") from error

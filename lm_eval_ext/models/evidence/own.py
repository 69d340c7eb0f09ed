"""A checkpoint that we wrote: known by the hash of its weights and by the recipe and the evidence beside it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.parts.loaded import Loaded

__all__ = ["EVIDENCE_FILE", "RECIPE_FILE", "own_checkpoint"]

RECIPE_FILE = "compression_recipe.yaml"
EVIDENCE_FILE = "compression_evidence.json"
_KEPT = [
    "label",
    "method",
    "sparsity",
    "bits",
    "recipe",
    "base",
    "weights_hash_before",
    "calibration",
    "totals",
    "matrices",
    "skipped",
    "unseen_experts",
    "status",
    "doubts",
    "backend",
    "claim",
]


def own_checkpoint(loaded: Loaded, fresh: Evidence) -> Evidence | None:
    """The evidence of a checkpoint with our recipe and evidence beside it.

    Args:
        loaded: What was loaded; its base names the folder.
        fresh: What this run knows of it: hash, canary, device, dtype.

    Returns:
        None where there are no such files. Where the weights' hash is the one in the file, that file's recipe, label
        and base hold, and its status too: "proved". Otherwise the label ends in "(unverified)", and a doubt says so.
    """
    folder = Path(str(loaded.base.get("pretrained")))
    recipe, written = folder / RECIPE_FILE, folder / EVIDENCE_FILE
    if not recipe.is_file() or not written.is_file():
        return None
    try:
        record = json.loads(written.read_text(encoding="utf-8"))
        asked = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        before = {key: record[key] for key in _KEPT if key in record}
        known, dtype = str(record["weights_hash_after"]), str(record["dtype"])
        label, base = str(record["label"]), str(record["base"]["pretrained"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        return _doubted(
            fresh, f"{written} can't be read ({type(error).__name__}), so the recipe beside it proves nothing"
        )
    if not set(before) <= {field.name for field in fields(Evidence)} or not isinstance(asked, dict):
        return _doubted(fresh, f"{recipe} is no recipe of ours")
    origin = {"base_model": base, "told_by": "recipe"}
    # An export in packed form has other tensors; the hash of these was written when it was checked.
    same = fresh.weights_hash_after in (known, record.get("packed_hash"))
    if same or weights_hash(loaded.model, as_dtype=dtype) == known:
        return replace(fresh, **before, origin=origin)
    doubt = (
        f"the recipe beside the weights ({label}) is of other weights: their hash is "
        f"{fresh.weights_hash_after[:12]} in {fresh.dtype}, the evidence says {known[:12]} in {dtype}"
    )
    narrower = fresh.dtype != dtype and fresh.dtype in ("bfloat16", "float16")
    doubt += f"; load them with dtype={dtype}" if narrower else ""
    return replace(_doubted(fresh, doubt), origin=origin)


def _doubted(fresh: Evidence, doubt: str) -> Evidence:
    """The same, unverified."""
    label: Any = fresh.label if fresh.status == "measured" else "unverified"
    named = label if label == "unverified" else f"{label}(unverified)"
    method = fresh.method if fresh.status == "measured" else "unverified"
    return replace(fresh, label=named, method=method, status="unverified", doubts=[*fresh.doubts, doubt])

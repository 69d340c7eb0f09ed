"""Switch a loaded model's attention to a quantized KV cache, and prove that it acts."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_ids, canary_logits, compare_canary
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.kv.attention import BASES, register
from lm_eval_ext.models.kv.levels import group_size, stored_bits
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["attach_kv"]


def attach_kv(loaded: Loaded, recipe: Recipe, evidence: Evidence) -> Evidence:
    """Let attention read keys and values as a quantized cache gives them back.

    Args:
        loaded: The model, its weights done.
        recipe: What was asked, with a `kv`.
        evidence: Of the weights; label, method, bits, status, recipe and `kv` are those of both afterwards.

    Returns:
        The same evidence.

    Raises:
        UserError: If the model's attention can't be reached, a layer with keys and values does not read them so, the
            groups don't divide a head, or the logits of the canary prompt did not move.
    """
    kv = recipe.kv
    assert kv is not None
    inner: Any = unwrap(loaded.model)
    before = canary_logits(loaded.call, loaded.tokenizer)
    base = _base(inner)
    reader = register(kv, base)
    inner.set_attn_implementation(reader.name)
    if inner.config._attn_implementation != reader.name:
        raise UserError(f"kv={kv.format}: {type(inner).__name__} has an attention of its own that can't be reached")
    after = canary_logits(loaded.call, loaded.tokenizer)
    cached = _cached_layers(loaded)
    if len(reader.reads) < max(1, cached):
        raise UserError(
            f"kv={kv.format}: {len(reader.reads)} of {cached} layers with a cache of {type(inner).__name__} attend by "
            "transformers' attention interface; the others can't be reached"
        )
    moved = compare_canary(before, after)
    if not moved["max_abs_change"]:
        raise UserError(f"kv={kv.format} changed nothing: the canary prompt's logits are the same to the last bit")
    width = max(reader.widths)
    dtype = next(inner.parameters()).dtype
    evidence.kv = {
        "format": kv.format,
        "bits": kv.bits,
        "group_size": group_size(kv, width) if kv.format.startswith("int") else None,
        "residual": kv.residual,
        "head_widths": sorted(reader.widths),
        "bits_per_value": stored_bits(kv, width, dtype),
        "attention": base,
        "layers": len(reader.reads),
        "canary": moved,
    }
    same = evidence.label == recipe.weights.label
    evidence.label = recipe.label if same else f"{evidence.label}+{kv.label}"
    evidence.method = recipe.method if evidence.method in ("none", recipe.weights.method) else _joined(evidence, recipe)
    evidence.bits = float(kv.bits) if evidence.method == kv.method else evidence.bits
    evidence.recipe = recipe.as_dict()
    if evidence.status == "dense":
        evidence.status = "proved"
    return evidence


def _joined(evidence: Evidence, recipe: Recipe) -> str:
    assert recipe.kv is not None
    return f"{evidence.method}+kv_{recipe.kv.format}"


def _base(inner: Any) -> str:
    """The attention that the model has; raises UserError for one that takes keys and values in another way."""
    name = str(getattr(inner.config, "_attn_implementation", None) or "eager")
    if name not in BASES:
        raise UserError(f"kv: the model runs with attn_implementation={name}; load it with sdpa or eager")
    return name


def _cached_layers(loaded: Loaded) -> int:
    """How many layers keep keys and values."""
    ids = torch.tensor([canary_ids(loaded.tokenizer)[:8]])
    inner: Any = unwrap(loaded.model)
    cache = DynamicCache(config=inner.config.get_text_config())
    loaded.call(ids, past_key_values=cache, use_cache=True)
    return sum(getattr(layer, "keys", None) is not None for layer in cache.layers)

"""What a class and a config tell of a model that can't be run by prefix trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lm_eval_ext.models.kv.attention import PREFIX
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.scoring.memory import ROW_TOKENS

__all__ = ["calling_of", "obstacle", "rotation_by_length"]

# Layers that carry a state from token to token, as configs name them.
_STATES = frozenset(("conv", "hybrid", "linear_attention", "mamba", "recurrent"))


def calling_of(lm: Any) -> Calling:
    """How an lm-eval model calls its model."""
    return Calling(lm.model, getattr(lm, "mixed_precision_dtype", None))


def obstacle(lm: Any, longest: int) -> str | None:
    """Why a model can't be run by prefix trees, as far as its class and config tell.

    Args:
        lm: The lm-eval model.
        longest: Tokens of the longest sequence to be run.

    Returns:
        What the model does, to be read behind its name; None leaves the question to a comparison of results.
    """
    if lm.backend != "causal":
        return "is an encoder-decoder model, which prefix trees are not made for"
    if getattr(lm, "looks_ahead", False):
        return "looks at tokens that follow"
    call = calling_of(lm)
    adapter = call.by_the_whole_prompt()
    if adapter is not None:
        return adapter
    model = call.inner
    config: Any = model.config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    if attention not in (None, "eager", "sdpa") and not str(attention).startswith(PREFIX):
        return f"runs with attn_implementation={attention}, which takes no mask of prefix trees (sdpa and eager do)"
    if getattr(model, "_is_stateful", False) or _STATES.intersection(getattr(config, "layer_types", None) or ()):
        return "carries a state from token to token"
    if config.model_type == "bloom" or getattr(getattr(config, "attn_config", config), "alibi", False):
        return "takes the distance of tokens from their order in the row (ALiBi)"
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk is not None and longest > chunk:
        return f"cuts attention into chunks of {chunk} tokens"
    if "local" in (getattr(config, "attention_layers", None) or ()) and config.window_size < max(longest, ROW_TOKENS):
        return f"attends within {config.window_size} tokens by their order in the row"  # GPT-Neo
    return rotation_by_length(config, longest)


def rotation_by_length(config: Any, longest: int) -> str | None:
    """Whether positions are scaled by the longest prompt of a batch, for sequences of up to so many tokens."""
    for values in _rotations(getattr(config, "rope_parameters", None) or {}):
        kind = values.get("rope_type")
        if kind not in ("dynamic", "longrope"):
            continue
        bound = values.get("original_max_position_embeddings") or config.max_position_embeddings
        if longest > bound:
            return f"scales positions by the longest prompt of a batch ({kind} rotary embedding, over {bound} tokens)"
    return None


def _rotations(rope: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters of all layers, or those of each type of layer."""
    yield rope
    yield from (part for part in rope.values() if isinstance(part, dict))

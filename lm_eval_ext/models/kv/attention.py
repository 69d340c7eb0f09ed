"""Attention that reads keys and values as a quantized cache gives them back.

It is registered with transformers under a name of its own, and stands before the attention that the model had. So it
acts wherever the model attends: in prefix trees, in the sampler, in generation, with a cache and without.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.kv.levels import read_back
from lm_eval_ext.models.recipe.kv import KvCache

__all__ = ["BASES", "PREFIX", "KvReader", "as_computed", "register"]

PREFIX = "lm_eval_ext_kv_"
"""Start of the names under which these attentions are registered."""
BASES = ("sdpa", "eager")
"""Attentions that it can stand before."""
# Masks add at most this where a key is seen, and the least number of some dtype (float16: -65,504) where not.
_UNSEEN = -30_000.0
_READERS: dict[str, KvReader] = {}


class KvReader:
    """One registered attention: rounds keys and values, then attends as `base` does."""

    def __init__(self, kv: KvCache, base: str) -> None:
        """Prepare.

        Args:
            kv: The format.
            base: sdpa or eager.
        """
        self.kv, self.base = kv, base
        self.name = f"{PREFIX}{kv.format}_{kv.group_size or 'auto'}_{kv.residual}_{base}"
        self.reads: Counter[int] = Counter()
        """How often each attention module (by id) was served."""
        self.widths: set[int] = set()
        """Channels of the heads whose keys or values were read."""
        self.suspended = False
        """Whether keys and values are left as they are for now."""

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> Any:
        """Attend; arguments and result as transformers' attention functions have them.

        Args:
            module: The attention module.
            query: [batch, heads, queries, width].
            key: [batch, key heads, keys, width], in full precision, those of the cache first.
            value: Likewise.
            attention_mask: [batch or 1, 1, queries, keys], boolean or additive; None is causal.
            **kwargs: Handed on.
        """
        self.reads[id(module)] += 1
        self.widths |= {key.shape[-1], value.shape[-1]}
        attend = _attention_of(module, self.base)
        if self.suspended:
            return attend(module, query, key, value, attention_mask, **kwargs)
        read_keys, read_values = read_back(key, self.kv), read_back(value, self.kv)
        if not self.kv.residual:
            return attend(module, query, read_keys, read_values, attention_mask, **kwargs)
        if kwargs.get("position_bias") is not None:
            raise UserError("kv_residual: this model adds a bias of its own to attention; run without kv_residual")
        # Each key stands there twice: as it is for those to whom it is near, as it is read for all others.
        near, far = _near_and_far(attention_mask, query, key, self.kv.residual)
        keys, values = torch.cat([key, read_keys], dim=-2), torch.cat([value, read_values], dim=-2)
        return attend(module, query, keys, values, _mask(near, far, attention_mask, query, self.base), **kwargs)


def register(kv: KvCache, base: str) -> KvReader:
    """Make an attention known to transformers, with the masks of the one that it stands before."""
    reader = KvReader(kv, base)
    AttentionInterface.register(reader.name, reader)
    AttentionMaskInterface.register(reader.name, AttentionMaskInterface()[base])
    _READERS[reader.name] = reader
    return reader


@contextmanager
def as_computed(inner: Any) -> Iterator[bool]:
    """Let a model read its keys and values as it computes them, while the body runs.

    Rounding is not continuous: two ways to compute one thing, equal to 1e-6, give keys that round to different values,
    and logits that differ visibly. Whether a way is right is asked without the rounding.

    Args:
        inner: The transformers model.

    Yields:
        Whether it reads a quantized cache otherwise.
    """
    reader = _READERS.get(str(getattr(inner.config, "_attn_implementation", None)))
    if reader is None:
        yield False
        return
    reader.suspended = True
    try:
        yield True
    finally:
        reader.suspended = False


def _attention_of(module: nn.Module, base: str) -> Callable[..., Any]:
    """The attention that this module's own file would take."""
    home = sys.modules[type(module).__module__]
    known: Any = getattr(home, "ALL_ATTENTION_FUNCTIONS", AttentionInterface())
    eager = getattr(home, "eager_attention_forward", None)
    if base == "eager" and eager is None:
        raise UserError(f"kv: {type(module).__name__} has no eager attention to stand before; load with sdpa")
    attend: Callable[..., Any] = known.get_interface(base, eager)
    return attend


def _near_and_far(mask: Tensor | None, query: Tensor, key: Tensor, residual: int) -> tuple[Tensor, Tensor]:
    """Which keys each query sees as they are, and which as they are read: [batch or 1, 1, queries, keys] each.

    Near are the last `residual` keys of those that it sees, in their order in the row: in a packed row a node's
    ancestors stand before it in order.
    """
    if mask is None:
        queries, keys = query.shape[-2], key.shape[-2]
        places = torch.arange(keys, device=key.device)
        visible = (places <= places[keys - queries :, None])[None, None]
    else:
        visible = mask if mask.dtype == torch.bool else mask > _UNSEEN
    later = visible.flip(-1).cumsum(-1).flip(-1)
    near = visible & (later <= residual)
    return near, visible & ~near


def _mask(near: Tensor, far: Tensor, mask: Tensor | None, query: Tensor, base: str) -> Tensor:
    """The mask over the doubled keys, of the kind that this attention takes."""
    both = torch.cat([near, far], dim=-1)
    if base == "sdpa" and (mask is None or mask.dtype == torch.bool):
        return both
    added = torch.zeros(both.shape, dtype=query.dtype if mask is None else mask.dtype, device=query.device)
    if mask is not None and mask.dtype != torch.bool:
        added = torch.cat([mask, mask], dim=-1).clone()
    return added.masked_fill_(~both, torch.finfo(query.dtype).min)

"""Keys and values as a quantized cache would give them back."""

from __future__ import annotations

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.kv import KvCache

__all__ = ["group_size", "read_back", "stored_bits"]

_GROUP = 64
_FLOATS = {"fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def group_size(kv: KvCache, width: int) -> int:
    """Values that share a scale, in a head of `width` channels; `width` for formats without groups.

    Raises:
        UserError: If the group size does not divide the width.
    """
    if kv.format in _FLOATS:
        return width
    size = kv.group_size or min(_GROUP, width)
    if width % size:
        fitting = [number for number in (128, 96, 80, 64, 48, 40, 32, 24, 16, 8) if width % number == 0]
        advice = f"give kv_group_size={fitting[0]}" if fitting else "this model can't be read in groups"
        raise UserError(f"kv={kv.format}: groups of {size} don't divide a head of {width} channels; {advice}")
    return size


def stored_bits(kv: KvCache, width: int, dtype: torch.dtype) -> float:
    """Bits a key or value in a cache, with what its groups add: scale and least value, each in the model's dtype."""
    if kv.format in _FLOATS:
        return float(kv.bits)
    return kv.bits + 2 * 8 * dtype.itemsize / group_size(kv, width)


def read_back(values: Tensor, kv: KvCache) -> Tensor:
    """Keys or values, stored in a format and read again.

    Args:
        values: [..., tokens, width of a head], finite, in any floating dtype; not changed. Each token stands alone, so
            that what it becomes depends neither on what is beside it in a batch nor on what follows.
        kv: The format.

    Returns:
        The same shape and dtype. int formats: min + scale * round((x - min) / scale) with scale = (max - min) /
        (2^bits - 1) of each group, min and scale kept in `dtype` and the arithmetic in float32, as optimum-quanto's
        MaxOptimizer does it for transformers' QuantizedCache. A group of one value stays as it is. fp8: rounded to the
        nearest such float; what lies beyond the largest becomes the largest (448 or 57,344), as engines saturate.

    Raises:
        UserError: As `group_size` does.
    """
    if kv.format in _FLOATS:
        kind = _FLOATS[kv.format]
        most = torch.finfo(kind).max
        return values.float().clamp(-most, most).to(kind).to(values.dtype)
    groups = values.reshape(*values.shape[:-1], -1, group_size(kv, values.shape[-1])).float()
    low, high = groups.aminmax(dim=-1, keepdim=True)
    scale = ((high - low) / float(2**kv.bits - 1)).to(values.dtype).float()
    low = low.to(values.dtype).float()
    # One repeated value has a scale of 0: any other keeps it at its least value.
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    codes = ((groups - low) / safe).round_().clamp_(0, 2**kv.bits - 1)
    return (codes * scale + low).to(values.dtype).reshape(values.shape)

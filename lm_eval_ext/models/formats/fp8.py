"""float8 weights with one inverse scale a block: transformers' FP8Linear, which runs on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.models.formats.form import Reading
from lm_eval_ext.models.formats.matrix import PackedMatrix

__all__ = ["block_reading", "packed_matrix"]


def packed_matrix(name: str, module: Any) -> PackedMatrix | None:
    """The matrix of a module with a float8 weight and `weight_scale_inv`; None for any other module."""
    weight, scales = (module._parameters.get(key) for key in ("weight", "weight_scale_inv"))
    if weight is None or scales is None or weight.ndim != 2 or not str(weight.dtype).startswith("torch.float8"):
        return None
    codes, inverse = weight.detach(), scales.detach()
    return PackedMatrix(
        name=f"{name}.weight",
        module=module,
        method="fp8",
        read=lambda: block_reading(codes, inverse),
        activation_bits=8.0,
    )


def block_reading(codes: Tensor, scales: Tensor) -> Reading:
    """float8 codes [rows, cols] and one scale a block, a row or the matrix."""
    inverse = scales.float()
    while inverse.ndim < 2:
        inverse = inverse.unsqueeze(-1)
    rows, cols = codes.shape
    high, wide = -(-rows // inverse.shape[0]), -(-cols // inverse.shape[1])
    spread = inverse.repeat_interleave(high, 0)[:rows].repeat_interleave(wide, 1)[:, :cols]
    return Reading(
        codes=codes.view(torch.uint8),
        values=codes.float() * spread,
        bits=8,
        group_size=wide if wide < cols else None,
        symmetric=None,
        extra_bits=scales.numel() * 8 * scales.element_size(),
        kind=str(codes.dtype).removeprefix("torch."),
        finite=bool(torch.isfinite(inverse).all()),
    )

"""torchao's and quanto's weights: tensors that are made of others and are dequantized when they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.models.formats.form import Reading
from lm_eval_ext.models.formats.matrix import PackedMatrix

__all__ = ["packed_matrix"]


def packed_matrix(name: str, module: Any) -> PackedMatrix | None:
    """The matrix of a module whose weight is a tensor of torchao or quanto; None for any other module."""
    parameter = module._parameters.get("weight")
    weight: Any = None if parameter is None else parameter.data
    if weight is None or type(weight) is Tensor or weight.ndim != 2:
        return None
    reader = _torchao(weight) if hasattr(weight, "qdata") else _quanto(weight) if hasattr(weight, "_qtype") else None
    if reader is None:
        return None
    method = "torchao" if hasattr(weight, "qdata") else "quanto"
    inputs = getattr(weight, "act_quant_kwargs", None) or getattr(weight, "activation_quantization", None)
    return PackedMatrix(
        name=f"{name}.weight",
        module=module,
        method=method,
        read=reader,
        activation_bits=None if inputs is None else 8.0,
    )


def _torchao(weight: Any) -> Callable[[], Reading] | None:
    """Plain codes in `qdata`, one scale (and zero point) a block of a row; None for packed or tiled layouts."""
    codes, scales, points = weight.qdata.detach(), weight.scale.detach(), getattr(weight, "zero_point", None)
    block = tuple(getattr(weight, "block_size", ()) or ())
    floats = codes.is_floating_point()
    if codes.shape != weight.shape or len(block) != 2 or block[0] != 1 or (not floats and codes.dtype != torch.int8):
        return None
    if getattr(weight, "act_pre_scale", None) is not None:
        return None
    bits = 8 if floats else _width(getattr(weight, "target_dtype", torch.int8))
    size = int(block[1])

    def read() -> Reading:
        scale = scales.float().reshape(codes.shape[0], -1).repeat_interleave(size, dim=1)
        values = codes.float()
        if points is not None:
            values = values - points.float().reshape(codes.shape[0], -1).repeat_interleave(size, dim=1)
        used = points is not None and bool(points.float().any())
        extra = 8 * scales.element_size() + (bits if used else 0)
        return Reading(
            codes=codes.view(torch.uint8) if floats else codes,
            values=values * scale,
            bits=bits,
            group_size=size if size < codes.shape[1] else None,
            symmetric=None if floats else not used,
            extra_bits=scales.numel() * extra,
            kind=str(codes.dtype).removeprefix("torch.") if floats else "int",
            finite=bool(torch.isfinite(scales).all()),
        )

    return read


def _quanto(weight: Any) -> Callable[[], Reading] | None:
    """Quanto's codes; what they stand for is its own `dequantize`."""
    if not hasattr(weight, "_scale"):
        weight = weight.weight_qbits_tensor()  # arranged for a kernel, which keeps all of it
    kind, held, scales = weight._qtype, weight._data, weight._scale.detach()
    if weight._axis != 0:
        return None
    shift = getattr(weight, "_shift", None)
    size = getattr(weight, "_group_size", None)

    def read() -> Reading:
        codes = held.unpack() if hasattr(held, "unpack") else held
        codes = codes.reshape(weight.shape)
        extra = 8 * scales.element_size() + (0 if shift is None else 8 * shift.element_size())
        return Reading(
            codes=codes.view(torch.uint8) if codes.is_floating_point() else codes,
            values=weight.dequantize().float(),
            bits=kind.bits,
            group_size=None if size is None or size >= weight.shape[1] else int(size),
            symmetric=None if kind.is_floating_point else shift is None,
            extra_bits=scales.numel() * extra,
            kind=str(kind.dtype).removeprefix("torch.") if kind.is_floating_point else "int",
            finite=bool(torch.isfinite(scales).all()),
        )

    return read


def _width(dtype: Any) -> int:
    """Bits of torch.int4 and the like."""
    return int("".join(char for char in str(dtype) if char.isdigit()) or 8)

"""compressed-tensors: packed words, int8 and float8 with scales, and plain weights that are rounded at each use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.models.formats.form import Reading
from lm_eval_ext.models.formats.matrix import PackedMatrix
from lm_eval_ext.models.formats.words import unpack

__all__ = ["packed_matrix"]

_EIGHT = (torch.int8, torch.float8_e4m3fn)


def packed_matrix(name: str, module: Any) -> PackedMatrix | None:
    """The matrix of a module with a `quantization_scheme`; None for any other module, or a scheme that is not read."""
    scheme = getattr(module, "quantization_scheme", None)
    weights = getattr(scheme, "weights", None)
    if weights is None:
        return None
    held = {
        key: value.detach()
        for key, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    }
    bits, kind = int(weights.num_bits), str(getattr(weights.type, "value", weights.type))
    scales = held.get("weight_scale")
    words, weight = held.get("weight_packed"), held.get("weight")
    if scales is None or scales.ndim != 2 or held.get("weight_g_idx") is not None:
        return None
    # Blocks of a matrix and formats of four-bit floats have scales of another shape or kind.
    if words is not None and (words.dtype != torch.int32 or kind != "int" or "weight_global_scale" in held):
        return None
    if words is None and (weight is None or (weight.dtype not in _EIGHT and kind != "int")):
        return None
    points = held.get("weight_zero_point")
    shape = held.get("weight_shape")

    def read() -> Reading:
        if words is not None:
            rows, cols = (words.shape[0], None) if shape is None else map(int, shape)
            codes = unpack(words, bits, cols).to(torch.int16) - 2 ** (bits - 1)
        else:
            assert weight is not None
            rows = weight.shape[0]
            codes = weight.to(torch.int16) if weight.dtype == torch.int8 else weight
        zero = _points(points, bits, rows, scales)
        if weight is not None and weight.dtype not in _EIGHT:
            codes = _rounded(weight, scales, zero, bits)
        return _reading(codes, scales, zero, bits)

    inputs = getattr(scheme, "input_activations", None)
    return PackedMatrix(
        name=f"{name}.weight",
        module=module,
        method="compressed_tensors",
        read=read,
        activation_bits=None if inputs is None else float(inputs.num_bits),
    )


def _points(points: Tensor | None, bits: int, rows: int, scales: Tensor) -> Tensor | None:
    """Zero points [rows, groups], which asymmetric words have packed along the rows; None where all are 0."""
    if points is None:
        return None
    if points.dtype == torch.int32 and points.shape != scales.shape:
        points = unpack(points.t(), bits, rows).t().to(torch.int16) - 2 ** (bits - 1)
    return None if not bool(points.float().any()) else points.to(torch.int16)


def _rounded(weight: Tensor, scales: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """What a plain weight is rounded to whenever it is used."""
    wide, places = _spread(scales, weight.shape[1]), (0 if zero is None else _spread(zero, weight.shape[1]))
    codes = (weight.float() / wide.float() + places).round()
    return codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int16)


def _reading(codes: Tensor, scales: Tensor, zero: Tensor | None, bits: int) -> Reading:
    cols, groups = codes.shape[1], scales.shape[1]
    floats = codes.is_floating_point()
    values = codes.float() if zero is None else codes.float() - _spread(zero, cols)
    extra = 8 * scales.element_size() + (0 if zero is None else bits)
    return Reading(
        codes=codes.view(torch.uint8) if floats else codes,
        values=values * _spread(scales.float(), cols),
        bits=bits,
        group_size=cols // groups if groups > 1 else None,
        symmetric=None if floats else zero is None,
        extra_bits=scales.numel() * extra,
        kind=str(codes.dtype).removeprefix("torch.") if floats else "int",
        finite=bool(torch.isfinite(scales.float()).all()),
    )


def _spread(groups: Tensor, cols: int) -> Tensor:
    """[rows or 1, groups] -> [rows or 1, cols]."""
    return groups.repeat_interleave(-(-cols // groups.shape[1]), dim=1)[:, :cols]

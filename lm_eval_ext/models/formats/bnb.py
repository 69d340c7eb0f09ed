"""bitsandbytes: int8 rows with a scale each, and 4-bit codes of a table in blocks with one absolute maximum each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.models.formats.form import Reading
from lm_eval_ext.models.formats.matrix import PackedMatrix

__all__ = ["packed_matrix"]


def packed_matrix(name: str, module: Any) -> PackedMatrix | None:
    """The matrix of a Linear8bitLt or Linear4bit; None for any other module, or after it was rearranged."""
    weight = module._parameters.get("weight")
    kind = type(weight).__name__
    if kind == "Int8Params":
        scales = getattr(weight, "SCB", None)
        scales = module.state.SCB if scales is None else scales
        if scales is None or weight.dtype != torch.int8:
            return None
        codes, absmax = weight.data.detach(), scales.detach()

        def rows() -> Reading:
            values = codes.float() * (absmax.float() / 127).unsqueeze(1)
            return Reading(
                codes=codes,
                values=values,
                bits=8,
                group_size=None,
                symmetric=True,
                extra_bits=absmax.numel() * 8 * absmax.element_size(),
                finite=bool(torch.isfinite(absmax).all()),
            )

        return PackedMatrix(name=f"{name}.weight", module=module, method="bitsandbytes", read=rows, activation_bits=8.0)
    state = getattr(weight, "quant_state", None)
    if kind != "Params4bit" or state is None or weight.dtype != torch.uint8:
        return None
    if getattr(state, "packing_format_for_cpu", False):
        return None
    packed = weight.data.detach()
    blocks, extra = _absmax(state)
    table, shape, size = state.code.detach().float(), tuple(state.shape), int(state.blocksize)
    quantizer = str(state.quant_type)

    def nibbles() -> Reading:
        flat = packed.reshape(-1)
        codes = torch.stack((flat >> 4, flat & 15), dim=1).reshape(-1)[: shape[0] * shape[1]]
        values = table[codes.long()] * blocks.repeat_interleave(size)[: codes.numel()]
        return Reading(
            codes=codes.reshape(shape),
            values=values.reshape(shape),
            bits=4,
            group_size=size if shape[1] % size == 0 else None,
            symmetric=None,
            extra_bits=extra,
            kind=quantizer,
            finite=bool(torch.isfinite(blocks).all()),
        )

    return PackedMatrix(name=f"{name}.weight", module=module, method="bitsandbytes", read=nibbles)


def _absmax(state: Any) -> tuple[Tensor, float]:
    """The absolute maximum of each block, and the bits that all of them take: once more quantized where nested."""
    if not getattr(state, "nested", False):
        held = state.absmax.detach()
        return held.float(), held.numel() * 8 * held.element_size()
    inner = state.state2
    codes = state.absmax.detach().reshape(-1)
    second = inner.absmax.detach().float()
    values = inner.code.detach().float()[codes.long()] * second.repeat_interleave(int(inner.blocksize))[: codes.numel()]
    return values + float(state.offset), codes.numel() * 8 + second.numel() * 32

"""GPTQ's and AWQ's packed words, as checkpoints have them and GPTQModel's kernels hold them before they run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.form import Reading
from lm_eval_ext.models.formats.matrix import PackedMatrix
from lm_eval_ext.models.formats.words import unpack

__all__ = ["packed_matrix"]

# Where AWQ's gemm form puts the eight columns of a word, undone.
_AWQ = (0, 4, 1, 5, 2, 6, 3, 7)


def packed_matrix(name: str, module: Any) -> PackedMatrix | None:
    """The matrix of a module that holds qweight, qzeros and scales; None for any other module.

    Raises:
        UserError: If the shapes are not those of its bits.
    """
    held = {key: module._buffers.get(key) for key in ("qweight", "qzeros", "scales", "g_idx")}
    if any(held[key] is None for key in ("qweight", "qzeros", "scales")) or not hasattr(module, "bits"):
        return None
    words, zeros, scales = (held[key].detach() for key in ("qweight", "qzeros", "scales"))
    if words.dtype != torch.int32 or words.ndim != 2:
        return None
    bits, (groups, rows) = int(module.bits), scales.shape
    if words.shape[1] == rows:
        order = held["g_idx"]
        order = None if order is None else order.detach()
        first = 1 if _format(module) == 1 else 0
        cols = words.shape[0] * 32 // bits
        _check(name, module, bits, (cols, rows))

        def gptq() -> Reading:
            codes = unpack(words.t(), bits)
            points = unpack(zeros, bits, rows).t().to(torch.int16) + first
            index = torch.arange(cols) // -(-cols // groups) if order is None else order.long()
            return _reading(codes, points, scales.t(), index, bits)

        return PackedMatrix(name=f"{name}.weight", module=module, method="gptq", read=gptq)
    if words.shape[1] * 32 != rows * bits or bits != 4:
        return None
    _check(name, module, bits, (words.shape[0], rows))

    def awq() -> Reading:
        codes, points = (_in_order(unpack(packed, 4)).t() for packed in (words, zeros))
        index = torch.arange(codes.shape[1]) // (codes.shape[1] // groups)
        return _reading(codes, points.to(torch.int16), scales.t(), index, bits)

    return PackedMatrix(name=f"{name}.weight", module=module, method="awq", read=awq)


def _reading(codes: Tensor, points: Tensor, scales: Tensor, index: Tensor, bits: int) -> Reading:
    """Codes [rows, cols]; points and scales [rows, groups]; the group of each column."""
    wide = scales.float()
    values = (codes.to(torch.int16) - points[:, index]).float() * wide[:, index]
    groups = scales.shape[1]
    return Reading(
        codes=codes,
        values=values,
        bits=bits,
        group_size=codes.shape[1] // groups if groups > 1 else None,
        symmetric=bool((points == 2 ** (bits - 1)).all()),
        extra_bits=scales.numel() * (8 * scales.element_size() + bits),
        finite=bool(torch.isfinite(scales).all()),
    )


def _in_order(codes: Tensor) -> Tensor:
    return codes.reshape(codes.shape[0], -1, 8)[..., list(_AWQ)].reshape(codes.shape)


def _format(module: Any) -> int:
    """1 where the zero points are stored less one, as GPTQ's first format has them."""
    told = getattr(module, "qzero_format", None)
    return int(told()) if callable(told) else 1


def _check(name: str, module: Any, bits: int, found: tuple[int, int]) -> None:
    """Raise UserError if the words of a module are not a matrix of its size."""
    said = (int(module.in_features), int(module.out_features))
    if said != found:
        raise UserError(
            f"{name}: its words hold a matrix of {found[1]} x {found[0]} at {bits} bits, as config.json says; the "
            f"model has {said[1]} x {said[0]}"
        )

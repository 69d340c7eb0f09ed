"""MLX's packed weights: unpacked and dequantized by torch, to the last bit as mlx.core.dequantize does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.formats.form import Form
from lm_eval_ext.models.formats.words import unpack

__all__ = ["Packing", "decode", "is_mlx", "packing_of"]

BITS = (2, 3, 4, 5, 6, 8)
_CHUNK = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How one matrix is packed."""

    bits: int
    group_size: int


def is_mlx(config: Mapping[str, Any]) -> bool:
    """Whether a config.json says that mlx_lm quantized the weights: `quantization` with bits, and no quant_method."""
    said = config.get("quantization")
    return isinstance(said, Mapping) and "bits" in said and "quant_method" not in said


def packing_of(module: str, said: Mapping[str, Any], words: Tensor, scales: Tensor) -> Packing:
    """How a matrix is packed: what its config says, held against the shapes in the file.

    Args:
        module: The module's name in the file.
        said: `quantization` of config.json; a module's own entry comes before what stands for all.
        words: [..., cols * bits / 32], uint32.
        scales: [..., cols / group_size].

    Raises:
        UserError: On a mode or bits that are not read here, or shapes that contradict the config.
    """
    own = said.get(module)
    entry = own if isinstance(own, Mapping) else said
    mode = entry.get("mode", said.get("mode", "affine"))
    if mode != "affine":
        raise UserError(f"{module} is packed in MLX's mode {seen(mode)}; only affine is read here")
    bits, size = entry.get("bits"), entry.get("group_size")
    if bits not in BITS or not isinstance(size, int):
        raise UserError(f"{module}: MLX's bits={seen(bits)}, group_size={seen(size)}; bits are 2, 3, 4, 5, 6 or 8")
    if own is False:
        raise UserError(f"{module} is packed in the file, and config.json says that it is not quantized")
    if scales.shape[-1] * size * bits != words.shape[-1] * 32:
        raise UserError(
            f"{module}: {words.shape[-1]} words and {scales.shape[-1]} scales a row are not {bits} bits in groups of "
            f"{size}, as config.json says"
        )
    return Packing(bits=bits, group_size=size)


def decode(name: str, words: Tensor, scales: Tensor, biases: Tensor, packing: Packing) -> tuple[Tensor, Form]:
    """Dequantize one matrix, and say what it holds.

    Args:
        name: Of the weight, for the form.
        words: [rows, cols * bits / 32], uint32.
        scales: [rows, cols / group_size], in the dtype of the result.
        biases: As the scales.
        packing: See `packing_of`.

    Returns:
        [rows, cols] code * scale + bias, the product and the sum rounded one after the other, as mlx does on a CPU;
        and the form, whose levels are the different codes in the matrix.
    """
    rows, groups = scales.shape
    cols = groups * packing.group_size
    values = torch.empty(rows, cols, dtype=scales.dtype)
    met = torch.zeros(2**packing.bits, dtype=torch.int64)
    step = max(1, _CHUNK // cols)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        codes = unpack(words[part], packing.bits)
        met += torch.bincount(codes.reshape(-1).long(), minlength=met.numel())
        grouped = codes.view(-1, groups, packing.group_size).to(scales.dtype)
        grouped.mul_(scales[part].unsqueeze(-1)).add_(biases[part].unsqueeze(-1))
        values[part] = grouped.view(-1, cols)
    extra = 8 * (scales.element_size() + biases.element_size())
    form = Form(
        name=name,
        shape=(rows, cols),
        method="mlx",
        kind="int",
        bits=packing.bits,
        levels=int((met > 0).sum()),
        group_size=packing.group_size,
        symmetric=False,
        bits_per_weight=packing.bits + extra / packing.group_size,
        zeros=int((values == 0).sum()),
        finite=bool(torch.isfinite(values).all()),
    )
    return values, form

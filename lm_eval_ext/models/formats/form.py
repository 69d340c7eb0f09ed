"""What one packed matrix turned out to be, and what a whole checkpoint that came compressed did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Came", "Form", "Reading", "form_of", "unused"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One matrix as its format's public layout says it, decoded by us."""

    codes: Tensor
    """[rows, cols], whole numbers: what is stored for each weight."""
    values: Tensor
    """[rows, cols], what they stand for."""
    bits: float
    """Width of a code."""
    group_size: int | None
    """Weights of a row that share a scale; None for a scale a row, or a matrix."""
    symmetric: bool | None
    """Whether the levels lie alike on both sides of 0; None where the format has no such thing."""
    extra_bits: float
    """Bits of scales, zero points and the like, all together."""
    kind: str = "int"
    """Kind of code: int, nf4, fp4, float8_e4m3fn."""
    finite: bool = True
    """Whether scales and values are finite."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What one matrix holds, measured."""

    name: str
    """Name of its weight, as a plain model has it."""
    shape: tuple[int, int]
    method: str
    kind: str
    bits: float
    """Width of a code."""
    levels: int | None
    """Different codes in the matrix; None where no codes were seen."""
    group_size: int | None
    symmetric: bool | None
    bits_per_weight: float
    """Scales and zero points included."""
    zeros: int
    finite: bool

    @property
    def used_bits(self) -> int | None:
        """Bits that the codes found would need; None where no codes were seen."""
        return None if self.levels is None else max(1, (self.levels - 1).bit_length())

    def as_dict(self) -> dict[str, Any]:
        """A record of the evidence; `bytes` are those of the same matrix at 16 bits."""
        numel = self.shape[0] * self.shape[1]
        record = {
            "name": self.name,
            "shape": list(self.shape),
            "method": self.method,
            "kind": self.kind,
            "finite": self.finite,
            "zeros": self.zeros,
            "achieved_sparsity": self.zeros / numel,
            "bytes": 2 * numel,
        }
        if self.method == "sparse":
            return record
        return record | {
            "bits": self.bits,
            "levels": self.levels,
            "group_size": self.group_size,
            "symmetric": self.symmetric,
            "bits_per_weight": self.bits_per_weight,
        }


@dataclass(kw_only=True)
class Came:
    """What reading a checkpoint, or a model, that came compressed told."""

    method: str
    """Family: gptq, awq, compressed_tensors, bitsandbytes, fp8, torchao, quanto, gguf, mlx, sparse, few_levels."""
    forms: list[Form] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else a reader should know, in plain types: how it was measured."""


def form_of(name: str, method: str, reading: Reading) -> Form:
    """The form of a matrix from its reading."""
    codes = reading.codes
    numel = codes.numel()
    return Form(
        name=name,
        shape=(codes.shape[0], codes.shape[1]),
        method=method,
        kind=reading.kind,
        bits=reading.bits,
        levels=_levels(codes),
        group_size=reading.group_size,
        symmetric=reading.symmetric,
        bits_per_weight=reading.bits + reading.extra_bits / numel,
        zeros=int((reading.values == 0).sum()),
        finite=reading.finite and bool(torch.isfinite(reading.values).all()),
    )


def _levels(codes: Tensor) -> int:
    """How many different codes there are."""
    flat = codes.reshape(-1)
    low = int(flat.min())
    return int((torch.bincount((flat.long() - low)) > 0).sum())


def unused(forms: Sequence[Form]) -> list[str]:
    """A doubt where no matrix of a width uses more than half of its codes: it was packed wider than it was rounded."""
    doubts = []
    for bits in sorted({form.bits for form in forms if form.levels is not None}):
        used = max(form.used_bits or 0 for form in forms if form.bits == bits)
        if used < bits:
            doubts.append(f"matrices of {bits:g} bits hold no more than 2^{used} different codes")
    return doubts

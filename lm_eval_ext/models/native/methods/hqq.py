"""HQQ: half-quadratic quantization, by the library hqq, dequantized back into the weights' dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from lm_eval_ext.models.native.method import MatrixMethod
from lm_eval_ext.models.native.methods._groups import (
    OnIndivisible,
    check_divisible,
    overfull,
    require_finite,
    require_float,
    stored_facts,
    whole_number,
)
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Hqq"]

_BITS = (1, 2, 3, 4, 5, 6, 8)
# A scale and a zero point of 16 bits a group, as the library stores them.
_OVERHEAD = 32


class Hqq(MatrixMethod):
    """Scales and zero points that shrink a robust norm of the error; no data.

    Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models". Groups run along the inputs
    (`axis=1`), and the library's optimizer works in float32. transformers 5 has a config for it that ends in
    NotImplementedError; here the library itself is called.
    """

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    # A zero point that is no whole number: 0 is no level.
    keeps_zeros: ClassVar[bool] = False
    extra: ClassVar[str | None] = "hqq"
    modules: ClassVar[tuple[str, ...]] = ("hqq",)

    method: Literal["hqq"] = "hqq"
    bits: int
    """1, 2, 3, 4, 5, 6 or 8."""
    group_size: int = 64
    """Columns a group, at least 8."""
    on_indivisible: OnIndivisible = "error"

    @field_validator("bits", mode="before")
    @classmethod
    def _check_bits(cls, value: object) -> int:
        bits = whole_number(value, 1, 8)
        if bits not in _BITS:
            raise ValueError(f"got {bits}, expected one of {', '.join(map(str, _BITS))}, as hqq has them")
        return bits

    @field_validator("group_size", mode="before")
    @classmethod
    def _check_group_size(cls, value: object) -> int:
        return whole_number(value, 8)

    @field_validator("on_indivisible")
    @classmethod
    def _check_policy(cls, value: str) -> str:
        if value == "pad":
            raise ValueError("got 'pad', expected error or skip: hqq has no shorter groups")
        return value

    @property
    def asked_bits(self) -> float:
        """Bits a weight asked for, without scales and zero points."""
        return float(self.bits)

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Hold the group size against every matrix; see `check_divisible`."""
        return check_divisible(matrices, self.group_size, self.on_indivisible, range(8, 1025))

    def apply(self, weight: Tensor, matrix: MatrixInfo) -> Tensor:
        """Quantize and dequantize one matrix.

        Args:
            weight: [rows, cols] in float32, bfloat16 or float16, on any device; not changed.
            matrix: Its name and shape.

        Returns:
            What `hqq.core.quantize.Quantizer` gives back, in the same shape, dtype and device. Worked out in float32.

        Raises:
            UserError: If a value is not finite.
        """
        import torch
        from hqq.core.quantize import Quantizer

        require_float(weight, matrix)
        require_finite(weight, matrix)
        if not weight.numel():
            return weight.detach().clone()
        device = str(weight.device)
        codes, meta = Quantizer.quantize(
            weight.detach().float().contiguous(),
            nbits=self.bits,
            group_size=self.group_size,
            axis=1,
            bitpack=False,
            device=device,
        )
        meta["compute_dtype"] = torch.float32
        value: Tensor = Quantizer.dequantize(codes, meta)
        return value.to(weight.dtype)

    def describe(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Levels found per group and stored bits a weight (16-bit scale and zero point)."""
        return stored_facts(after, self.bits, self.group_size, _OVERHEAD)

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups of more than 2^bits values, and groups looked at."""
        return overfull(weight, self.bits, self.group_size)

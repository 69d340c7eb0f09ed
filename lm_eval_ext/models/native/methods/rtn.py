"""Round to nearest: every weight goes to the nearest of 2^bits evenly spaced values of its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from lm_eval_ext.models.native.method import MatrixMethod
from lm_eval_ext.models.native.methods._groups import (
    SMALLEST_GROUP,
    OnIndivisible,
    check_divisible,
    columns_a_group,
    joined,
    map_rows,
    overfull,
    require_finite,
    require_float,
    row_chunks,
    split,
    stored_facts,
    whole_number,
)
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["RoundToNearest"]

_DEFAULT_GROUP = 64
# Bits that formats with packed integers spend on a scale.
_SCALE_BITS = 16


class RoundToNearest(MatrixMethod):
    """Round-to-nearest quantization of the weights, baked back into their dtype.

    Affine (the default): the range from min(w, 0) to max(w, 0) of a group is cut into 2^bits - 1 steps,
    and an integer zero point makes 0 a level. Symmetric: the levels are -2^(bits-1) .. 2^(bits-1) - 1
    steps of max|w| / ((2^bits - 1) / 2), the full range, so that the largest positive value may be cut
    by half a step. Both are the conventions of GPTQ's code, torchao and compressed-tensors. Scales and
    zero points are computed in float32.
    """

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"

    method: Literal["rtn"] = "rtn"
    bits: int
    """2 to 8."""
    symmetric: bool = False
    """No zero point: levels mirrored about 0, but for one more on the negative side."""
    granularity: Literal["group", "channel", "tensor"] = "group"
    """What shares a scale: a group of columns in a row, a row (output channel), or the whole matrix."""
    group_size: int | None = None
    """Columns a group, at least 8; 64 if not given. Only for granularity=group."""
    on_indivisible: OnIndivisible = "error"

    @field_validator("bits", mode="before")
    @classmethod
    def _check_bits(cls, value: object) -> int:
        return whole_number(value, 2, 8)

    @field_validator("group_size", mode="before")
    @classmethod
    def _check_group_size(cls, value: object) -> int | None:
        return columns_a_group(value)

    @model_validator(mode="after")
    def _resolve_group_size(self) -> RoundToNearest:
        if self.granularity != "group":
            if self.group_size is not None:
                raise ValueError(
                    f"got group_size={self.group_size} with granularity={self.granularity}, which has no "
                    "groups; leave group_size out (over a recipe that sets it: write "
                    f"method=rtn,bits={self.bits},granularity={self.granularity} instead)"
                )
        elif self.group_size is None:
            # Past the frozen check, so that the log shows 64 while the field still counts as not given.
            object.__setattr__(self, "group_size", _DEFAULT_GROUP)
        return self

    @property
    def asked_bits(self) -> float:
        """Bits a weight asked for, without scales and zero points."""
        return float(self.bits)

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Hold the group size against every matrix; see `check_divisible`."""
        if self.granularity != "group":
            return []
        assert self.group_size is not None
        return check_divisible(
            matrices,
            self.group_size,
            self.on_indivisible,
            range(SMALLEST_GROUP, 1025),
            "granularity=channel",
        )

    def apply(self, weight: Tensor, matrix: MatrixInfo) -> Tensor:
        """Quantize and dequantize one matrix.

        Args:
            weight: [rows, cols] in float32, bfloat16 or float16, on any device; not changed. Zeros stay
                zeros, and a group of one repeated value stays as it is.
            matrix: Its name and shape.

        Returns:
            The quantized values in the same shape, dtype and device.

        Raises:
            UserError: If a value is not finite, or its quantized form overflows the dtype.
        """
        require_float(weight, matrix)
        if not weight.numel():
            return weight.detach().clone()
        if self.granularity == "tensor":
            scale, zero = self._levels(*_extremes(weight, matrix))
            return map_rows(weight, matrix, lambda chunk: self._round(chunk.float(), scale, zero))
        size = self.group_size if self.group_size is not None else weight.shape[1]
        skips = self.check([matrix])
        assert not skips, skips

        def quantize(chunk: Tensor) -> Tensor:
            groups = split(chunk, size)
            levels = self._levels(groups.amin(dim=-1, keepdim=True), groups.amax(dim=-1, keepdim=True))
            return joined(self._round(groups, *levels), chunk.shape[1])

        return map_rows(weight, matrix, quantize)

    def describe(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Levels found per group and stored bits a weight (16-bit scale, zero point of `bits` bits)."""
        overhead = _SCALE_BITS + (0 if self.symmetric else self.bits)
        return stored_facts(after, self.bits, self._columns(after), overhead)

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups of more than 2^bits values, and groups looked at."""
        return overfull(weight, self.bits, self._columns(weight))

    def _columns(self, weight: Tensor) -> int:
        """Columns a group of this matrix; 0 if the matrix is one group."""
        return {"group": self.group_size or 0, "channel": weight.shape[1], "tensor": 0}[self.granularity]

    def _levels(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point from the least and greatest value of each group, all float32."""
        import torch

        bottom = -(2 ** (self.bits - 1))
        # A tensor: dividing by a Python number is a multiplication by its inverse on CUDA, one ulp off.
        steps = torch.tensor(float(2**self.bits - 1), device=low.device)
        constant = low == high
        if self.symmetric:
            scale = torch.maximum(low.abs(), high.abs()) / (steps / 2)
        else:
            scale = (high.clamp(min=0) - low.clamp(max=0)) / steps
        # One repeated value is one step from 0, which is exact; a span that underflows keeps a usable step.
        scale = torch.where(constant, low.abs(), scale)
        scale = torch.where(constant & (low != 0), scale, scale.clamp(min=torch.finfo(torch.float32).tiny))
        if self.symmetric:
            return scale, torch.zeros_like(scale)
        zero = (bottom - low.clamp(max=0) / scale).clamp(bottom, -bottom - 1).round()
        return scale, torch.where(constant, torch.where(low < 0, bottom + 1.0, float(bottom)), zero)

    def _round(self, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """Nearest level of each float32 value, as a float32 value again. Ties go to the even level."""
        half = 2 ** (self.bits - 1)
        # Only the quotient is new memory; `values` may be the model's own.
        return (values / scale).add_(zero).clamp_(-half, half - 1).round_().sub_(zero).mul_(scale)


def _extremes(weight: Tensor, matrix: MatrixInfo) -> tuple[Tensor, Tensor]:
    """Least and greatest value of a whole matrix, in float32, without a float32 copy of it."""
    import torch

    parts = []
    for rows in row_chunks(weight):
        require_finite(weight[rows], matrix)
        parts.append(weight[rows].detach().aminmax())
    low = torch.stack([part.min for part in parts]).amin()
    high = torch.stack([part.max for part in parts]).amax()
    return low.float(), high.float()

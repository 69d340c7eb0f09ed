"""MLX's affine quantization, bit for bit: the scheme of the MLX model zoo, without MLX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from lm_eval_ext.errors import seen
from lm_eval_ext.models.native.method import MatrixMethod
from lm_eval_ext.models.native.methods._groups import (
    OnIndivisible,
    check_divisible,
    joined,
    map_rows,
    overfull,
    require_float,
    split,
    stored_facts,
)
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

__all__ = ["MlxAffine", "mlx_affine"]

_BITS = (2, 3, 4, 5, 6, 8)
_GROUP_SIZES = (32, 64, 128)
# What mlx_lm does, in the words of our fields.
_MLX_LM: dict[str, object] = {"lm_head": True, "embeddings": True, "on_indivisible": "skip"}


class MlxAffine(MatrixMethod):
    """The affine mode of mlx.core.quantize, dequantized back into the weights' dtype.

    Unlike round to nearest with an integer zero point, a group is anchored at its end of larger
    magnitude, which becomes a level exactly, and the other levels follow in steps that make 0 a level, but for
    rounding: a zero may come back as a value near it, so that the method can't follow pruning.
    """

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    # The level next to 0 is the rounded sum of a rounded bias and a rounded product, as in mlx: rarely 0 itself.
    keeps_zeros: ClassVar[bool] = False

    method: Literal["mlx_affine"] = "mlx_affine"
    bits: int
    """2, 3, 4, 5, 6 or 8, as mlx has them."""
    group_size: int = 64
    """32, 64 or 128 columns, as mlx has them."""
    scope: Literal["blocks", "mlx_lm"] = "blocks"
    """blocks: the matrices that every method here targets. mlx_lm: the input embedding and the output
    layer too (a tied one once), and a matrix that the group size does not divide is skipped."""
    on_indivisible: OnIndivisible = "error"

    @field_validator("bits", "group_size", mode="before")
    @classmethod
    def _check_choice(cls, value: object, info: Any) -> object:
        allowed = _BITS if info.field_name == "bits" else _GROUP_SIZES
        if isinstance(value, bool) or value not in allowed:
            raise ValueError(f"got {seen(value)}, expected one of {', '.join(map(str, allowed))}, as mlx has it")
        return value

    @model_validator(mode="after")
    def _resolve_scope(self) -> MlxAffine:
        if self.scope == "mlx_lm":
            for key, value in _MLX_LM.items():
                if key in self.model_fields_set and getattr(self, key) != value:
                    raise ValueError(
                        f"got {key}={getattr(self, key)} with scope=mlx_lm, which means {key}={value}; "
                        f"leave {key} out or use scope=blocks"
                    )
                # Past the frozen check, so that the log shows it while the field still counts as not given.
                object.__setattr__(self, key, value)
        return self

    @property
    def asked_bits(self) -> float:
        """Bits a weight asked for, without scales and biases."""
        return float(self.bits)

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Hold the group size against every matrix; see `check_divisible`."""
        return check_divisible(matrices, self.group_size, self.on_indivisible, _GROUP_SIZES)

    def apply(self, weight: Tensor, matrix: MatrixInfo) -> Tensor:
        """Quantize and dequantize one matrix.

        Args:
            weight: [rows, cols] in float32, bfloat16 or float16, on any device; not changed. The
                dtype matters: mlx keeps scales and biases in it.
            matrix: Its name and shape.

        Returns:
            The values mlx.core.dequantize gives after mlx.core.quantize on a CPU, in the same shape, dtype
            and device. Groups whose magnitude stays below 5e-8 become zeros, as in mlx.

        Raises:
            UserError: If a value is not finite, or its quantized form overflows the dtype.
        """
        require_float(weight, matrix)
        skips = self.check([matrix])
        assert not skips, skips
        if not weight.numel():
            return weight.detach().clone()
        size, bits = self.group_size, self.bits

        def quantize(chunk: Tensor) -> Tensor:
            return joined(mlx_affine(split(chunk, size), bits, chunk.dtype), chunk.shape[1])

        return map_rows(weight, matrix, quantize)

    def describe(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Levels found per group and stored bits a weight (scale and bias in the weights' dtype)."""
        return stored_facts(after, self.bits, self.group_size, 2 * 8 * after.element_size())

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups of more than 2^bits values, and groups looked at."""
        return overfull(weight, self.bits, self.group_size)


def mlx_affine(groups: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    """MLX's affine quantization of groups, in the order of its CPU code.

    Args:
        groups: [..., group_size] float32, finite, exactly representable in `dtype`; not changed.
        bits: 2 to 8.
        dtype: Where scales and biases are kept and the result is computed.

    Returns:
        The dequantized values, [..., group_size] in `dtype`. Source: the affine mode of
        mlx.core.quantize and mlx.core.dequantize, mlx 0.32.4.
    """
    import torch

    # A tensor: dividing by a Python number is a multiplication by its inverse on CUDA, one ulp off.
    top = torch.tensor(float(2**bits - 1), device=groups.device)
    low, high = groups.amin(dim=-1, keepdim=True), groups.amax(dim=-1, keepdim=True)
    from_low = low.abs() > high.abs()
    step = ((high - low) / top).clamp(min=1e-7)
    step = torch.where(from_low, step, -step)
    edge = torch.where(from_low, low, high)
    # Stretch the step until 0 lies a whole number of steps from the edge.
    count = (edge / step).round()
    at_zero = count == 0
    step = torch.where(at_zero, step, edge / count)
    bias = torch.where(at_zero, torch.zeros_like(edge), edge)
    codes = (groups - bias).div_(step).round_().clamp_(0, 2**bits - 1)
    # A group of one value beyond 3e31 has step 0 and NaN codes, which mlx's cast to integer makes 0.
    codes.nan_to_num_(nan=0.0)
    # The codes came from the float32 step and bias; only now are these rounded to dtype. Product and sum
    # are rounded one after the other: mlx dequantizes with two separate operations, never a fused one.
    return codes.to(dtype).mul_(step.to(dtype)).add_(bias.to(dtype))

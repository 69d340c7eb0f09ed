"""What the methods of libraries have in common: how much to prune, in how many bits, and the form that this leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lm_eval_ext.models.native.methods._groups import overfull, whole_number
from lm_eval_ext.models.native.methods._masks import parse_pattern
from lm_eval_ext.models.recipe.step import LibraryStep

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LibraryPruner", "LibraryQuantizer", "pattern_breaches"]

_SMALLEST_GROUP = 8


class LibraryPruner(LibraryStep):
    """Zero a share of the weights, `sparsity` of them, or all but N of every M (`pattern`)."""

    kind: ClassVar[Literal["prune", "quantize"]] = "prune"

    sparsity: float | None = Field(default=None, ge=0, lt=1, allow_inf_nan=False)
    """Share of the weights that become zero, in [0, 1)."""
    pattern: str | None = None
    """N:M keeps N of every M consecutive inputs of an output; replaces sparsity."""

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        parse_pattern(value)
        return value

    @model_validator(mode="after")
    def _check_amount(self) -> LibraryPruner:
        if self.sparsity is None and self.pattern is None:
            raise ValueError(f"method {self.method} needs sparsity (in [0, 1)) or pattern (such as 2:4)")
        if self.sparsity is not None and self.pattern is not None and self.sparsity != self.asked_sparsity:
            raise ValueError(
                f"pattern {self.pattern} means sparsity {self.asked_sparsity:g}, not {self.sparsity:g}; give one"
            )
        return self

    @property
    def groups(self) -> tuple[int, int] | None:
        """The pattern as (N kept, of M), or None for an unstructured mask."""
        return parse_pattern(self.pattern)

    @property
    def asked_sparsity(self) -> float:
        """Share of zeros asked for."""
        if self.groups is not None:
            return 1 - self.groups[0] / self.groups[1]
        assert self.sparsity is not None
        return self.sparsity

    @property
    def level(self) -> str:
        """'-50' for half the weights, '-2:4' for a pattern."""
        return super().level if self.pattern is None else f"-{self.pattern}"

    @property
    def level_keys(self) -> set[str]:
        """The keys that `level` tells of."""
        return super().level_keys | {"pattern"}

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups of M consecutive inputs with more than N weights that are not zero, and groups in all."""
        return (0, 0) if self.groups is None else pattern_breaches(weight, *self.groups)


class LibraryQuantizer(LibraryStep):
    """Weights in so many bits; what shares a scale is a group of inputs or a whole output."""

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    bits_allowed: ClassVar[tuple[int, ...]] = (2, 3, 4, 5, 6, 7, 8)
    default_group: ClassVar[int] = 128

    bits: int
    """Bits a weight; each method says which it takes."""
    granularity: Literal["group", "channel"] = "group"
    """What shares a scale: a group of columns in a row, or a row (output channel)."""
    group_size: int | None = None
    """Columns a group; 128 if not given. Only for granularity=group."""
    symmetric: bool = True
    """No zero point."""
    allow_regrowth: bool = False
    """Accept that pruned weights come back; the share that survives is then stated instead of the run being ended."""

    @field_validator("bits", mode="before")
    @classmethod
    def _check_bits(cls, value: object) -> int:
        bits = whole_number(value, 2, 8)
        if bits not in cls.bits_allowed:
            allowed = ", ".join(map(str, cls.bits_allowed))
            raise ValueError(f"got {bits}, but {cls.model_fields['method'].default} takes {allowed}")
        return bits

    @field_validator("group_size", mode="before")
    @classmethod
    def _check_group_size(cls, value: object) -> int | None:
        if value == -1:
            raise ValueError("got -1, expected a whole number of at least 8; one scale a row is granularity=channel")
        return None if value is None else whole_number(value, _SMALLEST_GROUP)

    @model_validator(mode="after")
    def _resolve_group_size(self) -> LibraryQuantizer:
        if self.granularity == "channel":
            if self.group_size is not None:
                raise ValueError(f"got group_size={self.group_size} with granularity=channel, which has no groups")
        elif self.group_size is None:
            # Past the frozen check, so that the log shows 128 while the field still counts as not given.
            object.__setattr__(self, "group_size", self.default_group)
        return self

    @property
    def asked_bits(self) -> float:
        """Bits a weight asked for, without scales and zero points."""
        return float(self.bits)

    @property
    def measured_group(self) -> int | None:
        """Columns that share a scale in what was packed, -1 for a row; None where the library decides."""
        return self.group_size or -1

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups of more than 2^bits values, and groups looked at."""
        return overfull(weight, self.bits, self.group_size or weight.shape[1])


def pattern_breaches(weight: Tensor, kept: int, size: int) -> tuple[int, int]:
    """Groups of `size` consecutive columns with more than `kept` weights that are not zero, and groups in all."""
    if weight.shape[1] % size:
        return weight.shape[0], weight.shape[0]
    filled = (weight != 0).reshape(weight.shape[0], -1, size).sum(dim=-1)
    return int((filled > kept).sum()), filled.numel()

"""What the methods of libraries have in common: how much to prune, in how many bits, and the form that this leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator, model_validator

from lm_eval_ext.models.native.methods._groups import columns_a_group, overfull, whole_number
from lm_eval_ext.models.native.methods._prune import Pruning
from lm_eval_ext.models.recipe.step import LibraryStep

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LibraryPruner", "LibraryQuantizer"]


class LibraryPruner(Pruning, LibraryStep):
    """A pruner that another library carries out."""


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
        return columns_a_group(value)

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

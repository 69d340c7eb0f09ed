"""What all pruners share, ours and those of libraries: how much to prune, and in which pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lm_eval_ext.models.native.method import Method
from lm_eval_ext.models.native.methods._masks import check_pattern, parse_pattern, pattern_breaches
from lm_eval_ext.models.recipe.step import Step
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PruneMethod", "Pruning"]


class Pruning(Step):
    """Zero a share of the weights: `sparsity` of them, or all but N of every M (`pattern`)."""

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
    def _check_amount(self) -> Pruning:
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
        """Groups that are no N:M; see `pattern_breaches`."""
        return (0, 0) if self.groups is None else pattern_breaches(weight, *self.groups)


class PruneMethod(Pruning, Method):
    """A pruner that changes a loaded model in place."""

    def count(self, entries: int) -> int:
        """How many of so many entries are pruned: rounded down, as the published methods do."""
        return int(entries * self.asked_sparsity)

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Raise UserError, listing every matrix, if the pattern's M does not divide some matrix's columns."""
        check_pattern(self.groups, matrices)
        return []

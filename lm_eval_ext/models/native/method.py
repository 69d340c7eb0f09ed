"""The base of every method that changes a loaded model's matrices in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from lm_eval_ext.models.native.bench import Bench
from lm_eval_ext.models.recipe.step import Step
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MatrixMethod", "Method"]


class Method(Step, ABC):
    """Config of one step in place, kept beside the code that carries it out."""

    keeps_zeros: ClassVar[bool] = True
    """Whether a weight that is zero stays zero, whatever the dtype. If not, the method can't follow pruning."""

    lm_head: bool = False
    """Compress the output layer too. Refused where it shares storage with the embedding, unless both are asked."""
    embeddings: bool = False
    """Compress the input embedding too."""
    exclude: tuple[str, ...] = ()
    """What to leave alone, as shell patterns of names: modules (`*.o_proj`), or what holds them (`*.self_attn`,
    `model.layers.0`). Each pattern must take out at least one matrix that would be compressed without it. One string
    with '+' between the patterns is taken too. Everything left alone is reported as skipped."""
    allow_regrowth: bool = False
    """Let this step undo part of an earlier one (pruned weights that come back, a broken pattern, more values a group
    than the earlier bits allow). The evidence then says how much; otherwise it is an error."""

    @field_validator("exclude", mode="before")
    @classmethod
    def _split_patterns(cls, value: object) -> object:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @abstractmethod
    def run(self, bench: Bench) -> None:
        """Compress every target of the bench; each goes through `bench.replace`, which keeps the evidence."""

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Look at every targeted matrix before any work.

        Args:
            matrices: Everything that is about to be compressed.

        Returns:
            The matrices that this method will leave alone.

        Raises:
            UserError: If a matrix can't be compressed as asked; the message lists all of them.
        """
        return []

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """How far a matrix is from what this step made of it, after a later step.

        Args:
            weight: [rows, cols], as it is now.

        Returns:
            Groups of weights that no longer have the form of this step (N:M, values a group), and groups looked at;
            (0, 0) for a method that promises no such form.
        """
        return 0, 0

    @property
    def targets_embeddings(self) -> bool:
        """Whether the input embedding is among the targets."""
        return self.embeddings

    @property
    def targets_lm_head(self) -> bool:
        """Whether the output layer is among the targets."""
        return self.lm_head


class MatrixMethod(Method):
    """A method that needs nothing but the matrix itself."""

    def run(self, bench: Bench) -> None:
        """Compress the targets one by one."""
        for target in bench.targets:
            before = target.view()
            after = self.apply(before, target.info)
            bench.replace(target, after, detail=self.describe(before, after))

    @abstractmethod
    def apply(self, weight: Tensor, matrix: MatrixInfo) -> Tensor:
        """Compress one matrix.

        Args:
            weight: [rows, cols], any floating dtype and device; not changed.
            matrix: Its name, shape and stream number.

        Returns:
            The compressed matrix in the same shape, dtype and device ("baked": quantized values are
            returned dequantized).
        """

    def describe(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Method-specific facts for the evidence of one matrix ([rows, cols] each)."""
        return {}

"""The base of every method that changes a loaded model's matrices in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lm_eval_ext.models.native.bench import Bench
from lm_eval_ext.models.recipe.step import Step
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MatrixMethod", "Method"]


class Method(Step, ABC):
    """Config of one step in place, kept beside the code that carries it out."""

    backend: ClassVar[str] = "native"
    keeps_zeros: ClassVar[bool] = True
    """Whether a weight that is zero stays zero, whatever the dtype. If not, the method can't follow pruning."""

    allow_regrowth: bool = False
    """Let this step undo part of an earlier one (pruned weights that come back, a broken pattern, more values a group
    than the earlier bits allow). The evidence then says how much; otherwise it is an error."""

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

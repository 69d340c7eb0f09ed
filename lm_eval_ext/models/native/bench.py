"""What a method is given to work with: its targets, the statistics of their inputs, and the way to replace a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from lm_eval_ext.models.native.norms import InputNorms
    from lm_eval_ext.models.targets.target import Target

__all__ = ["AS_ASKED", "Bench"]

AS_ASKED = object()
"""`replace(asked=AS_ASKED)`: the matrix is to have the share of zeros that the step was asked for."""


class Bench(Protocol):
    """One step at work on one model; `workbench.Workbench` is the one there is."""

    targets: list[Target]
    """Every matrix that the step compresses."""

    def replace(
        self,
        target: Target,
        after: Tensor,
        *,
        asked: object = AS_ASKED,
        tolerance: float = 0.0,
        unit: int | None = None,
        at_most: bool = True,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Write a compressed matrix into the model and record what became of it.

        Args:
            target: The matrix.
            after: Its new values, [rows, cols].
            asked: Share of zeros asked of this matrix; None if only the total of the step counts.
            tolerance: How far the achieved share may stray besides rounding to whole entries.
            unit: Among how many entries the count was rounded; those of a row by default.
            at_most: Whether removing more than asked is a fault too.
            detail: Further facts for the record.
        """

    def note_unseen(self, target: Target) -> None:
        """Remember an expert that no calibration token reached."""

    def dense_norms(self) -> InputNorms:
        """Input norms of all targets from the model as it is now."""

    def sequential_norms(self) -> Iterator[tuple[list[Target], InputNorms]]:
        """Block after block: its targets and their input norms, behind blocks that are pruned already.

        A matrix that later blocks use too has its turn with the first of them. Its norms are over all its uses, those
        of later blocks in the model as it is then. The caller prunes the targets before it asks for the next block.
        """

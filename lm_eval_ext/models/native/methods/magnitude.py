"""Magnitude pruning: the weights nearest to zero go.

Per matrix as in Sun et al. 2024 (arXiv 2306.11695, their baseline) and arXiv 2605.08137; per output row, per
decoder block and over the whole model as further scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from lm_eval_ext.models.native.methods import _masks
from lm_eval_ext.models.native.methods._prune import PruneMethod

if TYPE_CHECKING:
    from torch import Tensor

    from lm_eval_ext.models.native.bench import Bench
    from lm_eval_ext.models.targets.target import Target

__all__ = ["Magnitude"]


class Magnitude(PruneMethod):
    """Prune the weights of the smallest absolute value."""

    method: Literal["magnitude"] = "magnitude"
    scope: Literal["matrix", "row", "layer", "global"] = "matrix"
    """Among which weights the smallest are sought: a matrix, an output row, a decoder block, the whole model."""
    ties: Literal["exact", "threshold"] = "exact"
    """exact: the asked count, earlier positions first. threshold: everything up to the k-th smallest value, as the
    pruning study does; removes more where weights are equal (frequent in bfloat16)."""

    @model_validator(mode="after")
    def _check_scope(self) -> Magnitude:
        if self.pattern is not None and (self.scope != "matrix" or self.ties != "exact"):
            raise ValueError("a pattern fixes which weights compete; remove scope and ties")
        if self.scope == "row" and self.ties != "exact":
            raise ValueError("scope=row always prunes an exact count; remove ties")
        return self

    def run(self, bench: Bench) -> None:
        """Prune all targets of the bench."""
        if self.groups is not None or self.scope == "row":
            for target in bench.targets:
                weight = target.view().clone()
                scores = _absolute(target.view())
                if self.groups is not None:
                    _masks.prune_groups(scores, weight, self.groups)
                else:
                    _masks.prune_rows(scores, weight, self.count(weight.shape[1]))
                bench.replace(target, weight, unit=weight.numel() if self.groups is not None else None)
            return
        for group in self._groups(bench.targets):
            self._prune_together(bench, group)

    def _groups(self, targets: Sequence[Target]) -> Iterable[list[Target]]:
        if self.scope == "global":
            return [list(targets)]
        if self.scope == "layer":
            return [list(group) for _, group in groupby(targets, key=lambda target: target.block)]
        return [[target] for target in targets]

    def _prune_together(self, bench: Bench, targets: list[Target]) -> None:
        # Which matrix loses how much is the outcome of a wider scope, not something asked of the matrix.
        asked = None if len(targets) > 1 else self.asked_sparsity
        k = self.count(sum(target.info.rows * target.info.cols for target in targets))
        if k == 0:
            for target in targets:
                bench.replace(target, target.view().clone(), asked=asked)
            return
        threshold, ties = _masks.smallest_threshold(lambda: (t.view().float().abs() for t in targets), k)
        left = None if self.ties == "threshold" else ties
        for target in targets:
            weight = target.view().clone()
            gone = _masks.prune_smallest(_absolute(target.view()), weight, threshold, left)
            left = None if left is None else left - gone
            bench.replace(target, weight, asked=asked, unit=weight.numel(), at_most=self.ties == "exact")


def _absolute(weight: Tensor) -> Callable[[slice], Tensor]:
    return lambda rows: weight[rows].float().abs()

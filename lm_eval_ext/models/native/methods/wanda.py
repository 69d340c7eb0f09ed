"""Wanda: prune by weight times input norm, output by output.

Sun et al. 2024, arXiv 2306.11695: score |W_ij| * ||X_j||_2, compared within an output row, decoder blocks in
order, each fed with what the pruned blocks before it give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from lm_eval_ext.models.native.methods import _masks
from lm_eval_ext.models.native.methods._prune import PruneMethod

if TYPE_CHECKING:
    from torch import Tensor

    from lm_eval_ext.models.native.bench import Bench
    from lm_eval_ext.models.native.norms import InputNorms
    from lm_eval_ext.models.targets.target import Target

__all__ = ["Wanda"]


class Wanda(PruneMethod):
    """Prune the weights that change their output least, judged by calibration text."""

    needs_calibration: ClassVar[bool] = True

    method: Literal["wanda"] = "wanda"
    sequential: bool = True
    """Take each block's statistics behind the blocks already pruned, as published; False takes all of them from the
    dense model, as the pruning study does."""

    @model_validator(mode="after")
    def _check_embeddings(self) -> Wanda:
        if self.embeddings:
            raise ValueError("wanda ranks by input activations, which an embedding has not; remove embeddings=True")
        return self

    def run(self, bench: Bench) -> None:
        """Prune all targets of the bench."""
        if not self.sequential:
            norms = bench.dense_norms()
            self._prune(bench, bench.targets, norms)
            return
        for targets, norms in bench.sequential_norms():
            self._prune(bench, targets, norms)

    def _prune(self, bench: Bench, targets: Sequence[Target], norms: InputNorms) -> None:
        for target in targets:
            norm = norms.norm(target)
            weight = target.view().clone()
            scores = _scores(target.view(), norm)
            if self.groups is not None:
                _masks.prune_groups(scores, weight, self.groups)
            else:
                _masks.prune_rows(scores, weight, self.count(weight.shape[1]))
            detail: dict[str, object] = {"tokens": norms.tokens(target)}
            if norm is None:
                # Without a token there are no statistics: the weights are ranked by magnitude, and the expert is named.
                bench.note_unseen(target)
                detail["ranked_by"] = "magnitude (no token reached this expert)"
            unit = weight.numel() if self.groups is not None else None
            bench.replace(target, weight, unit=unit, detail=detail)


def _scores(weight: Tensor, norm: Tensor | None) -> Callable[[slice], Tensor]:
    """|W_ij| * ||X_j|| of some rows, float32; |W_ij| without a norm."""
    factor = 1 if norm is None else norm
    return lambda rows: weight[rows].float().abs() * factor

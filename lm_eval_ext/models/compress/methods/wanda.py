"""Wanda: prune by weight times input norm, output by output.

Sun et al. 2024, arXiv 2306.11695: score |W_ij| * ||X_j||_2, compared within an output row, decoder blocks in
order, each fed with what the pruned blocks before it give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.methods import _masks
from lm_eval_ext.models.compress.methods._prune import PruneMethod
from lm_eval_ext.models.compress.registry import register

if TYPE_CHECKING:
    from lm_eval_ext.models.compress.layers import Target
    from lm_eval_ext.models.compress.stats import InputNorms
    from lm_eval_ext.models.compress.workbench import Workbench

__all__ = ["Wanda"]


@register
class Wanda(PruneMethod):
    """Prune the weights that change their output least, judged by calibration text."""

    needs_calibration: ClassVar[bool] = True

    method: Literal["wanda"] = "wanda"
    sequential: bool = True
    """Take each block's statistics behind the blocks already pruned, as published; False takes all of them from the
    dense model, as the pruning study does."""

    def run(self, bench: Workbench) -> None:
        """Prune all targets of the bench."""
        embedding = [target.info.name for target in bench.targets if target.place == "embedding"]
        if embedding:
            raise UserError(f"wanda ranks by input activations, which {embedding[0]} has not; remove embeddings=True")
        if not self.sequential:
            norms = bench.dense_norms()
            self._prune(bench, bench.targets, norms)
            return
        for targets, norms in bench.sequential_norms():
            self._prune(bench, targets, norms)

    def _prune(self, bench: Workbench, targets: Sequence[Target], norms: InputNorms) -> None:
        for target in targets:
            norm = norms.norm(target)
            weight = target.view().clone()
            seen = norms.tokens(target)

            def scores(rows: slice, weight=target.view(), norm=norm):  # type: ignore[no-untyped-def]
                magnitude = weight[rows].float().abs()
                return magnitude if norm is None else magnitude * norm

            if self.groups is not None:
                _masks.prune_groups(scores, weight, self.groups)
            else:
                _masks.prune_rows(scores, weight, self.count(weight.shape[1]))
            detail: dict[str, object] = {"tokens": seen}
            if norm is None:
                # An expert that no token reached has no statistics: its weights are ranked by magnitude, and it is named.
                bench.note_unseen(target)
                detail["ranked_by"] = "magnitude (no token reached this expert)"
            bench.replace(target, weight, detail=detail)

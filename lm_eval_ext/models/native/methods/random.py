"""Random pruning: a control that removes weights without looking at them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from lm_eval_ext.models.native.methods import _masks
from lm_eval_ext.models.native.methods._prune import PruneMethod
from lm_eval_ext.models.targets.matrix import MatrixInfo

if TYPE_CHECKING:
    from torch import Tensor

    from lm_eval_ext.models.native.bench import Bench

__all__ = ["Random"]


class Random(PruneMethod):
    """Prune weights drawn at random, the same ones on every device and in any order of matrices."""

    method: Literal["random"] = "random"
    seed: int = Field(default=0, ge=0, lt=2**32)
    exact: bool = True
    """An exact count a matrix; False draws every weight on its own (Bernoulli), as the pruning study does."""

    @model_validator(mode="after")
    def _check_exact(self) -> Random:
        if self.pattern is not None and not self.exact:
            raise ValueError("a pattern is exact by its nature; remove exact=False")
        return self

    def run(self, bench: Bench) -> None:
        """Prune all targets of the bench."""
        for target in bench.targets:
            weight = target.view().clone()
            self._prune(weight, self._draws(target.info).to(weight.device))
            tolerance = 0.0 if self.exact else _six_sigma(self.asked_sparsity, weight.numel())
            bench.replace(target, weight, tolerance=tolerance, unit=weight.numel())

    def _prune(self, weight: Tensor, draws: Tensor) -> None:
        """Zero the entries of the smallest draws, in place."""
        if self.groups is not None:
            _masks.prune_groups(lambda rows: draws[rows], weight, self.groups)
        elif not self.exact:
            weight.masked_fill_(draws < self.asked_sparsity, 0)
        elif k := self.count(weight.numel()):
            threshold, ties = _masks.smallest_threshold(lambda: [draws], k)
            _masks.prune_smallest(lambda rows: draws[rows], weight, threshold, ties)

    def _draws(self, matrix: MatrixInfo) -> Tensor:
        """[rows, cols] float32 in [0, 1), from a stream of this seed and this matrix alone."""
        import numpy as np
        import torch

        # By name, so that a matrix has the same mask whatever else is compressed; a PEFT wrapper adds to the name.
        name = matrix.name.replace(".base_layer", "").encode()
        words = np.frombuffer(hashlib.sha256(name).digest(), dtype="<u4").tolist()
        # Not torch's own generator: it differs from device to device, and on the CPU it takes in only the low
        # 32 bits of a seed.
        draws = np.random.default_rng([self.seed, *words]).random((matrix.rows, matrix.cols), dtype=np.float32)
        return torch.from_numpy(draws)


def _six_sigma(p: float, n: int) -> float:
    """How far a share of n independent draws strays from p in all but two of a billion cases."""
    return 6 * float((p * (1 - p) / n) ** 0.5)

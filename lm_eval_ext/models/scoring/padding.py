"""Whether lm-eval's own passes may hold prompts of unequal length, the shorter ones filled up at their end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from lm_eval_ext.models.scoring.obstacles import calling_of, rotation_by_length
from lm_eval_ext.models.scoring.trust import difference

__all__ = ["Padding"]

log = logging.getLogger(__name__)


class Padding:
    """Sees on one pair of prompts that the shorter gives the same beside the longer as by itself.

    A causal model does not look at what follows. One that is not, whose mask depends on the length, or that scales
    positions by the longest prompt of a batch, does: its numbers would depend on their company.
    """

    def __init__(self, lm: Any) -> None:
        """Prepare, without running anything.

        Args:
            lm: The lm-eval model.
        """
        self._lm = lm
        self._harmful: str | None = None
        self._longest = 0

    @torch.no_grad()
    def harmless(self, sequences: Sequence[Sequence[int]]) -> bool:
        """Whether these token sequences may be run together; False, and one line once, where they may not."""
        if self._lm.backend != "causal" or len(set(map(len, sequences))) < 2:
            return True
        short, long = min(sequences, key=len), max(sequences, key=len)
        scaled = rotation_by_length(calling_of(self._lm).inner.config.get_text_config(), len(long))
        if scaled is not None:
            self._tell(scaled)
        elif self._harmful is None and len(long) > self._longest:
            self._longest = len(long)
            if self._disturbed(short, long):
                self._tell("gives other numbers beside a longer prompt")
        return scaled is None and self._harmful is None

    def _disturbed(self, short: Sequence[int], long: Sequence[int]) -> bool:
        device = self._lm.device
        filled = [[*short, *[0] * (len(long) - len(short))], list(long)]
        beside = self._lm._model_call(torch.tensor(filled, device=device))[:1, -len(long) :][:, len(short) - 1]
        alone = self._lm._model_call(torch.tensor([list(short)], device=device))[:, -1]
        narrow = torch.finfo(calling_of(self._lm).narrowest).bits < 32
        return difference(beside.log_softmax(-1), alone.log_softmax(-1), narrow=narrow) is not None

    def _tell(self, reason: str) -> None:
        if self._harmful is None:
            log.warning(
                "%s %s; lm_eval's passes take one prompt each", type(calling_of(self._lm).inner).__name__, reason
            )
        self._harmful = reason

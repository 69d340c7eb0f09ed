"""The tree scorer behind lm-eval's request format, used only where it gives what the stock path gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.layers import unwrap
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.trie import Query

__all__ = ["ROW_TOKENS", "Request", "TreeScoring", "rows_per_pass", "to_query"]

log = logging.getLogger(__name__)

Request = tuple[tuple[str, str] | None, list[int], list[int]]
Answer = tuple[float, bool]
Stock = Callable[[list[Request]], list[Answer]]

ROW_TOKENS = 512
# Rows in a pass where the batch size is left to us: enough to fill two cores, or the memory of a device.
_AUTO_ROWS = {"cpu": 4, "cuda": 32}
_CHECKED = 6


def to_query(request: Request, max_length: int) -> Query:
    """A request as a query, cut from the left as lm-eval does: at most `max_length` tokens go into the model.

    Raises:
        UserError: If the continuation alone is longer than that.
    """
    _, context, continuation = request
    if len(continuation) > max_length:
        raise UserError(
            f"a continuation of {len(continuation)} tokens does not fit the model's max_length={max_length}; "
            "give a larger one"
        )
    tokens = (context + continuation)[-(max_length + 1) :]
    return Query(inputs=tuple(tokens[:-1]), targets=tuple(continuation))


def rows_per_pass(lm: Any) -> int:
    """Rows that run together: the batch size, or for "auto" what the device takes."""
    given = lm.batch_size
    return max(1, given if isinstance(given, int) else _AUTO_ROWS.get(torch.device(lm.device).type, 8))


class TreeScoring:
    """Scores lm-eval's tokenised requests by prefix trees, after seeing once that this model allows it.

    A model may ignore a 4-D mask, derive positions in its own way, or carry a state from token to token. None of that
    can be told safely from a config, so a handful of the real requests is scored both ways first; where the results
    differ, or the model raises, the stock path is taken for good, and one line says why.
    """

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._scorer: TreeScorer | None = None
        self._usable: bool | None = None if lm.backend == "causal" else False

    def usable(self, requests: Sequence[Request], stock: Stock) -> bool:
        """Whether to score these requests by trees; checked against the stock path at the first call."""
        if not requests or requests[0][0] is None:
            return False  # rolling log-likelihoods share nothing
        if self._usable is None:
            self._usable = self._check(requests, stock)
        return self._usable

    def score(self, requests: Sequence[Request], done: Callable[[int], object]) -> list[Answer]:
        """Score requests, in their order."""
        queries = [to_query(request, self._lm.max_length) for request in requests]
        return [(score.log_likelihood, score.greedy) for score in self._tree().score(queries, done)]

    def _tree(self) -> TreeScorer:
        if self._scorer is None:
            self._scorer = TreeScorer(
                unwrap(self._lm.model),
                softmax_dtype=self._lm.softmax_dtype,
                row_tokens=ROW_TOKENS,
                rows=rows_per_pass(self._lm),
            )
        return self._scorer

    def _check(self, requests: Sequence[Request], stock: Stock) -> bool:
        step = max(1, len(requests) // _CHECKED)
        some = sorted(requests, key=lambda request: (request[1], request[2]))[::step][:_CHECKED]
        name = type(unwrap(self._lm.model)).__name__
        try:
            found = self.score(some, lambda count: None)
        except UserError:
            raise  # a fault of the request, not of the model
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("%s can't be scored by prefix trees (%s); every prompt is run on its own", name, reason)
            return False
        expected = stock(list(some))
        narrow = self._tree().narrow
        for (value, _), (other, _) in zip(found, expected, strict=True):
            # Rounding alone, in the model's dtype, against a mask that is not obeyed: whole nats.
            allowed = 0.25 + 0.02 * abs(other) if narrow else 1e-3 * max(1.0, abs(other))
            if not abs(value - other) <= allowed:
                log.warning(
                    "%s gives %.4f by prefix trees and %.4f on its own; every prompt is run on its own",
                    name,
                    value,
                    other,
                )
                return False
        return True

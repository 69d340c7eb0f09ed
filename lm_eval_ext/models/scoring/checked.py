"""The tree scorer behind lm-eval's request format, used only where it gives what the stock path gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.memory import ROW_TOKENS, rows_per_pass
from lm_eval_ext.models.scoring.obstacles import calling_of
from lm_eval_ext.models.scoring.trie import Query
from lm_eval_ext.models.scoring.trust import FAULTS, Differs, Trust

__all__ = ["Request", "TreeScoring", "to_query"]

log = logging.getLogger(__name__)

Request = tuple[tuple[str, str] | None, list[int], list[int]]
Answer = tuple[float, bool]


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


class TreeScoring:
    """Scores lm-eval's tokenised requests by prefix trees, where that gives what this model gives by itself."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._scorer: TreeScorer | None = None
        self.trust = Trust(lm, "scored")

    def usable(self, requests: Sequence[Request]) -> bool:
        """Whether nothing known so far speaks against scoring these requests by trees."""
        if not requests or requests[0][0] is None:
            return False  # rolling log-likelihoods share nothing
        return self.trust.allows(min(max(map(_length, requests)), self._lm.max_length))

    def answers(self, requests: Sequence[Request], done: Callable[[int], object]) -> list[Answer] | None:
        """Score requests, in their order.

        Args:
            requests: With a context each.
            done: Told after each pass how many more requests are finished.

        Returns:
            The answers; None if the model turns out to be one that trees don't suit: nothing is scored then.
        """
        queries = [to_query(request, self._lm.max_length) for request in requests]
        try:
            return [(score.log_likelihood, score.greedy) for score in self._tree().score(queries, done)]
        except (Differs, *FAULTS) as error:
            if not self.trust.fault(error):
                raise
            return None

    def _tree(self) -> TreeScorer:
        if self._scorer is None:
            rows = rows_per_pass(self._lm)
            log.info("batch_size=%s: %d rows of %d tokens in a pass", self._lm.batch_size, rows, ROW_TOKENS)
            self._scorer = TreeScorer(
                calling_of(self._lm),
                softmax_dtype=self._lm.softmax_dtype,
                row_tokens=ROW_TOKENS,
                rows=rows,
                trust=self.trust,
            )
        return self._scorer


def _length(request: Request) -> int:
    return len(request[1]) + len(request[2])

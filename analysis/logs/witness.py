"""The options' probabilities made again from the scores that the model gave: the witness of a scored answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .values import LogError, score

__all__ = ["agrees"]

_CLOSE = 1e-6
_SAME = 1e-4
"""Scores of one token in two requests differ by less: two spellings that are one count once."""


def agrees(protocol: Any, probabilities: Sequence[float | None] | None, mass: Any, responses: Any, tokens: Any) -> bool:
    """Whether a scored answer's probabilities follow from its scores, as the protocol makes them.

    letters: sums of exp(score) over the spellings of each letter, divided by their sum. cyclic: the mean of that over
    the rotations of the options. text: exp(score / tokens), divided by their sum.

    Args:
        protocol: Of the answer; any other than these three agrees.
        probabilities: Of each option.
        mass: Probability of any letter among all tokens; None where it does not say.
        responses: `resps`.
        tokens: Tokens of each option's text, for text.

    Returns:
        False if a probability or the mass differs by more than 1e-6; true where there is nothing to hold them against.
    """
    if probabilities is None or protocol not in ("letters", "cyclic", "text"):
        return True
    scores = _scores(responses)
    size = len(probabilities)
    if not scores or size < 2:
        return True
    if protocol == "text":
        found = _by_texts(scores, size, tokens)
        return found is None or _close(found, probabilities)
    rounds = size if protocol == "cyclic" else 1
    if len(scores) % (rounds * size):
        return True
    block = len(scores) // rounds
    parts = [_by_letters(scores[start : start + block], size) for start in range(0, len(scores), block)]
    # In rotation t letter j stands for option (j + t) mod k.
    made = [math.fsum(shares[(i - t) % size] for t, (shares, _) in enumerate(parts)) / rounds for i in range(size)]
    total = math.fsum(chance for _, chance in parts) / rounds
    return _close(made, probabilities) and (
        not isinstance(mass, float) or abs(min(total, 1.0) - min(mass, 1.0)) < _CLOSE
    )


def _scores(responses: Any) -> list[float]:
    """One log-likelihood a request; nothing where they are no scores."""
    out = []
    try:
        for request in responses:
            ((value, _),) = request
            out.append(score(value))
    except (TypeError, ValueError, LogError):
        return []
    return out if all(map(math.isfinite, out)) else []


def _by_letters(scores: Sequence[float], size: int) -> tuple[list[float], float]:
    """Shares of the letters, and their sum among all tokens."""
    rows: list[Sequence[float]] = []
    for start in range(0, len(scores), size):
        row = scores[start : start + size]
        if not any(all(abs(a - b) < _SAME for a, b in zip(row, other, strict=True)) for other in rows):
            rows.append(row)
    chances = [math.fsum(math.exp(min(row[i], 1.0)) for row in rows) for i in range(size)]
    top = max(max(row) for row in rows)
    weights = [math.fsum(math.exp(row[i] - top) for row in rows) for i in range(size)]
    total = math.fsum(weights)
    return [weight / total for weight in weights], math.fsum(chances)


def _by_texts(scores: Sequence[float], size: int, tokens: Any) -> list[float] | None:
    counted = isinstance(tokens, list) and len(tokens) == size and all(type(n) is int and n > 0 for n in tokens)
    if not counted or len(scores) not in (size, size + 1):
        return None
    space = scores[size] if len(scores) > size else 0.0
    means = [(value - space) / count for value, count in zip(scores[:size], tokens, strict=True)]
    weights = [math.exp(value - max(means)) for value in means]
    return [weight / sum(weights) for weight in weights]


def _close(found: Sequence[float], said: Sequence[float | None]) -> bool:
    return all(value is None or abs(one - value) < _CLOSE for one, value in zip(found, said, strict=True))

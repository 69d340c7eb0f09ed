"""The options' probabilities made again from the scores that the model gave: the witness of a scored answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .values import LogError, score

__all__ = ["MISSING", "PROBABILITIES", "agrees", "deny"]

_SCORED = ("letters", "cyclic", "text")
_CLOSE = 1e-12
_SAME = 1e-4
"""Scores of one token in two requests differ by less: two spellings that are one count once."""


PROBABILITIES, MISSING = "answer.probs", "answer"
"""What lines may deny beside their hashes: the probabilities, by the scores that they are made of; or that there are
any."""


def deny(protocol: Any, status: Any, probabilities: Any, mass: Any, responses: Any, tokens: Any) -> str | None:
    """What the rest of a line denies of its answer: PROBABILITIES, MISSING, or nothing."""
    if probabilities is None:
        return MISSING if status == "answered" and protocol in _SCORED and not _unlisted(responses) else None
    return None if agrees(protocol, probabilities, mass, responses, tokens) else PROBABILITIES


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
        False if a probability or the mass differs by more than 1e-12; true where there is nothing to hold them against.
    """
    if probabilities is None or protocol not in _SCORED:
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
    totals = [sum(chances) for chances in parts]
    if min(totals) <= 0:  # too small for a float; the shares can't be made this way
        return True
    # In rotation t letter j stands for option (j + t) mod k.
    shares = [[chance / total for chance in chances] for chances, total in zip(parts, totals, strict=True)]
    made = [sum([part[(i - t) % size] for t, part in enumerate(shares)]) / rounds for i in range(size)]
    total = sum(totals) / rounds
    same_mass = not isinstance(mass, float) or abs(min(total, 1.0) - min(mass, 1.0)) < _CLOSE
    return same_mass and _close(made, probabilities)


def _unlisted(responses: Any) -> bool:
    """Whether a score is no number: an engine listed the likeliest tokens only, and the choice follows from bounds."""
    try:
        return any(math.isnan(float(value)) for ((value, _),) in responses)
    except (TypeError, ValueError):
        return False


def _scores(responses: Any) -> list[float]:
    """One log-likelihood a request; nothing where they are no scores."""
    try:
        # Numbers as text, nearly always: `score` knows the rest, and is slower.
        out = [float(value) if type(value) is str else score(value) for ((value, _),) in responses]
    except (TypeError, ValueError, LogError):
        return []
    # A sum is finite where all its parts are.
    return out if math.isfinite(sum(out)) else []


def _by_letters(scores: Sequence[float], size: int) -> list[float]:
    """Probability of each letter among all tokens, over its spellings."""
    rows = [scores[start : start + size] for start in range(0, len(scores), size)]
    if len(rows) > 1:
        rows = [row for place, row in enumerate(rows) if not any(_same(row, other) for other in rows[:place])]
    exp = math.exp
    chances = [[exp(value) if value < 1 else math.e for value in row] for row in rows]
    return chances[0] if len(chances) == 1 else [sum(column) for column in zip(*chances, strict=True)]


def _same(row: Sequence[float], other: Sequence[float]) -> bool:
    return max([abs(a - b) for a, b in zip(row, other, strict=True)]) < _SAME


def _by_texts(scores: Sequence[float], size: int, tokens: Any) -> list[float] | None:
    counted = isinstance(tokens, list) and len(tokens) == size and all(type(n) is int and n > 0 for n in tokens)
    if not counted or len(scores) not in (size, size + 1):
        return None
    space = scores[size] if len(scores) > size else 0.0
    means = [(value - space) / count for value, count in zip(scores[:size], tokens, strict=True)]
    weights = [math.exp(value - max(means)) for value in means]
    return [weight / sum(weights) for weight in weights]


def _close(found: Sequence[float], said: Sequence[float | None]) -> bool:
    # One that is not known, though its scores are, is one that somebody took away.
    return all(value is not None and abs(one - value) < _CLOSE for one, value in zip(found, said, strict=True))

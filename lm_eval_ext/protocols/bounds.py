"""What follows for the options where a server lists only the likeliest tokens, and a letter was not among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lm_eval_ext.contract.score import Bound

__all__ = ["Bounds", "bounds_of", "is_bound", "known_scores"]


def is_bound(rounds: Sequence[Mapping[str, Sequence[float]]]) -> bool:
    """Whether a score among these is a bound."""
    return any(isinstance(value, Bound) for scores in rounds for row in scores.values() for value in row)


def known_scores(scores: Mapping[str, Sequence[float]]) -> list[float]:
    """The scores of one asking that are numbers."""
    return [value for row in scores.values() for value in row if not isinstance(value, Bound)]


@dataclass(frozen=True)
class Bounds:
    """What each option's probability can be."""

    low: list[float]
    high: list[float]
    choice: int | None
    """The option that is the likeliest whatever the letters that were not listed have; None if that does not follow."""


def bounds_of(rounds: Sequence[Mapping[str, Sequence[float]]], orders: Sequence[Sequence[int]]) -> Bounds:
    """Bound the options' probabilities, averaged over the askings.

    Args:
        rounds: For each asking, by spelling, the natural log-likelihood of each letter: a number, or a `Bound`.
        orders: For each asking, the option behind each letter.

    Returns:
        Probabilities among the letters, 0 to 1. With K_k the listed probability of option k over its spellings, u_k
        what the unlisted ones can add and r what all unlisted tokens have together:
        low = K_k / (sum_j K_j + min(r, sum_{j != k} u_j)), high = (K_k + u_k) / (u_k + sum_j K_j). Option k is the
        choice if the mean of the least of p_k - p_j is above 0 for each j.
    """
    options = len(orders[0])
    asked = [_masses(scores, order) for scores, order in zip(rounds, orders, strict=True)]
    low = [math.fsum(one.low(k) for one in asked) / len(asked) for k in range(options)]
    high = [math.fsum(one.high(k) for one in asked) / len(asked) for k in range(options)]
    best = max(range(options), key=low.__getitem__)
    sure = all(math.fsum(one.ahead(best, j) for one in asked) > 0 for j in range(options) if j != best)
    return Bounds(low, high, best if sure else None)


@dataclass(frozen=True)
class _Masses:
    """One asking: listed and possible probability of each option, on a scale of its own."""

    known: list[float]
    more: list[float]
    left: float

    def _others(self, option: int) -> float:
        return min(self.left, math.fsum(v for j, v in enumerate(self.more) if j != option))

    def low(self, option: int) -> float:
        whole = math.fsum(self.known) + self._others(option)
        return self.known[option] / whole if whole > 0 else 0.0

    def high(self, option: int) -> float:
        whole = math.fsum(self.known) + self.more[option]
        return (self.known[option] + self.more[option]) / whole if whole > 0 else 1.0

    def ahead(self, one: int, other: int) -> float:
        """The least that the probability of `one` can be above that of `other`."""
        gap = self.known[one] - self.known[other] - self.more[other]
        # A lead is smallest where most goes elsewhere, a lag where nothing does.
        whole = math.fsum(self.known) + (self._others(one) if gap > 0 else self.more[other])
        return gap / whole if whole > 0 else -1.0


def _masses(scores: Mapping[str, Sequence[float]], order: Sequence[int]) -> _Masses:
    every = [value for row in scores.values() for value in row]
    lefts = [value.left for value in every if isinstance(value, Bound)]
    # So that letters of tiny probability keep their ratios.
    top = max((value.upper if isinstance(value, Bound) else value for value in every), default=0.0)
    top = top if math.isfinite(top) else 0.0
    left = math.exp(min(max(lefts, default=-math.inf) - top, 700.0))
    known, more = [0.0] * len(order), [0.0] * len(order)
    for row in scores.values():
        for letter, value in enumerate(row):
            if isinstance(value, Bound):
                more[order[letter]] += math.exp(value.upper - top)
            else:
                known[order[letter]] += math.exp(value - top)
    return _Masses(known, [min(value, left) for value in more], left)

"""Kullback-Leibler divergence over a whole vocabulary, from the few entries that two runs logged of each distribution.

A run logs a token of the vocabulary with the chance min(1, k p), p its probability. What decides is a number in [0, 1)
that is the same in every run, so both runs logged a token with the chance min(1, k p, k q). That is known where both
did, which makes an unbiased sum (Horvitz and Thompson 1952).

With C the tokens that are logged for certain in both runs, P and Q the probabilities of all others taken together,
the chain rule gives

    KL = sum_C p log(p / q) + P log(P / Q) + sum_others (p log(p / (r q)) - p + r q),   r = P / Q.

The first two terms are known exactly. By the data-processing inequality they are no more than KL. The terms of the last
sum are at least 0, and it is estimated from the tokens outside of C that both runs logged, each divided by its chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Divergence", "Sketch", "divergence"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_GRID = 2.0**-23
"""Step of the numbers that decide: chances are whole multiples of it."""
_BLOCK = 1 << 14
"""Tokens whose entries are in memory together."""
_LEAST = 1e-6
"""Least probability that the tokens outside of C are taken to have together: float32 can not tell less from none."""


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """What a run logged of the distributions of a document's tokens."""

    read: str
    """Hash of all that the model read: equal for two runs that were asked the same."""
    vocabulary: int
    k: int
    windows: Ints
    """[windows] tokens scored in each."""
    chosen: Floats
    """[tokens] log-probability of the text's own token."""
    top: Ints
    """[tokens] the most probable token of the vocabulary; always among the entries."""
    counts: Ints
    """[tokens] entries of each; at least 1."""
    ids: Ints
    """[entries] token of the vocabulary, ascending within each position."""
    values: npt.NDArray[np.float32]
    """[entries] its log-probability."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Of each token of a document."""

    estimate: Floats
    """[tokens] unbiased estimate of KL(baseline || run) in nats; at least 0, and below `at_least` at times."""
    at_least: Floats
    """[tokens] a lower bound, from all tokens that both logged, and the others taken together; at least 0."""
    same_top: npt.NDArray[np.bool_]
    """[tokens] whether the most probable token is the same."""


def divergence(baseline: Sketch, run: Sketch) -> Divergence:
    """Divergence of each token's distribution from the baseline's.

    Args:
        baseline: Of the document.
        run: Likewise.

    Returns:
        All 0 for equal sketches. `at_least` is infinite where both logged a token that the run gives probability 0.

    Raises:
        ValueError: If the two are not of the same tokens, windows, vocabulary and k.
    """
    if (baseline.read, baseline.vocabulary, baseline.k) != (run.read, run.vocabulary, run.k):
        raise ValueError("the two runs were not asked for the same distributions, or logged them by other rules")
    size = len(baseline.counts)
    blocks = [_block(baseline, run, start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]
    estimate, least = (np.concatenate([found[i] for found in blocks]) if blocks else np.empty(0) for i in (0, 1))
    return Divergence(estimate=estimate, at_least=least, same_top=baseline.top == run.top)


def _block(baseline: Sketch, run: Sketch, start: int, end: int) -> tuple[Floats, Floats]:
    """Estimate and bound of some tokens."""
    size = end - start
    (at, log_p, top_p), (other, log_q, top_q) = (_entries(side, start, end) for side in (baseline, run))
    _, first, second = np.intersect1d(at, other, assume_unique=True, return_indices=True)
    place = at[first] // baseline.vocabulary
    log_p, log_q = log_p[first], log_q[second]
    p, q = np.exp(log_p), np.exp(log_q)
    with np.errstate(invalid="ignore"):  # two of probability 0 are no difference
        apart = np.where(p > 0, log_p - log_q, 0.0)
    chance = np.minimum(_chance(p, baseline.k, top_p[first]), _chance(q, run.k, top_q[second]))

    def summed(values: Floats) -> Floats:
        return np.bincount(place, weights=values, minlength=size).astype(np.float64)

    certain = chance >= 1
    both, rest_p, rest_q = _coarse(p, q, apart, certain, summed)
    ratio = (rest_p / rest_q)[place]
    with np.errstate(invalid="ignore"):
        more = p * (apart - np.log(ratio)) - p + ratio * q
    rare = ~certain & (chance > 0)
    # Each term is 0 or more; what rounding leaves below is none.
    beyond = summed(np.where(rare, np.maximum(more, 0.0) / np.where(rare, chance, 1.0), 0.0))
    every = np.ones(len(p), dtype=bool)
    return both + beyond, _coarse(p, q, apart, every, summed)[0]


def _coarse(
    p: Floats,
    q: Floats,
    apart: Floats,
    named: npt.NDArray[np.bool_],
    summed: Callable[[Floats], Floats],
) -> tuple[Floats, ...]:
    """KL of some tokens, each by itself, and all others as one; and the others' probabilities."""
    known = summed(np.where(named, p * apart, 0.0))
    rests = [np.maximum(1 - summed(np.where(named, side, 0.0)), _LEAST) for side in (p, q)]
    rest_p, rest_q = rests
    return np.maximum(known + rest_p * np.log(rest_p / rest_q), 0.0), rest_p, rest_q


def _entries(side: Sketch, start: int, end: int) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
    """Entries of some tokens: place and token as one number, value, and whether it is the most probable one."""
    first = int(side.counts[:start].sum())
    counts = side.counts[start:end]
    last = first + int(counts.sum())
    place = np.repeat(np.arange(end - start), counts)
    ids = side.ids[first:last]
    is_top = ids == side.top[start:end][place]
    return place * side.vocabulary + ids, side.values[first:last].astype(np.float64), is_top


def _chance(p: Floats, k: int, top: npt.NDArray[np.bool_]) -> Floats:
    """With which chance an entry was logged."""
    steps = np.ceil(np.minimum(k * p, 1.0) / _GRID) * _GRID
    return np.where(top, 1.0, steps)

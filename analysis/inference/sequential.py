"""The tests of `bounded`, valid after every template: a run may be stopped as soon as its verdict is there.

A gambler bets against "the mean change is m or more", template by template, at odds that are fair if it is exactly m.
No template may move by more than `reach`, so that the stakes can't be more than lost. If the hypothesis holds, the
capital grows beyond 1 / alpha at any time at all with a chance of at most alpha (Ville 1939). So 1 / (the largest
capital so far) is a p-value however one stops (Waudby-Smith and Ramdas 2024; Shekhar and Ramdas 2024).

The stake is spread over some fixed fractions of what may be staked (a mixture, as Cover's universal portfolio). So the
capital hangs on the templates seen and not on their order, and falls where any of them moves further up. Where none of
G equal templates changed the largest fraction has grown to (1 - m / reach)^-G: 1 over the p-value of `bounded`.

All functions take what those of `bounded` take, with the clusters of `Moves` in the order of evaluation (`order`).
Sizes may differ: a stake is in proportion to a template's answers, so that the hypothesis is that of the mean over
answers. A template much larger than all before it can't be foreseen: until it comes, its part is not in the mean. Where
moves are linearised (a ratio whose denominator changed), they hang on all templates, and the level is approximate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import logsumexp, stdtrit

from ._rounding import settled
from .bounded import Moves

__all__ = [
    "at_least",
    "at_most",
    "changed_after",
    "equivalent_after",
    "interval",
    "no_change",
    "order",
    "smallest_seen",
    "within",
]

Floats = npt.NDArray[np.float64]

_FRACTIONS = np.array([1.0, 0.7, 0.45, 0.25, 0.12])
_PARTS = np.array([0.5, 0.15, 0.15, 0.1, 0.1])
"""Of what may be staked, and how the first capital is spread over these fractions."""
_MOST = 1e12
"""Largest gain of one bet: where the hypothesis can't hold under the assumption there is no bound."""


def order(names: Sequence[str], seed: int) -> npt.NDArray[np.int64]:
    """The order in which templates are evaluated: places of the names.

    It is that of a hash of the seed and the template's own name. So a template has the same place among others
    whichever others there are: what is evaluated later comes behind what was evaluated first.
    """
    keys = [hashlib.sha256(f"{seed}:{name}".encode(errors="surrogatepass")).digest() for name in names]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def at_least(moves: Moves, value: float) -> float:
    """The p-value of "the mean change is `value` or more", whenever one stops; 1 where nothing can be said."""
    return _last(_path(moves, value))


def at_most(moves: Moves, value: float) -> float:
    """The p-value of "the mean change is `value` or less"."""
    return at_least(moves.turned, -value)


def within(low: Moves, high: Moves, margin: float) -> float:
    """The p-value of "the change is not inside (-margin, margin)", as `bounded.within`."""
    return max(at_least(high, margin), at_most(low, -margin))


def no_change(low: Moves, high: Moves) -> float:
    """The two-sided p-value of "no change on the whole", as `bounded.no_change`."""
    return min(1.0, 2 * min(at_most(low, 0.0), at_least(high, 0.0)))


def interval(low: Moves, high: Moves, level: float) -> tuple[float, float]:
    """Both ends of what is not excluded, as `bounded.interval`: it holds the change at every look at once.

    What was excluded at an earlier look stays so. Where templates drift until nothing is left, it is what lies between
    the two ends.
    """
    tail = (1 - level) / 2
    ends = -_upper(low.turned, tail), _upper(high, tail)
    return min(ends), max(ends)


def equivalent_after(low: Moves, high: Moves, margin: float, alpha: float) -> int | None:
    """The number of templates at which `within` first was at most alpha; None if it is not yet."""
    return _first(np.maximum, _path(high, margin), _path(low.turned, margin), alpha)


def changed_after(low: Moves, high: Moves, alpha: float) -> int | None:
    """The number of templates at which `no_change` first was at most alpha; None if it is not yet."""
    return _first(np.minimum, _path(low.turned, 0.0), _path(high, 0.0), alpha / 2)


def smallest_seen(moves: Moves, alpha: float, *, power: float = 0.8) -> float:
    """As `bounded.smallest_seen`: the change that `no_change` here tells by the last of these templates.

    Infinite too where the order seen tells without a change.
    """
    if moves.effective <= 1.0 + 1e-9:
        return float("inf")
    share, df = moves.n / moves.n.sum(), moves.effective - 1
    apart = settled(moves.net / moves.n - moves.estimate, moves.span)
    error = float(np.sqrt(np.square(share * apart).sum() * moves.effective / df))
    short = float(stdtrit(df, power)) * error

    def p_value(change: float) -> float:
        shift = change - short - moves.estimate
        return 2 * at_most(replace(moves, net=moves.net + shift * moves.n), 0.0)

    # Where drift alone tells some look from none no change has a power of its own.
    if p_value(moves.span) > alpha or p_value(0.0) <= alpha:
        return float("inf")
    return float(brentq(lambda change: p_value(change) - alpha, 0.0, moves.span, xtol=1e-6))


def _path(moves: Moves, value: float) -> Floats:
    """[clusters] the p-value of "the mean change is `value` or more" after each of them, never rising."""
    if not len(moves.n):
        return np.ones(0)
    most = np.minimum(moves.n, np.maximum(moves.reach * moves.n, moves.unit)) * moves.span
    # A template that moved further than was assumed raises the bound, as in `bounded`.
    loss = np.maximum.accumulate(np.maximum(most, moves.net) - value * moves.n)
    won = settled(value * moves.n - moves.net, moves.n * moves.span)
    gain = np.where(won > 0, _MOST, 0.0)
    np.divide(won, loss, out=gain, where=loss > 1e-9 * moves.n * moves.span)
    with np.errstate(divide="ignore"):
        capital = np.log1p(_FRACTIONS * np.clip(gain, -1.0, _MOST)[:, None])
    reached = np.maximum.accumulate(logsumexp(np.cumsum(capital, axis=0), b=_PARTS, axis=1))
    return np.asarray(np.exp(-np.clip(reached, 0.0, None)), dtype=np.float64)


def _last(path: Floats) -> float:
    return float(path[-1]) if len(path) else 1.0


def _first(joined: np.ufunc, one: Floats, other: Floats, alpha: float) -> int | None:
    looks = min(len(one), len(other))
    found = np.flatnonzero(joined(one[:looks], other[:looks]) <= alpha)
    return int(found[0]) + 1 if len(found) else None


def _upper(moves: Moves, tail: float) -> float:
    span = moves.span
    if not len(moves.n) or at_least(moves, span) > tail:
        return span
    return float(brentq(lambda value: at_least(moves, value) - tail, -span, span, xtol=1e-7))

"""Is a mean change smaller than a margin, and is it none? One bound for few changes and for many, monotone in them.

A standard error needs changes: where no template changed there is none, and where one of 25 did it is too small. So the
tests here start from what is assumed instead: no template moves by more than `reach`. Templates that might have been
drawn and were not are then stood for by one more, of the size that an answer's template has on average and with the
worst move that the assumption allows. Over it and the templates seen the mean has Dirichlet(1, ..., 1) weights (the
Bayesian bootstrap's), and the p-value of "the mean is at least m" is the chance that the weighted mean is.

This is Gaffke's (2005) test for the mean of bounded variables. No data are known on which its level is exceeded, and
it holds in all of our simulations that keep the assumption (docs/validity.md); a proof exists for special cases
(Learned-Miller and Thomas 2020). Where none of G equal templates changed it is (1 - m / reach)^G, the "rule of three"
of rare events; where many change it is the t-test up to terms of order 1 / G.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, stdtrit

from ._rounding import settled

__all__ = ["REACH", "Moves", "at_least", "at_most", "fewest", "interval", "no_change", "smallest_seen", "within"]

Floats = npt.NDArray[np.float64]

REACH = 0.25
"""Default of how far one template may move, as a share of the measure's range: a quarter of its answers."""
_U = np.linspace(-16.0, 24.0, 321)
_T, _STEP = np.exp(_U), float(_U[1] - _U[0])
_FAR = 4.0
"""Means more than so many standard deviations from 0 are left to the saddlepoint: there the integral cancels."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """How much each cluster moved, and what may at most be assumed of those not seen."""

    net: Floats
    """[clusters] answers gained minus answers lost; with chances in place of answers, any number."""
    n: Floats
    """[clusters] answers that they are taken of, at least 0; clusters of none have no say."""
    unit: float = 1.0
    """Answers that one item has: these may all move, however small the reach."""
    span: float = 1.0
    """Width of the measure's range: 1 for a share, 2 for a score from -1 to 1."""
    reach: float = REACH
    """How far one cluster may move, as a share of the range; in (0, 1]. A cluster seen to move further raises it."""

    def __post_init__(self) -> None:
        """Check shapes, and leave out clusters of no answers.

        Raises:
            ValueError: If the arrays do not fit, or hold what is no number.
        """
        net, n = np.asarray(self.net, dtype=np.float64), np.asarray(self.n, dtype=np.float64)
        if net.ndim != 1 or net.shape != n.shape or not (np.isfinite(net).all() and np.isfinite(n).all()):
            raise ValueError(f"expected net and n of one length, all finite, got {net.shape} and {n.shape}")
        kept = n > 0
        object.__setattr__(self, "net", settled(net[kept], n[kept] * self.span))
        object.__setattr__(self, "n", n[kept])

    @property
    def estimate(self) -> float:
        """The mean change; NaN without answers."""
        return float(self.net.sum() / self.n.sum()) if len(self.n) else float("nan")

    @cached_property
    def effective(self) -> float:
        """Kish's number of equally large clusters that weigh as evenly; 0 without any."""
        return float(self.n.sum() ** 2 / np.square(self.n).sum()) if len(self.n) else 0.0

    @cached_property
    def typical(self) -> float:
        """Size of the cluster that an answer belongs to, on average."""
        return float(np.square(self.n).sum() / self.n.sum())

    @cached_property
    def allowed(self) -> float:
        """How far a cluster not seen may move, as a share of the range: reach, or one item's answers; in (0, 1]."""
        return max(self.reach, min(1.0, self.unit / self.typical)) if len(self.n) else 1.0

    @cached_property
    def bound(self) -> float:
        """Largest upward move that is allowed for, in the measure's unit: `allowed`, or what was seen."""
        return min(self.span, max(self.allowed * self.span, float((self.net / self.n).max(initial=0.0))))

    @property
    def turned(self) -> Moves:
        """The same with every move reversed."""
        return replace(self, net=-self.net)


def fewest(margin: float, reach: float, alpha: float) -> int:
    """Equal clusters below which nothing lies within the margin, though none moved: (1 - margin / reach)^G < alpha.

    Args:
        margin: In the unit of `reach`, positive.
        reach: How far one cluster may move; 1 is the answer where that is no farther than the margin.
        alpha: Level of the test of equivalence.
    """
    if margin >= reach:
        return 1
    return math.floor(math.log(alpha) / math.log1p(-margin / reach) + 1e-9) + 1


def at_least(moves: Moves, value: float) -> float:
    """The p-value of "the mean change is `value` or more"; 1 where nothing can be said."""
    if not len(moves.n):
        return 1.0
    # Where all moved as far as is allowed there is nothing that could lie beyond.
    if moves.bound <= value <= moves.estimate:
        return 1.0
    unseen = (value - moves.bound) * moves.typical
    return _below_zero(np.append(value * moves.n - moves.net, unseen))


def at_most(moves: Moves, value: float) -> float:
    """The p-value of "the mean change is `value` or less"."""
    return at_least(moves.turned, -value)


def within(low: Moves, high: Moves, margin: float) -> float:
    """The p-value of "the change is not inside (-margin, margin)": the larger of two one-sided ones.

    Args:
        low: Moves at the lowest that missing answers allow; the same as `high` where none is missing.
        high: At the highest.
        margin: Positive, in the measure's unit.
    """
    return max(at_least(high, margin), at_most(low, -margin))


def no_change(low: Moves, high: Moves) -> float:
    """The two-sided p-value of "no change on the whole", whatever the missing answers would have been."""
    return min(1.0, 2 * min(at_most(low, 0.0), at_least(high, 0.0)))


def interval(low: Moves, high: Moves, level: float) -> tuple[float, float]:
    """Both ends of what is not excluded: with missing answers, of all that they allow.

    `within` is below alpha exactly if the interval of level 1 - 2 alpha lies inside the margin, and `no_change` exactly
    if that of 1 - alpha leaves out 0. Never outside the measure's range; the whole range without answers.
    """
    tail = (1 - level) / 2
    return -_upper(low.turned, tail), _upper(high, tail)


def _upper(moves: Moves, tail: float) -> float:
    span = moves.span
    if not len(moves.n) or at_least(moves, span) > tail:
        return span
    start = moves.estimate
    return float(brentq(lambda value: at_least(moves, value) - tail, start, span, xtol=1e-7))


def smallest_seen(moves: Moves, alpha: float, *, power: float = 0.8) -> float:
    """The smallest true change that `no_change` tells from none, at `alpha`, in a share `power` of cases.

    The moves seen are taken as what moves look like, shifted as a whole. An estimate lies short of the true change by
    t standard errors in 1 - power of cases (linearised, effective clusters minus 1 degrees of freedom), and must still
    be told. A change that is not there yet adds its own noise: a share c of the answers turns, with variance
    c (1 - c) / n. Where no cluster moved that is all there is, and the bound.

    Returns:
        In the measure's unit; infinite where no change of the range can be told.
    """
    if moves.effective <= 1.0 + 1e-9:
        return float("inf")
    share, df = moves.n / moves.n.sum(), moves.effective - 1
    apart = settled(moves.net / moves.n - moves.estimate, moves.span)
    error = float(np.sqrt(np.square(share * apart).sum() * moves.effective / df))
    behind = float(stdtrit(df, power))
    level = replace(moves, net=moves.net - moves.estimate * moves.n)

    span = moves.span

    def p_value(change: float) -> float:
        turned = min(1.0, change / span)
        own = span**2 * turned * (1 - turned) * moves.unit / moves.n.sum()
        short = behind * float(np.sqrt(error**2 + own))
        shifted = replace(level, net=level.net + (change - short) * moves.n)
        return 2 * at_most(shifted, 0.0)

    if p_value(span) > alpha:
        return float("inf")
    return float(brentq(lambda change: p_value(change) - alpha, 0.0, span, xtol=1e-6))


def _below_zero(values: Floats) -> float:
    """The chance that a sum of independent standard exponentials times the values is 0 or less.

    By Gil-Pelaez' inversion of the characteristic function prod (1 - i t x)^-1, on a grid in log t (the trapezoid rule
    converges exponentially there): right to some 1e-5. Far from 0 by the saddlepoint of Lugannani and Rice.
    """
    size = float(np.sqrt(np.square(values).sum()))
    if not size:
        return 1.0
    x, times = np.unique(values / size, return_counts=True)
    if x[0] >= 0:
        return 0.0
    if x[-1] <= 0:
        return 1.0
    mean = float(x @ times)
    if abs(mean) > _FAR:
        return _tail(x, times) if mean > 0 else 1 - _tail(-x, times)
    grid = _T[:, None] * x
    phase = np.arctan(grid) @ times
    decay = np.exp(-0.5 * (np.log1p(grid * grid) @ times))
    # Below the grid the integrand is t times the mean.
    area = _STEP * float(decay @ np.sin(phase)) + float(_T[0]) * mean
    return float(np.clip(0.5 - area / np.pi, 0.0, 1.0))


def _tail(x: Floats, times: npt.NDArray[np.int64]) -> float:
    """The same for a mean far above 0."""
    # K(s) = -sum log(1 - s x) is convex between the poles; its lowest point is left of 0.
    edge = 1.0 / float(x.min())
    point = brentq(lambda s: float((x / (1 - s * x)) @ times), edge * (1 - 1e-12), 0.0, xtol=1e-14)
    height = -float(np.log1p(-point * x) @ times)
    bend = float(np.square(x / (1 - point * x)) @ times)
    w, u = -np.sqrt(-2 * height), point * np.sqrt(bend)
    density = np.exp(-0.5 * w * w) / np.sqrt(2 * np.pi)
    return float(np.clip(ndtr(w) + density * (1 / w - 1 / u), 0.0, 1.0))

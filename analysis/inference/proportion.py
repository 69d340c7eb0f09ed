"""Intervals for a proportion: of independent units, and of answers that come in clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit
from scipy.stats import norm

from ._rounding import settled
from .bounded import REACH

__all__ = ["LEVEL", "Shares", "mean_of_shares", "none_seen", "shares", "wilson"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LEVEL = 0.95
"""Confidence level of every interval in the tables."""


def wilson(
    count: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Wilson's score interval of a proportion, the units taken as independent.

    The ends are the two p0 with |count / n - p0| = z sqrt(p0 (1 - p0) / n), z the normal quantile of
    (1 + level) / 2 (Wilson 1927): inside [0, 1], and of positive width at 0 and at n events too.

    Args:
        count: Events, 0 to n; an array, or a number for one proportion.
        n: Trials, of a shape that broadcasts with `count`.
        level: Two-sided confidence level in (0, 1).

    Returns:
        Lower and upper ends, float64, of the broadcast shape. NaN where n is 0.
    """
    events, trials = np.broadcast_arrays(np.asarray(count, dtype=float), np.asarray(n, dtype=float))
    z = float(norm.ppf((1 + level) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = events / trials
        scale = 1 + z * z / trials
        center = (p + z * z / (2 * trials)) / scale
        half = z * np.sqrt((p * (1 - p) + z * z / (4 * trials)) / trials) / scale
        # At 0 or n events the exact end is 0 or 1; rounding would leave a hair of either sign.
        low = np.where((events == 0) & (trials > 0), 0.0, center - half)
        high = np.where((events == trials) & (trials > 0), 1.0, center + half)
    return low, high


_FEWEST = 2.0
"""Effective clusters below which there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Several shares with their intervals; NaN where there is none. All arrays are [shares]."""

    value: Floats
    """Events over trials; in [0, 1]."""
    std_error: Floats
    """Delete-one-cluster jackknife; of a share without or with nothing but events, what its bound stands for."""
    df: Floats
    """Effective clusters minus 1."""
    low: Floats
    high: Floats


def shares(
    code: Codes,
    events: Floats,
    trials: Floats,
    size: int,
    *,
    level: float = LEVEL,
    reach: float = REACH,
    unit: float | Floats = 1.0,
) -> Shares:
    """Shares with t intervals from the delete-one-cluster jackknife, taken in log-odds and brought back.

    Where clusters share nothing but an event or two that error is too small, and without an event there is none. So no
    interval ends short of what as many clusters without any event would allow (`none_seen`), and none above 0 begins
    later than what as many with nothing but events would.

    Args:
        code: [clusters] number of the share that each cluster belongs to, 0 to size - 1.
        events: [clusters] at least 0.
        trials: [clusters] at least the events. A cluster without trials is none.
        size: How many shares there are.
        level: Of the intervals.
        reach: As for `none_seen`.
        unit: As for `none_seen`.

    Returns:
        One entry a share: NaN without trials. No interval with fewer than two effective clusters, or where all show one
        share that is neither 0 nor 1: its error is not known.
    """
    kept = trials > 0
    code, events, trials = code[kept], events[kept], trials[kept]
    total, happened = np.bincount(code, trials, size), np.bincount(code, events, size)
    groups, square = np.bincount(code, minlength=size), np.bincount(code, np.square(trials), size)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(total > 0, np.clip(happened / total, 0, 1), np.nan)
        effective = np.square(total) / square
        left = (happened[code] - events) / (total[code] - trials)
        apart = left - (np.bincount(code, left, size) / groups)[code]
        error = np.sqrt((groups - 1) / groups * np.bincount(code, np.square(apart), size))
        error = np.where(effective < _FEWEST, np.nan, settled(error, 1.0))
        df = np.where(effective < _FEWEST, np.nan, effective - 1)
        tail = (1 - level) / 2
        quantile = stdtrit(df, 1 - tail)
        wide = quantile * error / (value * (1 - value))
        least = np.where(np.isnan(df), np.nan, none_seen(code, trials, size, tail=tail, reach=reach, unit=unit))
        at_end = (value == 0) | (value == 1)
        known = (error > 0) & ~at_end
        low = np.where(known, np.minimum(expit(logit(value) - wide), 1 - least), np.where(value == 0, 0.0, 1 - least))
        high = np.where(known, np.maximum(expit(logit(value) + wide), least), np.where(value == 1, 1.0, least))
        told = (known | at_end) & ~np.isnan(df)
        error = np.where(at_end, least / quantile, error)
    low, high, error = (np.where(told, side, np.nan) for side in (low, high, error))
    return Shares(value=value, std_error=error, df=df, low=low, high=high)


def none_seen(
    code: Codes, trials: Floats, size: int, *, tail: float, reach: float = REACH, unit: float | Floats = 1.0
) -> Floats:
    """The largest share that clusters without any event allow: `bounded.interval` of moves that are all 0.

    With n_g trials each, n* = sum n^2 / sum n and x = v / (reach - v), a share of v or more shows no event with a
    chance of at most prod 1 / (1 + x n_g / n*), which is the tail at the bound. For G equal clusters that is
    v = reach (1 - tail^(1 / G)).

    Args:
        code: [clusters] number of the share that each belongs to.
        trials: [clusters] positive.
        size: How many shares.
        tail: Chance of going wrong, in (0, 1).
        reach: Largest share that is allowed for in a cluster that was not seen, in (0, 1].
        unit: Answers that one item has, which may all be events; one number, or [shares].

    Returns:
        [shares] in (0, 1); NaN without a cluster.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        typical = np.bincount(code, np.square(trials), size) / np.bincount(code, trials, size)
        most = np.maximum(reach, np.minimum(1.0, unit / typical))
    weight = trials / typical[code]
    low: Floats = np.full(size, -60.0)
    high: Floats = np.full(size, 60.0)
    for _ in range(60):
        middle = (low + high) / 2
        enough = np.bincount(code, np.log1p(np.exp(middle)[code] * weight), size) >= -np.log(tail)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(np.where(np.isnan(typical), np.nan, most * expit((low + high) / 2)))


def mean_of_shares(code: Codes, parts: Shares, size: int, *, level: float = LEVEL) -> Shares:
    """Plain means of independent shares: variances add, degrees of freedom by Satterthwaite (1946).

    Args:
        code: [parts] number of the mean that each share belongs to, 0 to size - 1.
        parts: The shares, with their errors.
        size: How many means.
        level: Of the interval, which is taken in log-odds; at 0 and 1 in shares.

    Returns:
        One entry a mean; without an interval where a part has none.
    """
    n = np.bincount(code, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.bincount(code, parts.value, size) / n
        parts_variance = np.square(parts.std_error)
        variance = np.bincount(code, parts_variance, size)
        df = np.square(variance) / np.bincount(code, np.square(parts_variance) / parts.df, size)
        error = np.sqrt(variance) / n
        wide = stdtrit(df, (1 + level) / 2) * error
        inside = (value > 0) & (value < 1)
        slope = np.where(inside, value * (1 - value), 1.0)
        low = np.where(inside, expit(logit(value) - wide / slope), np.clip(value - wide, 0, 1))
        high = np.where(inside, expit(logit(value) + wide / slope), np.clip(value + wide, 0, 1))
    low, high = (np.where(np.isnan(error), np.nan, side) for side in (low, high))
    return Shares(value=value, std_error=error, df=df, low=low, high=high)

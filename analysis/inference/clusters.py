"""Change between two runs of the same templates: interval by jackknife, test by exchanging runs, bootstrap.

The unit of independence is the cluster (template): items of one template, and seeds of one item, move together. All
methods start from counts per cluster, [clusters, columns], and a statistic of summed counts, so that no method ever
sees a row and the size of the data does not matter.

Degrees of freedom are the effective clusters minus 1 (Kish 1965), since few templates may hold most of what is told:
sizes differ, or a cautious model names somebody in one template of seven. Missed by 95 % intervals of the jackknife, in
percent of 2,000 simulated data sets a cell (in brackets the percentage of data sets without an interval, if over 5):

    templates                                5          10          20          50
    sizes 4 to 200, median 20              3.2         3.7         4.9         4.9
      skewed moves                         2.5         4.5         5.4         6.3
      rare events                          1.9         2.6         3.0         4.2
      many answers unparsed          1.6 (10)          2.9         4.7         4.8
      the move grows with size             4.2         6.2         7.2         6.3
      15 % of the templates move      0.0 (53)    0.1 (24)    0.0 (6)          0.9
    sizes Pareto, index 1.2           3.5 (12)     4.0 (8)    4.5 (6)          4.6

    templates                                5           8          25          60
    one as large as all the others         2.7         1.9         1.8         1.1
    15 % name anybody                7.4 (97)    8.4 (90)    5.0 (23)         4.4

With templates minus 1 it missed 6 to 9 % at Pareto sizes and with one large template, and 7 to 14 % where 15 % name
anybody. Percentile and BCa intervals of `cluster_bootstrap`'s kind miss 10 % at 10 templates and 7 to 8 % at 50.
The exchange test at 0.05 rejects 1.3 to 4.8, 3.9 to 5.3 and 4.4 to 4.8 % of data sets without a change (10, 20 and 50
templates, 0.0 to 1.8 % where only 15 % of the templates move): it is conservative where few answers change, because
equal sums count as extreme. docs/validity.md measures the defaults on whole benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from ._rounding import RELATIVE, settled
from .result import Estimate, Result

__all__ = [
    "FEWEST_EFFECTIVE",
    "NO_CHANGE",
    "Statistic",
    "cluster_bootstrap",
    "effective_clusters",
    "from_left_out",
    "jackknife",
    "jackknife_change",
    "ratio",
    "shares_of",
    "sign_flip",
    "sign_flips",
]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From sums [..., columns] to values [...]; NaN where it is not defined."""

NO_CHANGE = "no template's counts changed"
"""Status of a change of 0 to which no template contributed: its error is not known from the data."""
_CHUNK = 4096
"""Exchanges that are computed at once."""
_SAME = "every template shows the same: its error is not known"
FEWEST_EFFECTIVE = 2.0
"""Effective clusters below which there is no interval: one cluster then holds some 70 % of the trials or more."""


def ratio(sums: Floats) -> Floats:
    """First column over second: a rate from events and trials; NaN without trials."""
    events, trials = sums[..., 0], sums[..., 1]
    share: Floats = np.divide(events, trials, out=np.full(np.shape(events), np.nan), where=trials > 0)
    return share


def effective_clusters(size: npt.ArrayLike) -> float:
    """Kish's (1965) number of equally large clusters that weigh as evenly: (sum n)^2 / sum n^2.

    Between 1 and the number of clusters that are not empty; 0 without any. Minus 1 it is the degrees of freedom of
    this package's t intervals: G - 1 where clusters are of one size, fewer where a few of them tell most.
    """
    n = np.asarray(size, dtype=np.float64)
    return float(n.sum() ** 2 / np.square(n).sum()) if n.any() else 0.0


def shares_of(*trials: npt.ArrayLike) -> Floats:
    """[clusters] each one's weight in a comparison: its share of the trials of every side, added up."""
    sides = [np.asarray(side, dtype=np.float64) for side in trials]
    out: Floats = np.zeros_like(sides[0])
    for side in sides:
        out = out + side / (side.sum() or 1.0)
    return out


def jackknife(
    counts: npt.ArrayLike,
    statistic: Statistic = ratio,
    *,
    size: npt.ArrayLike | None = None,
    level: float = 0.95,
    term: str = "value",
    scale: float = 1.0,
) -> Result:
    """A statistic of one set of clusters with a t interval from the delete-one-cluster jackknife.

    With theta_g the statistic without cluster g, the variance is (G - 1) / G x sum (theta_g - mean)^2 (Efron & Stein
    1981) and the interval that of Student's t with E - 1 degrees of freedom, E the effective clusters. For ratios and
    differences of ratios this is the linearised cluster-robust variance up to terms of order 1 / G, and a little wider
    where clusters differ in size, which is where the linearised one is too short.

    Args:
        counts: [clusters, columns].
        statistic: Of summed counts.
        size: [clusters] trials of each in the statistic, at least 0. If left out, those of `ratio`; for another
            statistic all clusters weigh alike. One without trials that does not move the statistic is no cluster.
        level: Of the interval.
        term: Name of the estimate.
        scale: Size of the numbers that the statistic is made of, for telling an error from rounding; the estimate's
            own size if that is larger. 1 for what is made of shares, angles or logarithms.

    Returns:
        The term, with its interval and the p-value of 0. Without an interval, and a status that says why, where the
        statistic is undefined on the whole or without one of the clusters, all clusters give the same, or fewer than
        FEWEST_EFFECTIVE hold the trials.

    Raises:
        ValueError: If `counts` is not of that shape, or empty, or `size` does not fit.
    """
    given = np.asarray(counts, dtype=np.float64)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"expected counts [clusters, columns], got shape {given.shape}")
    if size is None and statistic is ratio:
        size = given[:, 1]
    groups = len(given)
    total = given.sum(axis=0)
    value = float(statistic(total))
    whole = Result(method="delete-one-cluster jackknife", n=groups, n_clusters=groups, level=level)
    if np.isnan(value):
        return replace(whole, status="undefined: nothing to take the share of")
    return from_left_out(whole, term, value, statistic(total - given), size=size, scale=scale)


def from_left_out(
    whole: Result, term: str, value: float, left: Floats, *, size: npt.ArrayLike | None = None, scale: float = 1.0
) -> Result:
    """The jackknife's estimate from the values without each cluster.

    Args:
        whole: What holds for the result; its level and other fields are kept.
        term: Name of the estimate.
        value: With all clusters; a number.
        left: [clusters] without each; NaN where it is not defined.
        size: [clusters] trials of each, at least 0; all alike if left out.
        scale: As for `jackknife`.

    Returns:
        As `jackknife`; n_clusters is without those that have no trials and do not move the statistic.
    """
    n = _sizes(size, len(left))
    # A hair of trials is none: what is left of a sum of probabilities, say. NaN is no hair.
    told = (settled(n, n.sum()) > 0) | (settled(left - value, max(scale, abs(value))) != 0)
    n, left, level = n[told], left[told], whole.level
    groups, effective = len(left), effective_clusters(n)
    df = effective - 1
    whole = replace(whole, n_clusters=groups)
    bare = (Estimate(term=term, estimate=value, df=df if groups > 1 else None),)
    if groups < 2:
        return replace(whole, estimates=bare, status="one template only: no interval")
    if np.isnan(left).any():
        return replace(whole, estimates=bare, status="undefined without one of the templates: no interval")
    error = float(np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum()))
    if not settled(error, max(scale, abs(value))):
        return replace(whole, estimates=bare, status=_SAME)
    if effective < FEWEST_EFFECTIVE * (1 - RELATIVE):
        status = f"{n.max() / n.sum():.0%} of the trials are of one template: no interval"
        return replace(whole, estimates=(replace(bare[0], std_error=error),), status=status)
    reach = float(stdtrit(df, (1 + level) / 2)) * error
    estimate = Estimate(
        term=term,
        estimate=value,
        std_error=error,
        statistic=value / error,
        df=df,
        p_value=float(2 * stdtr(df, -abs(value / error))),
        conf_low=value - reach,
        conf_high=value + reach,
    )
    return replace(whole, estimates=(estimate,))


def jackknife_change(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    statistic: Statistic = ratio,
    *,
    size: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Result:
    """Change of a statistic between two runs of the same clusters, with the interval of `jackknife`.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        size: [clusters] as for `jackknife`; of `ratio` the trials of both runs, `shares_of` them.
        level: Of the interval.

    Returns:
        Term "difference" (statistic after minus before); facts value_baseline, value. Without an interval as for
        `jackknife`. Where no cluster's part in the statistic changed, the difference is 0 and the status NO_CHANGE.

    Raises:
        ValueError: If the counts are not [clusters, columns] of one shape, or empty.
    """
    old, new = _pair(before, after)
    columns = old.shape[1]
    value_before, value = (float(statistic(counts.sum(axis=0))) for counts in (old, new))
    facts = {"value_baseline": _known(value_before), "value": _known(value)}

    def change(sums: Floats) -> Floats:
        return statistic(sums[..., columns:]) - statistic(sums[..., :columns])

    scale = max([1.0, *(abs(side) for side in (value_before, value) if not np.isnan(side))])
    n = shares_of(old[:, 1], new[:, 1]) if size is None and statistic is ratio else _sizes(size, len(old))
    found = jackknife(np.hstack([old, new]), change, size=n, level=level, term="difference", scale=scale)
    found = replace(found, facts=facts)
    if np.isnan(value_before) or np.isnan(value):
        side = "at baseline" if np.isnan(value_before) else "after compression"
        return replace(found, status=f"undefined {side}: nothing to take the share of")
    # The statistic may stay although counts that it does not use have changed: then it stays without any template too.
    if np.array_equal(old, new) or (found.status == _SAME and not settled(value - value_before, scale)):
        same = Estimate(term="difference", estimate=0.0, df=max(effective_clusters(n) - 1, 0.0))
        return replace(found, estimates=(same,), status=NO_CHANGE)
    return found


def sign_flip(
    before: npt.ArrayLike, after: npt.ArrayLike, statistic: Statistic = ratio, *, exchanges: int = 9999, seed: int = 0
) -> Result:
    """Test of no change by exchanging run and baseline, whole clusters at a time.

    If compression changed nothing, either run could have given a template's answers. The statistic's change is
    computed with the two runs' counts exchanged in random clusters; p = (b + 1) / (m + 1), with b of the m at
    least as far from 0 as what was observed (Phipson & Smyth 2010). With 2^clusters at most `exchanges` all are listed,
    the observed one among them, and p = b / m is exact. Exchanges in which the statistic is undefined count as extreme.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        exchanges: How many at random.
        seed: Of these.

    Returns:
        Term "difference" with a two-sided p-value; facts exchanges and exact. Where no cluster changed p is 1.

    Raises:
        ValueError: As `jackknife_change`.
    """
    return sign_flips(before, after, {"": statistic}, exchanges=exchanges, seed=seed)[""]


def sign_flips(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    statistics: Mapping[str, Statistic],
    *,
    exchanges: int = 9999,
    seed: int = 0,
) -> dict[str, Result]:
    """`sign_flip` of several statistics of the same counts, which share the exchanges: a result per name."""
    old, new = _pair(before, after)
    groups = len(old)
    swapped, exact = _exchanges(groups, exchanges, seed)
    facts = {"exchanges": len(swapped), "exact": exact, "seed": None if exact else seed}
    whole = Result(method="exchange of runs by cluster", n=groups, n_clusters=groups, facts=facts)
    sum_old, sum_new = old.sum(axis=0), new.sum(axis=0)
    # A chunk at a time: families of many rows ask for many exchanges.
    chunks = np.array_split(swapped, 1 + len(swapped) // _CHUNK)
    moved = np.concatenate([chunk.astype(np.float64) @ (new - old) for chunk in chunks])
    turned_old, turned_new = sum_old + moved, sum_new - moved
    out = {}
    for name, statistic in statistics.items():
        observed = float(statistic(sum_new) - statistic(sum_old))
        if np.isnan(observed):
            out[name] = replace(whole, status="undefined at baseline or after compression")
            continue
        turned = statistic(turned_new), statistic(turned_old)
        null = np.abs(turned[0] - turned[1])
        # Equal sums that were added up in another order differ by rounding: they are as extreme.
        tie = RELATIVE * np.maximum(1.0, np.maximum(np.abs(turned[0]), np.abs(turned[1])))
        extreme = len(null) - int(np.count_nonzero(null < abs(observed) - tie))
        p_value = extreme / len(null) if exact else (extreme + 1) / (len(null) + 1)
        found = Estimate(term="difference", estimate=observed, p_value=p_value)
        out[name] = replace(whole, estimates=(found,), status=NO_CHANGE if np.array_equal(old, new) else "ok")
    return out


def cluster_bootstrap(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    statistic: Statistic = ratio,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Result:
    """Percentile interval of a change, clusters drawn with replacement, the same for both runs.

    A resample is a vector of multinomial weights, so all of them are one product [resamples, clusters] x [clusters,
    columns]. The interval is too short below some 50 clusters (see the head of this module); the jackknife's is the
    default of this package.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        resamples: How many.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Term "difference"; its standard error is the resamples' standard deviation, and there is no interval, and a
        status that says so, where all resamples give the same. Resamples in which the statistic
        is undefined are left out, and counted in the fact `undefined`; without an interval if they are more
        than a tenth.

    Raises:
        ValueError: As `jackknife_change`.
    """
    old, new = _pair(before, after)
    groups = len(old)
    observed = float(statistic(new.sum(axis=0)) - statistic(old.sum(axis=0)))
    weights = _weights(groups, resamples, seed)
    found = statistic(weights @ new) - statistic(weights @ old)
    kept = found[~np.isnan(found)]
    facts = {"resamples": resamples, "seed": seed, "undefined": resamples - len(kept)}
    whole = Result(method="cluster bootstrap, percentile", n=groups, n_clusters=groups, level=level, facts=facts)
    if np.isnan(observed):
        return replace(whole, status="undefined at baseline or after compression")
    if groups < 2 or len(kept) < 0.9 * resamples:
        status = "one template only: no interval" if groups < 2 else "undefined in more than a tenth of the resamples"
        return replace(whole, estimates=(Estimate(term="difference", estimate=observed),), status=status)
    unchanged = np.array_equal(old, new)
    error = float(settled(kept.std(ddof=1), max(1.0, float(np.abs(kept).max()))))
    if not error:
        bare = Estimate(term="difference", estimate=observed)
        return replace(whole, estimates=(bare,), status=NO_CHANGE if unchanged else _SAME)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    estimate = Estimate(term="difference", estimate=observed, std_error=error, conf_low=low, conf_high=high)
    return replace(whole, estimates=(estimate,))


def _pair(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[Floats, Floats]:
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if old.ndim != 2 or old.shape != new.shape or not len(old):
        raise ValueError(f"expected counts [clusters, columns] of one shape, got {old.shape} and {new.shape}")
    return old, new


def _sizes(size: npt.ArrayLike | None, groups: int) -> Floats:
    if size is None:
        return np.ones(groups)
    n = np.asarray(size, dtype=np.float64)
    if n.shape != (groups,) or not (np.isfinite(n) & (n >= 0)).all():
        raise ValueError(f"expected the size of each of {groups} clusters, finite and at least 0, got shape {n.shape}")
    return n


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


@lru_cache(maxsize=4)
def _exchanges(groups: int, most: int, seed: int) -> tuple[npt.NDArray[np.int8], bool]:
    """Which clusters are exchanged, [exchanges, clusters] of 0 and 1, and whether these are all there are."""
    if groups < 60 and 2**groups <= most:
        numbers = np.arange(2**groups)[:, None]
        return ((numbers >> np.arange(groups)) & 1).astype(np.int8), True
    rng = np.random.default_rng(seed)
    sizes = [min(_CHUNK, most - start) for start in range(0, most, _CHUNK)]
    return np.concatenate([rng.integers(0, 2, size=(size, groups)).astype(np.int8) for size in sizes]), False


@lru_cache(maxsize=4)
def _weights(groups: int, resamples: int, seed: int) -> Floats:
    """How often each cluster is in each resample, [resamples, clusters]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.float64)

"""Change between two runs of the same templates: interval by jackknife, test by exchanging runs, bootstrap.

The unit of independence is the cluster (template): items of one template, and seeds of one item, move together. All
methods start from counts per cluster, [clusters, columns], and a statistic of summed counts, so that no method ever
sees a row and the size of the data does not matter.

The defaults were chosen by simulation: 10, 20 and 50 templates of 4 to 200 items (median 20), 1,500 to 3,000 data sets
a case; cases without a change (templates that move by chance either way, evenly or skewed, rare events, many answers
unparsed) and with one. Missed by 95 % intervals, in percent of the data sets, lowest to highest over these cases:

    templates                                   10            20            50
    jackknife, t (the default)           5.1 to  6.9   5.0 to  6.3   4.9 to  6.1
    linearised variance, t               5.9 to  8.1   5.7 to  7.5   5.1 to  6.9
    bootstrap, studentised               6.0 to  7.5   6.1            6.0 to  6.3
    bootstrap, percentile               10.1 to 10.2   7.3 to  7.6   6.4 to  6.9
    bootstrap, BCa                      10.5 to 12.5   8.5 to  8.9   7.1 to  8.3

(bootstraps: two of the cases). Where a template's change grows with its size, which is outside of all of them, the
jackknife misses 12.1, 10.2 and 8.8. Where only 15 % of the templates change at all it misses 0.1, 0.5 and 3.0, and the
exchange test rejects 0.0, 0.1 and 1.8: both are conservative there.
Otherwise the exchange test at 0.05 rejects 1.3 to 4.8, 3.9 to 5.3 and 4.4 to 4.8 % of data sets without a change: it is
conservative where few answers change, because equal sums count as extreme. Its power is that of the jackknife's t-test
from 20 templates on, and a little less below. docs/validity.md measures the defaults on whole benchmarks.
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
    "NO_CHANGE",
    "Statistic",
    "cluster_bootstrap",
    "from_left_out",
    "jackknife",
    "jackknife_change",
    "ratio",
    "sign_flip",
    "sign_flips",
]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From sums [..., columns] to values [...]; NaN where it is not defined."""

NO_CHANGE = "no template's counts changed"
"""Status of a change of 0 to which no template contributed: its error is not known from the data."""
_SAME = "every template shows the same: its error is not known"


def ratio(sums: Floats) -> Floats:
    """First column over second: a rate from events and trials; NaN without trials."""
    events, trials = sums[..., 0], sums[..., 1]
    share: Floats = np.divide(events, trials, out=np.full(np.shape(events), np.nan), where=trials > 0)
    return share


def jackknife(
    counts: npt.ArrayLike,
    statistic: Statistic = ratio,
    *,
    level: float = 0.95,
    term: str = "value",
    scale: float = 1.0,
) -> Result:
    """A statistic of one set of clusters with a t interval from the delete-one-cluster jackknife.

    With theta_g the statistic without cluster g, the variance is (G - 1) / G x sum (theta_g - mean)^2 (Efron & Stein
    1981) and the interval that of Student's t with G - 1 degrees of freedom. For ratios and differences of ratios this
    is the linearised cluster-robust variance up to terms of order 1 / G, and a little wider where clusters differ in
    size, which is where the linearised one is too short.

    Args:
        counts: [clusters, columns].
        statistic: Of summed counts.
        level: Of the interval.
        term: Name of the estimate.
        scale: Size of the numbers that the statistic is made of, for telling an error from rounding; the estimate's
            own size if that is larger. 1 for what is made of shares, angles or logarithms.

    Returns:
        The term, with its interval and the p-value of 0. Without an interval, and a status that says why, where the
        statistic is undefined on the whole or without one of the clusters, or all clusters give the same.

    Raises:
        ValueError: If `counts` is not of that shape, or empty.
    """
    given = np.asarray(counts, dtype=np.float64)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"expected counts [clusters, columns], got shape {given.shape}")
    groups = len(given)
    total = given.sum(axis=0)
    value = float(statistic(total))
    whole = Result(method="delete-one-cluster jackknife", n=groups, n_clusters=groups, level=level)
    if np.isnan(value):
        return replace(whole, status="undefined: nothing to take the share of")
    return from_left_out(whole, term, value, statistic(total - given), scale=scale)


def from_left_out(whole: Result, term: str, value: float, left: Floats, *, scale: float = 1.0) -> Result:
    """The jackknife's estimate from the values without each cluster.

    Args:
        whole: What holds for the result; its level and other fields are kept.
        term: Name of the estimate.
        value: With all clusters; a number.
        left: [clusters] without each; NaN where it is not defined.
        scale: As for `jackknife`.

    Returns:
        As `jackknife`.
    """
    groups, level = len(left), whole.level
    bare = (Estimate(term=term, estimate=value, df=groups - 1 if groups > 1 else None),)
    if groups < 2:
        return replace(whole, estimates=bare, status="one template only: no interval")
    if np.isnan(left).any():
        return replace(whole, estimates=bare, status="undefined without one of the templates: no interval")
    error = float(np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum()))
    if not settled(error, max(scale, abs(value))):
        return replace(whole, estimates=bare, status=_SAME)
    reach = float(stdtrit(groups - 1, (1 + level) / 2)) * error
    estimate = Estimate(
        term=term,
        estimate=value,
        std_error=error,
        statistic=value / error,
        df=groups - 1,
        p_value=float(2 * stdtr(groups - 1, -abs(value / error))),
        conf_low=value - reach,
        conf_high=value + reach,
    )
    return replace(whole, estimates=(estimate,))


def jackknife_change(
    before: npt.ArrayLike, after: npt.ArrayLike, statistic: Statistic = ratio, *, level: float = 0.95
) -> Result:
    """Change of a statistic between two runs of the same clusters, with the interval of `jackknife`.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
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
    found = jackknife(np.hstack([old, new]), change, level=level, term="difference", scale=scale)
    found = replace(found, facts=facts)
    if np.isnan(value_before) or np.isnan(value):
        side = "at baseline" if np.isnan(value_before) else "after compression"
        return replace(found, status=f"undefined {side}: nothing to take the share of")
    # The statistic may stay although counts that it does not use have changed: then it stays without any template too.
    if np.array_equal(old, new) or (found.status == _SAME and not settled(value - value_before, scale)):
        same = Estimate(term="difference", estimate=0.0, df=len(old) - 1)
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
    moved = swapped @ (new - old)
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


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


@lru_cache(maxsize=4)
def _exchanges(groups: int, most: int, seed: int) -> tuple[Floats, bool]:
    """Which clusters are exchanged, [exchanges, clusters] of 0 and 1, and whether these are all there are."""
    if groups < 60 and 2**groups <= most:
        numbers = np.arange(2**groups)[:, None]
        return ((numbers >> np.arange(groups)) & 1).astype(np.float64), True
    return np.random.default_rng(seed).integers(0, 2, size=(most, groups)).astype(np.float64), False


@lru_cache(maxsize=4)
def _weights(groups: int, resamples: int, seed: int) -> Floats:
    """How often each cluster is in each resample, [resamples, clusters]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.float64)

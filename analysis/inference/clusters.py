"""Change between two runs of the same templates: interval by jackknife, test by exchanging runs, bootstrap.

The unit of independence is the cluster (template): items of one template, and seeds of one item, move together. All
methods start from counts per cluster, [clusters, columns], and a statistic of summed counts, so that no method ever
sees a row and the size of the data does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from analysis.inference.result import Estimate, Result

__all__ = ["Statistic", "cluster_bootstrap", "jackknife_change", "ratio", "sign_flip"]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From sums [..., columns] to values [...]; NaN where it is not defined."""

NO_CHANGE = "no template's counts changed"
# Equal sums that were added up in another order differ by rounding.
_TIE = 1e-12


def ratio(sums: Floats) -> Floats:
    """First column over second: a rate from events and trials; NaN without trials."""
    events, trials = sums[..., 0], sums[..., 1]
    share: Floats = np.divide(events, trials, out=np.full(np.shape(events), np.nan), where=trials > 0)
    return share


def jackknife_change(
    before: npt.ArrayLike, after: npt.ArrayLike, statistic: Statistic = ratio, *, level: float = 0.95
) -> Result:
    """Change of a statistic with a t interval from the delete-one-cluster jackknife.

    With theta_g the change without cluster g, the variance is (G - 1) / G x sum (theta_g - mean)^2 (Efron & Stein
    1981) and the interval that of Student's t with G - 1 degrees of freedom. For a difference of ratios this is the
    linearised cluster-robust variance up to terms of order 1 / G, and a little wider where clusters differ in size,
    which is where the linearised one is too short.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        level: Of the interval.

    Returns:
        Term "difference" (statistic after minus before); facts value_baseline, value. Without an interval, and a
        status that says why, where the statistic is undefined on the whole, there is one cluster, or leaving one
        cluster out undefines it. Where no cluster's counts changed, the difference is 0 and its error is not known.
    """
    old, new = _pair(before, after)
    groups = len(old)
    low_sum, high_sum = old.sum(axis=0), new.sum(axis=0)
    value_before, value = (float(statistic(sums)) for sums in (low_sum, high_sum))
    facts = {"value_baseline": _known(value_before), "value": _known(value)}
    whole = Result(method="delete-one-cluster jackknife", n=groups, n_clusters=groups, level=level, facts=facts)
    if np.isnan(value_before) or np.isnan(value):
        side = "at baseline" if np.isnan(value_before) else "after compression"
        return _with(whole, (), f"undefined {side}: nothing to take the share of")
    difference = value - value_before
    if np.array_equal(old, new):
        return _with(whole, (Estimate(term="difference", estimate=0.0, df=groups - 1),), NO_CHANGE)
    if groups < 2:
        return _with(whole, (Estimate(term="difference", estimate=difference),), "one template only: no interval")
    left = statistic(high_sum - new) - statistic(low_sum - old)
    if np.isnan(left).any():
        status = "undefined without one of the templates: no interval"
        return _with(whole, (Estimate(term="difference", estimate=difference),), status)
    error = float(np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum()))
    if error <= _TIE:
        status = "every template changed by the same: its error is not known"
        return _with(whole, (Estimate(term="difference", estimate=difference, df=groups - 1),), status)
    reach = float(student.ppf((1 + level) / 2, groups - 1)) * error
    estimate = Estimate(
        term="difference",
        estimate=difference,
        std_error=error,
        statistic=difference / error,
        df=groups - 1,
        p_value=float(2 * student.sf(abs(difference / error), groups - 1)),
        conf_low=difference - reach,
        conf_high=difference + reach,
    )
    return _with(whole, (estimate,), "ok")


def sign_flip(
    before: npt.ArrayLike, after: npt.ArrayLike, statistic: Statistic = ratio, *, draws: int = 9999, seed: int = 0
) -> Result:
    """Test of no change by exchanging run and baseline, whole clusters at a time.

    If compression changed nothing, either run could have given a template's answers. The statistic's change is
    computed with the two runs' counts exchanged in random clusters; p = (b + 1) / (m + 1), with b of the m draws at
    least as far from 0 as what was observed (Phipson & Smyth 2010). With 2^clusters at most `draws` all exchanges are
    listed and p is exact. Draws in which the statistic is undefined count as extreme.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        draws: Random exchanges.
        seed: Of the draws.

    Returns:
        Term "difference" with a two-sided p-value; facts exchanges and exact. Where no cluster changed p is 1.
    """
    old, new = _pair(before, after)
    groups = len(old)
    swapped, exact = _exchanges(groups, draws, seed)
    facts = {"exchanges": len(swapped), "exact": exact, "seed": None if exact else seed}
    whole = Result(method="exchange of runs by cluster", n=groups, n_clusters=groups, facts=facts)
    observed = float(statistic(new.sum(axis=0)) - statistic(old.sum(axis=0)))
    if np.isnan(observed):
        return _with(whole, (), "undefined at baseline or after compression")
    moved = swapped @ (new - old)
    with np.errstate(invalid="ignore"):
        null = statistic(new.sum(axis=0) - moved) - statistic(old.sum(axis=0) + moved)
    extreme = int((~(np.abs(null) < abs(observed) - _TIE)).sum())
    p_value = extreme / len(null) if exact else (extreme + 1) / (len(null) + 1)
    status = NO_CHANGE if np.array_equal(old, new) else "ok"
    return _with(whole, (Estimate(term="difference", estimate=observed, p_value=p_value),), status)


def cluster_bootstrap(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    statistic: Statistic = ratio,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Result:
    """Percentile interval of a change, clusters drawn with replacement, the same for both runs.

    A resample is a vector of multinomial weights, so all of them are one product [draws, clusters] x [clusters,
    columns]. With fewer than some thirty clusters the interval is too short (docs/validity.md); the jackknife's is
    the default of this package.

    Args:
        before: [clusters, columns] counts of the baseline.
        after: [clusters, columns] counts of the run.
        statistic: Of summed counts.
        draws: Resamples.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Term "difference"; its standard error is the resamples' standard deviation. Resamples in which the statistic
        is undefined are left out, and counted in the fact `undefined_draws`; without an interval if they are more
        than a tenth.
    """
    old, new = _pair(before, after)
    groups = len(old)
    observed = float(statistic(new.sum(axis=0)) - statistic(old.sum(axis=0)))
    weights = _weights(groups, draws, seed)
    found = statistic(weights @ new) - statistic(weights @ old)
    kept = found[~np.isnan(found)]
    facts = {"draws": draws, "seed": seed, "undefined_draws": draws - len(kept)}
    whole = Result(method="cluster bootstrap, percentile", n=groups, n_clusters=groups, level=level, facts=facts)
    if np.isnan(observed):
        return _with(whole, (), "undefined at baseline or after compression")
    if groups < 2 or len(kept) < 0.9 * draws:
        status = "one template only: no interval" if groups < 2 else "undefined in more than a tenth of the resamples"
        return _with(whole, (Estimate(term="difference", estimate=observed),), status)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    estimate = Estimate(
        term="difference", estimate=observed, std_error=float(kept.std(ddof=1)), conf_low=low, conf_high=high
    )
    return _with(whole, (estimate,), NO_CHANGE if np.array_equal(old, new) else "ok")


def _pair(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[Floats, Floats]:
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if old.ndim != 2 or old.shape != new.shape or not len(old):
        raise ValueError(f"expected counts [clusters, columns] of one shape, got {old.shape} and {new.shape}")
    return old, new


def _with(result: Result, estimates: tuple[Estimate, ...], status: str) -> Result:
    return replace(result, estimates=estimates, status=status)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


@lru_cache(maxsize=4)
def _exchanges(groups: int, draws: int, seed: int) -> tuple[Floats, bool]:
    """Which clusters are exchanged, [exchanges, clusters] of 0 and 1, and whether these are all there are."""
    if groups < 60 and 2**groups <= draws:
        numbers = np.arange(2**groups)[:, None]
        return ((numbers >> np.arange(groups)) & 1).astype(np.float64), True
    return np.random.default_rng(seed).integers(0, 2, size=(draws, groups)).astype(np.float64), False


@lru_cache(maxsize=4)
def _weights(groups: int, draws: int, seed: int) -> Floats:
    """How often each cluster is in each resample, [draws, clusters]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)

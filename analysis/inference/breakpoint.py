"""Threshold or gradual? One breakpoint against a straight line, on the logit scale of the dose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ._logit import Floats, Records, fit_logit, no_estimate
from ._rounding import RELATIVE, settled
from .gee import gee
from .result import Estimate, Result
from .trend import NameDose, dose_counts, flipped_p, plain_dose

__all__ = ["MIN_DOSES", "breakpoint_test"]

MIN_DOSES = 4
"""A line has two parameters and a bent line three: with fewer doses, there is nothing to tell them apart by."""

_RESAMPLES = 499


def breakpoint_test(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    dose: npt.ArrayLike,
    *,
    flips: int = 1999,
    seed: int = 0,
    level: float = 0.95,
    name_dose: NameDose = plain_dose,
) -> Result:
    """Test logit p = a + b x against logit p = a + b x + c max(x - k, 0), k one of the doses but first and last.

    For each k the score of c at the straight line, made orthogonal to a and b, is summed per cluster, and
    T_k = (sum s)^2 / sum s^2. The statistic is the largest T_k, and the sign flips of the clusters, the same for
    all k, give its distribution, so that the search over k is paid for (`trend.flipped_p`).

    The verdict is
        "threshold at X": the line bends (p < 1 - level), has a slope after X, and is steeper there than before;
        "flattens at X": it bends, has a slope before X, and is less steep after it, or not shown to have a slope there;
        "turns at X": it bends, and rises on one side and falls on the other;
        "bends at X": it bends, and neither side is shown to have a slope;
        "gradual": no bend is shown, and the slope before the best breakpoint already differs from 0;
        "undecided": neither is shown.
    A bend that is not shown is not a line that is shown, hence the second condition of "gradual".

    Share of bends found at 0.05 in 300 simulated straight lines each: 0.053 and 0.043 (no trend, 60 and 20 clusters),
    0.063 and 0.033 (a trend, 60 clusters). Without any trend the verdict was "gradual" in 0.06.

    Args:
        events: [clusters, levels] records with the event.
        n: [clusters, levels] records; 0 where a cluster lacks the level.
        dose: [levels]
        flips: Random sign flips.
        seed: Seed of the flips and of the resamples.
        level: Confidence level; 1 - level is the level of the test.
        name_dose: How the verdict names a dose.

    Returns:
        Terms "bend" (statistic and p-value); "breakpoint", the k of the highest likelihood, where the line bends with
        the percentiles of 499 cluster resamples as its interval (values are doses that were tried); and from a GEE with
        independent working correlation and that k, taken as known, "slope_before", "slope_after" and "slope_change",
        per unit of dose. Facts: verdict, n_doses, candidates. No estimates, the verdict "undecided" and the reason as
        `status` for fewer than 4 doses, fewer than 2 clusters, and where the straight line has no maximum likelihood
        estimate.

    Raises:
        ValueError: If shapes differ, values are not finite, or events exceed n.
    """
    y, m, x = dose_counts(events, n, dose)
    there = m.sum(axis=0) > 0
    # At least one dose is kept, so that "no record" has a shape.
    there[0] |= not there.any()
    y, m, x = y[:, there], m[:, there], x[there]
    kept = m.sum(axis=1) > 0
    # Sorted, so that the flips do not depend on the order in which clusters are given.
    order = np.lexsort(np.hstack([y[kept], m[kept]]).T)
    y, m = y[kept][order], m[kept][order]
    facts: dict[str, object] = {"verdict": "undecided", "n_doses": len(x), "flips": flips, "seed": seed}
    out = Result(
        method="one breakpoint against a straight line, sign flips of clusters",
        n=int(m.sum()),
        n_clusters=len(y),
        n_events=int(y.sum()),
        level=level,
        facts=facts,
    )
    reason = _refusal(y, m, x)
    if reason:
        return replace(out, status=reason)
    candidates = x[1:-1]
    bend, drawn = _bend(y, m, x, flips, seed)
    best = float(_likeliest(_profile(y.sum(axis=0)[None], m.sum(axis=0)[None], x), candidates)[0])
    bent = bend.p_value is not None and bend.p_value < 1 - level
    ends = _resampled(y, m, x, seed, level) if bent else (None, None)
    point = Estimate(term="breakpoint", estimate=best, conf_low=ends[0], conf_high=ends[1])
    slopes, status = _slopes(y, m, x, best, level)
    facts["flips"] = drawn
    facts |= {"verdict": _verdict(bent, name_dose(best), slopes), "candidates": ", ".join(map(name_dose, candidates))}
    return replace(out, estimates=(bend, point, *slopes), status=status, facts=facts)


def _refusal(y: Floats, m: Floats, x: Floats) -> str | None:
    if m.sum() == 0:
        return "no record"
    if len(x) < MIN_DOSES:
        return f"{len(x)} dose{'s' * (len(x) != 1)}: a breakpoint needs at least {MIN_DOSES}"
    if len(y) < 2:
        return "1 cluster: nothing to tell chance from a bend by"
    return no_estimate(_by_dose(y, m, x), ("intercept", "dose"))


def _by_dose(y: Floats, m: Floats, x: Floats) -> Records:
    return Records.of(y.sum(axis=0), m.sum(axis=0), np.column_stack([np.ones(len(x)), x]))


def _bend(y: Floats, m: Floats, x: Floats, flips: int, seed: int) -> tuple[Estimate, int]:
    """The largest score statistic over the candidates with its sign-flip p-value, and the flips drawn."""
    line = _by_dose(y, m, x)
    mean = expit(line.design @ fit_logit(line)[0])
    hinges = np.maximum(x[:, None] - x[1:-1], 0)
    weighted = line.design * (line.n * mean * (1 - mean))[:, None]
    projection = np.linalg.solve(weighted.T @ line.design, weighted.T @ hinges)
    bends = hinges - line.design @ projection
    # Clusters that all lie on the line are off it by rounding alone.
    score = settled((y - m * mean) @ bends, (y * (1 - mean) + (m - y) * mean) @ np.abs(bends))
    spread = np.sum(score**2, axis=0)
    spread = np.where(spread > 0, spread, np.inf)
    statistic = float(np.max(score.sum(axis=0) ** 2 / spread))
    least = statistic - RELATIVE * max(statistic, 1)
    p_value, flips = flipped_p(
        lambda sign: np.max((sign @ score) ** 2 / spread, axis=1) >= least, len(score), flips, seed
    )
    return Estimate(term="bend", statistic=statistic, p_value=p_value), flips


def _profile(y: Floats, m: Floats, x: Floats) -> Floats:
    """Log-likelihood of the bent line at each candidate, for several data sets: [sets, doses] to [sets, candidates].

    Newton's method for all at once. A part without events drives its slope outwards, where the likelihood settles.
    """
    out = []
    for k in x[1:-1]:
        design = np.column_stack([np.ones(len(x)), x - k, np.maximum(x - k, 0)])
        beta = np.zeros((len(y), 3))
        beta[:, 0] = np.log((y.sum(axis=1) + 0.5) / (m.sum(axis=1) - y.sum(axis=1) + 0.5))
        for _ in range(25):
            mean = expit(beta @ design.T)
            information = np.einsum("bl,li,lj->bij", m * mean * (1 - mean), design, design) + 1e-9 * np.eye(3)
            step = np.linalg.solve(information, ((y - m * mean) @ design)[:, :, None])[:, :, 0]
            reach = np.abs(step @ design.T).max(axis=1, keepdims=True)
            beta = beta + step * np.minimum(1, 2 / np.maximum(reach, 1e-12))
            if reach.max() < 1e-8:
                break
        eta = beta @ design.T
        out.append(np.sum(y * eta - m * np.logaddexp(0, eta), axis=1))
    return np.stack(out, axis=1)


def _likeliest(profile: Floats, candidates: Floats) -> Floats:
    """Candidate of the highest likelihood in each data set; of those that differ by rounding alone, the first."""
    top = profile.max(axis=1, keepdims=True)
    return np.asarray(candidates[(profile >= top - RELATIVE * np.abs(top)).argmax(axis=1)])


def _resampled(y: Floats, m: Floats, x: Floats, seed: int, level: float) -> tuple[float, float]:
    """Percentiles of the best breakpoint over resamples of the clusters; inverted_cdf keeps to doses tried."""
    weights = np.random.default_rng(seed).multinomial(len(y), np.full(len(y), 1 / len(y)), size=_RESAMPLES)
    best = _likeliest(_profile(weights @ y, weights @ m, x), x[1:-1])
    low, high = np.quantile(best, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _slopes(y: Floats, m: Floats, x: Floats, k: float, level: float) -> tuple[tuple[Estimate, ...], str]:
    """Slopes before and after k and their difference, and the status of the fits."""
    cluster = np.repeat(np.arange(len(y)), len(x))
    below, above = (np.tile(part, len(y)) for part in (np.minimum(x, k), np.maximum(x - k, 0)))
    constant = np.ones(len(cluster))
    sides = gee(
        y.ravel(),
        m.ravel(),
        np.column_stack([constant, below, above]),
        cluster,
        terms=("intercept", "slope_before", "slope_after"),
        working="independence",
        level=level,
    )
    if not sides.estimates:
        return (), f"slopes {sides.status}"
    hinge = np.column_stack([constant, below + above, above])
    terms = ("intercept", "dose", "slope_change")
    change = gee(y.ravel(), m.ravel(), hinge, cluster, terms=terms, working="independence", level=level)
    found = (sides["slope_before"], sides["slope_after"])
    return (*found, change["slope_change"]) if change.estimates else found, sides.status


def _verdict(bent: bool, k: str, slopes: tuple[Estimate, ...]) -> str:
    by_term = {entry.term: entry for entry in slopes}
    before, after = by_term.get("slope_before"), by_term.get("slope_after")
    if before is None or after is None or before.estimate is None or after.estimate is None:
        return "undecided"
    if not bent:
        return "gradual" if _differs(before) else "undecided"
    if _differs(before) and _differs(after) and before.estimate * after.estimate < 0:
        return f"turns at {k}"
    if _differs(after) and (abs(after.estimate) > abs(before.estimate) or not _differs(before)):
        return f"threshold at {k}"
    return f"{'flattens' if _differs(before) else 'bends'} at {k}"


def _differs(slope: Estimate) -> bool:
    """Whether a slope's interval leaves out 0."""
    low, high = slope.conf_low, slope.conf_high
    return low is not None and high is not None and (low > 0 or high < 0)

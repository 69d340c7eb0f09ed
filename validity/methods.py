"""What is measured: each procedure of the analysis, and the sources' own, as checks that hit or miss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from analysis._shrink import shrink
from analysis._simultaneous import ratios, simultaneous_quantiles
from analysis.inference.gee import gee
from validity.reference import benchmark_permutation, pooled_chi2
from validity.simulate import STEREOTYPE, Data

__all__ = ["ALPHA", "CHECKS", "NOT_ASKED", "PROCEDURES", "Check", "Procedure"]

ALPHA = 0.05
NOT_ASKED = -1.0
"""Score of a check that a cell does not ask; 1 is a hit (rejected, covered), 0 none, NaN no result."""

Scores = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that can hit or miss."""

    name: str
    kind: str
    """test (hit: p at most ALPHA), interval (hit: the true value is inside)."""
    default: bool = True
    """Whether the analysis offers it as valid for its data; the others are there to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """Checks that one computation answers."""

    checks: tuple[Check, ...]
    run: Callable[[Data, np.random.Generator], Scores]
    """Scores in the order of `checks`."""


def rejects(p_value: float | None) -> float:
    """1 if significant, 0 if not, NaN without a p-value."""
    if p_value is None or np.isnan(p_value):
        return float("nan")
    return float(p_value <= ALPHA)


def covers(low: float | None, high: float | None, truth: float) -> float:
    """1 if the truth lies in the interval, 0 if not, NaN without an interval."""
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return float("nan")
    return float(low <= truth <= high)


def _studies(data: Data, _: np.random.Generator) -> Scores:
    old, new = data.by_item(STEREOTYPE)
    return (rejects(pooled_chi2(old.sum(), new.sum(), data.before.size)),)


def _benchmark(data: Data, rng: np.random.Generator) -> Scores:
    old, new = data.by_item(STEREOTYPE)
    return tuple(rejects(benchmark_permutation(new - old, rng, resample=resample)) for resample in (True, False))


_GROUPS = 12


def _groups(data: Data, rng: np.random.Generator) -> Scores:
    """Twelve groups, each template in two of them: does a group's interval hold, its shrunken one, do all at once?"""
    templates = data.design.templates
    number = np.arange(templates)
    member = np.zeros((templates, _GROUPS))
    member[number, number % _GROUPS] = 1
    member[number, (number // _GROUPS + 5 * number) % _GROUPS] = 1
    (old, new), (total, _) = data.by_cluster(STEREOTYPE), data.by_cluster()
    net, n = (new - old)[:, None] * member, total[:, None] * member
    known = ratios(net, n)
    # As in group_changes: a group in which nothing changed has no interval and is not in the family.
    family = np.flatnonzero(known.std_error > 0)
    if 0 not in family:
        return (np.nan,) * 3
    shift, error, effective = known.ratio[family], known.std_error[family], known.effective[family]
    truth, level = data.design.shift, 1 - ALPHA
    block, seed = np.zeros(templates, dtype=np.int64), int(rng.integers(2**32))
    multiplier = simultaneous_quantiles(net[:, family], n[:, family], block, level=level, draws=400, seed=seed)
    half = t.isf(ALPHA / 2, effective[0] - 1) * error[0]
    posterior = shrink(shift, known.covariance[np.ix_(family, family)], effective, templates - 1, level)
    return (
        covers(shift[0] - half, shift[0] + half, truth),
        np.nan if posterior is None else covers(posterior.low[0], posterior.high[0], truth),
        float(np.all(np.abs(shift - truth) <= multiplier * error)),
    )


def _ratio(data: Data, _: np.random.Generator) -> Scores:
    (old, new), (total, _n) = data.by_cluster(STEREOTYPE), data.by_cluster()
    known = ratios((new - old)[:, None], total[:, None])
    change, error, clusters = known.ratio, known.std_error, known.clusters
    if not error[0] > 0:
        return (float("nan"), float("nan"))
    half = t.isf(ALPHA / 2, clusters[0] - 1) * error[0]
    return (
        rejects(float(2 * t.sf(abs(change[0] / error[0]), clusters[0] - 1))),
        covers(change[0] - half, change[0] + half, data.design.shift),
    )


def _gee(data: Data, _: np.random.Generator) -> Scores:
    events, n = data.by_level()
    clusters, levels = events.shape
    design = np.stack([np.ones(events.size), np.tile(np.arange(levels), clusters)], axis=1)
    template = np.repeat(np.arange(clusters), levels)
    result = gee(events.ravel(), n.ravel(), design, template, terms=["intercept", "dose"])
    return (rejects(result["dose"].p_value if result.estimates else None),)


PROCEDURES: tuple[Procedure, ...] = (
    Procedure(
        checks=(Check(name="studies' pooled chi-squared", kind="test", default=False),),
        run=_studies,
    ),
    Procedure(
        checks=(
            Check(name="benchmark's permutation", kind="test", default=False),
            Check(name="the same without resampling", kind="test", default=False),
        ),
        run=_benchmark,
    ),
    Procedure(
        checks=(
            Check(name="SRS change by template, t", kind="test"),
            Check(name="SRS change by template, t", kind="interval"),
        ),
        run=_ratio,
    ),
    Procedure(
        checks=(
            Check(name="group of a sixth of the templates, single", kind="interval"),
            Check(name="the same, shrunken", kind="interval"),
            Check(name="twelve such groups, all at once", kind="interval"),
        ),
        run=_groups,
    ),
    Procedure(checks=(Check(name="GEE slope over four doses, t", kind="test"),), run=_gee),
)

CHECKS: tuple[Check, ...] = tuple(check for procedure in PROCEDURES for check in procedure.checks)

"""What is measured: each procedure of the analysis, and the sources' own, as checks that hit or miss."""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from analysis.answers.measures import Measure, cohens_h, measures_of
from analysis.answers.moves import moved
from analysis.answers.strata import COUNT_NAMES
from analysis.inference.bounded import interval, no_change, within
from analysis.inference.clusters import Statistic, cluster_bootstrap, jackknife_change, sign_flip
from analysis.inference.equivalence import tost
from analysis.inference.paired import mcnemar
from analysis.inference.result import Result
from analysis.inference.shrinkage import shrink
from analysis.inference.simultaneous import ratios, simultaneous_quantiles
from analysis.inference.square import bowker, stuart_maxwell
from analysis.settings import Settings
from validity.checks import ALPHA, Check, Procedure, Scores, covers, rejects
from validity.doses import DOSES
from validity.doubt import DOUBT
from validity.floors import FLOORS
from validity.reference import benchmark_permutation, pooled_chi2
from validity.simulate import ANTI_LOGIT, STEREOTYPE, Data, Floats, marginal

__all__ = ["CHECKS", "PROCEDURES"]


def _studies(data: Data, _: np.random.Generator) -> Scores:
    old, new = data.by_item(STEREOTYPE)
    return (rejects(pooled_chi2(old.sum(), new.sum(), data.before.size)),)


def _benchmark(data: Data, rng: np.random.Generator) -> Scores:
    old, new = data.by_item(STEREOTYPE)
    return tuple(rejects(benchmark_permutation(new - old, rng, resample=resample)) for resample in (True, False))


_GROUPS = 12


def _groups(data: Data, _: np.random.Generator) -> Scores:
    """Twelve groups, each template in two of them: does a group's interval hold, its shrunken one, do all at once?"""
    templates = data.design.templates
    number = np.arange(templates)
    member = np.zeros((templates, _GROUPS))
    member[number, number % _GROUPS] = 1
    member[number, (number // _GROUPS + 5 * number) % _GROUPS] = 1
    (old, new), (total, _after) = data.by_cluster(STEREOTYPE), data.by_cluster()
    net, n = (new - old)[:, None] * member, total[:, None] * member
    known = ratios(net, n)
    # As in group_changes: a group in which nothing changed has no interval and is not in the family.
    family = np.flatnonzero(known.std_error > 0)
    if 0 not in family:
        return (np.nan,) * 3
    shift, error, effective = known.ratio[family], known.std_error[family], known.effective[family]
    truth, level = data.design.shift, 1 - ALPHA
    block = np.zeros(templates, dtype=np.int64)
    multiplier = simultaneous_quantiles(net[:, family], n[:, family], block, level=level, resamples=400, seed=0)
    half = t.isf(ALPHA / 2, effective[0] - 1) * error[0]
    posterior = shrink(shift, known.covariance[np.ix_(family, family)], effective, templates - 1, level)
    return (
        covers(shift[0] - half, shift[0] + half, truth),
        np.nan if posterior is None else covers(posterior.low[0], posterior.high[0], truth),
        float(np.all(np.abs(shift - truth) <= multiplier * error)),
    )


def _mcnemar(data: Data, _: np.random.Generator) -> Scores:
    old, new = (answers == STEREOTYPE for answers in (data.before, data.after))
    result = mcnemar(int((old & ~new).sum()), int((~old & new).sum()), old.size)
    difference = result["risk_difference"]
    return (
        rejects(difference.p_value),
        rejects(result["mid_p"].p_value),
        covers(difference.conf_low, difference.conf_high, data.design.shift),
    )


def _roles(data: Data, _: np.random.Generator) -> Scores:
    homogeneity, symmetry = stuart_maxwell(data.table), bowker(data.table)
    return (
        rejects(homogeneity["homogeneity"].p_value if homogeneity.estimates else None),
        rejects(symmetry["symmetry"].p_value if symmetry.estimates else None),
    )


_SRS = [COUNT_NAMES.index("toward"), COUNT_NAMES.index("answered")]
"""The SRS is a plain ratio of two of the counts: drawing on these alone is the same and faster."""


def _changes(data: Data, _: np.random.Generator) -> Scores:
    """The measures as paired_changes computes them: interval and t by jackknife, test by exchanging templates."""
    old, new = data.counts()
    shift, rate = data.design.shift, data.design.base_rate
    measures = measures_of("ambig")
    angle = 2 * (np.arcsin(np.sqrt(rate + shift)) - np.arcsin(np.sqrt(rate)))
    # Anti-stereotypical is a fixed share of what is not the stereotype, so the other measures follow from the SRS.
    anti = marginal(ANTI_LOGIT, data.design.spread)

    def change(name: str, statistic: Statistic | None = None) -> Result:
        measure = measures[name]
        return jackknife_change(old, new, statistic or measure.value, size=measure.size(old, new))

    srs = change("srs")
    others = (
        (change("usr"), -shift * (1 - anti)),
        (change("srs", cohens_h(measures["srs"])), angle),
        (change("bias_score"), shift * (1 + anti)),
        (cluster_bootstrap(old[:, _SRS], new[:, _SRS]), shift),
    )
    exchange = sign_flip(old[:, _SRS], new[:, _SRS])["difference"].p_value
    return (
        rejects(exchange),
        rejects(_of(srs, "p_value")),
        *(
            covers(_of(result, "conf_low"), _of(result, "conf_high"), truth)
            for result, truth in ((srs, shift), *others)
        ),
        _equivalent(srs),
        *_bounded(old, new, measures["srs"], shift),
    )


def _bounded(old: Floats, new: Floats, measure: Measure, shift: float) -> Scores:
    """The bound that verdicts rest on: its test of no change, its 95 % interval, and equivalence."""
    made = moved(old, new, measure)
    assert made is not None
    low, high = interval(made.low, made.high, 1 - ALPHA)
    return (
        rejects(no_change(made.low, made.high)),
        covers(low, high, shift),
        rejects(within(made.low, made.high, Settings().margin)),
    )


def _of(result: Result, name: str) -> float | None:
    value: float | None = getattr(result["difference"], name) if result.estimates else None
    return value


def _equivalent(result: Result) -> float:
    """1 if the change is called smaller than the margin, 0 if not, NaN without a standard error."""
    estimate = result["difference"]
    if estimate.std_error is None or estimate.estimate is None or estimate.df is None:
        return float("nan")
    return rejects(tost(estimate.estimate, estimate.std_error, estimate.df, Settings().margin)["difference"].p_value)


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
            Check(name="McNemar exact, answers independent", kind="test", default=False),
            Check(name="McNemar mid-p, answers independent", kind="test", default=False),
            Check(name="Tango's interval, answers independent", kind="interval", default=False),
        ),
        run=_mcnemar,
    ),
    Procedure(
        checks=(
            Check(name="Stuart-Maxwell, answers independent", kind="test", default=False),
            Check(name="Bowker, answers independent", kind="test", default=False),
        ),
        run=_roles,
    ),
    Procedure(
        checks=(
            Check(name="SRS change, runs exchanged by template", kind="test"),
            Check(name="SRS change, jackknife t", kind="test"),
            Check(name="SRS change, jackknife t", kind="interval"),
            Check(name="USR change, jackknife t", kind="interval"),
            Check(name="Cohen's h, jackknife t", kind="interval"),
            Check(name="bias score change, jackknife t", kind="interval"),
            Check(name="SRS change, cluster bootstrap", kind="interval", default=False),
            Check(name="SRS change, two one-sided t-tests", kind="equivalence", default=False),
            Check(name="SRS change, the bound", kind="test"),
            Check(name="SRS change, the bound", kind="interval"),
            Check(name="SRS change, the bound", kind="equivalence"),
        ),
        run=_changes,
    ),
    Procedure(
        checks=(
            Check(name="group of a sixth of the templates, single", kind="interval"),
            Check(name="the same, shrunken", kind="interval"),
            Check(name="twelve such groups, all at once", kind="interval"),
        ),
        run=_groups,
    ),
    *DOSES,
    FLOORS,
    DOUBT,
)

CHECKS: tuple[Check, ...] = tuple(check for procedure in PROCEDURES for check in procedure.checks)

"""The rows of dose_tests: does an outcome move with the dose, by how much, and where does it bend?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...inference._logit import Floats, by_code
from ...inference.bounded import Moves, interval
from ...inference.breakpoint import breakpoint_test
from ...inference.multiplicity import benjamini_hochberg, holm
from ...inference.result import Result
from ...inference.trend import clustered_trend, cochran_armitage
from ...settings import Settings
from .records import PRIMARY, Question

__all__ = ["FAMILY", "SPREAD", "WITHHELD", "corrected", "step_change", "test_rows"]

Row = dict[str, object]
WITHHELD = "withheld"
SPREAD = "spread"
"""Verdict on a net that moves where the stereotypical choice is not shown to move with it."""
FAMILY = "trends and bends of net_bias and stereotype, {which}: this baseline, method, dose, task and filter"
_FAMILY_KEYS = ["baseline", "method", "dose", "task", "filter"]
_OUTCOME_KEYS = ["baseline", "method", "dose", "task", "filter", "condition", "category"]


def test_rows(question: Question, given: Settings, flips: int) -> list[Row]:
    """Trend within templates, Cochran-Armitage and breakpoint of one question, not yet corrected."""
    events, n = question.clustered() if len(question.n) else (question.events, question.n)
    steps = question.steps
    withheld = question.withheld(given.margin)
    trend = clustered_trend(events, n, steps, flips=flips, seed=given.seed, name_dose=question.named)
    found = {"trend": _trend_row(trend, withheld)}
    change = step_change(question, given.level, given.reach)
    if change is not None:
        found["trend"] |= dict(zip(("step_change", "step_change_low", "step_change_high"), change, strict=True))
    iid = cochran_armitage(events.sum(axis=0), n.sum(axis=0), steps, name_dose=question.named)
    found["trend_iid"] = _trend_row(iid, withheld)
    if withheld:
        found["breakpoint"] = {"verdict": WITHHELD, "status": f"not tested: {withheld}"}
    else:
        bend = breakpoint_test(
            events, n, steps, flips=flips, seed=given.seed, level=given.level, name_dose=question.named
        )
        found["breakpoint"] = _bend_row(question, bend)
    shared: Row = {
        "primary": question.keys["outcome"] in PRIMARY,
        "n": trend.n,
        "n_events": trend.n_events,
        "n_clusters": question.n_clusters,
        "n_doses": len(np.unique(steps[n.sum(axis=0) > 0])),
        "level": given.level,
    }
    for name, row in found.items():
        if name != "trend_iid":
            row |= {"flips": row.get("flips", flips), "seed": given.seed}
    return [{**question.keys, **shared, "test": name, **row} for name, row in found.items()]


def _trend_row(result: Result, withheld: str | None) -> Row:
    if withheld:
        return {"verdict": WITHHELD, "status": f"not tested: {withheld}"}
    if not result.estimates:
        return {"status": f"not tested: {result.status}"}
    trend = result["trend"]
    row: Row = {"statistic": trend.statistic, "p_value": trend.p_value, "status": result.status}
    return row | {name: count for name, count in result.facts.items() if name == "flips"}


def _bend_row(question: Question, result: Result) -> Row:
    """The breakpoint in bits or percent of sparsity, and the verdict in these words."""
    shape = str(result.facts["verdict"])
    if not result.estimates:
        return {"verdict": shape, "status": f"not tested: {result.status}"}
    point = result["breakpoint"]
    ends = sorted(question.value(end) for end in (point.conf_low, point.conf_high) if end is not None)
    at = None if point.estimate is None else question.value(point.estimate)
    row: Row = {
        "statistic": result["bend"].statistic,
        "p_value": result["bend"].p_value,
        "verdict": shape,
        "breakpoint": at,
        "breakpoint_low": ends[0] if ends else None,
        "breakpoint_high": ends[-1] if ends else None,
        "status": result.status,
        "flips": result.facts["flips"],
    }
    for slope in (entry for entry in result.estimates if entry.term in ("slope_before", "slope_after")):
        row |= {
            slope.term: slope.estimate,
            f"{slope.term}_low": slope.conf_low,
            f"{slope.term}_high": slope.conf_high,
        }
    return row


def step_change(question: Question, level: float, reach: float) -> tuple[float, float, float] | None:
    """Linear change of the share per step in percentage points, with its interval over templates.

    Of each item the least-squares slope of its share on the dose, sum (x - mean x) y / sum (x - mean x)^2 over the
    runs; of all items their mean. At the ends every missing answer beyond the mean dose is an event and none before it,
    or the reverse, which is the largest slope that missing answers allow. Templates' moves are bounded as everywhere
    (`bounded.Moves`), by `reach` of the largest slope there is: that of a share which jumps from 0 to 1.

    Returns:
        Estimate (of the records that were answered), low, high; None for one dose or without an answer.
    """
    x, filled = question.steps, question.filled
    apart = x - x.mean()
    scale = float(np.square(apart).sum())
    if not len(question.n) or len(np.unique(x[question.n.sum(axis=0) > 0])) < 2:
        return None
    own, m = question.clustered()
    centred = x - (m @ x / np.maximum(m.sum(axis=1), 1))[:, None]
    estimate = float((centred * own).sum() / (centred**2 * m).sum())
    weight = filled.n.mean(axis=1)
    span = float(apart[apart > 0].sum() / scale)
    size = int(filled.cluster.max()) + 1

    def moves(first: Floats, last: Floats) -> Moves:
        share = np.where(apart > 0, last, first) / np.maximum(filled.n, 1)
        net = by_code(weight * (share @ apart) / scale, filled.cluster, size)
        total = by_code(weight, filled.cluster, size)
        return Moves(net=net, n=total, unit=float(weight.mean()), span=span, reach=reach)

    low, high = interval(moves(filled.high, filled.low), moves(filled.low, filled.high), level)
    return 100 * estimate, 100 * min(low, estimate), 100 * max(high, estimate)


def corrected(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """p-values of the outcomes with a direction corrected over their family, and verdicts from these.

    Trends and bends of both conditions are one family, so that of a method without any trend some verdict is wrong in
    1 - level of cases at most; single categories are a family behind that of their pool, of the same answers.

    Args:
        table: Rows of `test_rows`, with all columns of DOSE_TESTS.
        level: 1 - level is the level of a verdict.
    """
    out = table.astype({"family": object, "verdict": object})
    tested = out["primary"].astype(bool) & out["p_value"].notna() & out["test"].isin(["trend", "breakpoint"])
    # A task of one category has no pool beside it.
    several = out.groupby(_FAMILY_KEYS)["category"].transform("nunique") > 1
    single = np.where(several & (out["category"] != "all"), "single categories", "categories pooled")
    for keys, rows in out[tested].groupby([*_FAMILY_KEYS, pd.Series(single, index=out.index)], sort=False):
        p = rows["p_value"].astype(float)
        out.loc[rows.index, "p_value_holm"] = holm(p)
        out.loc[rows.index, "p_value_bh"] = benjamini_hochberg(p)
        out.loc[rows.index, "family"] = FAMILY.format(which=keys[-1])
        out.loc[rows.index, "family_size"] = len(rows)
    shown = out["p_value_holm"].astype(float) <= 1 - level
    trend = out["test"] == "trend"
    withheld = out["verdict"] == WITHHELD
    up = out["statistic"].astype(float) > 0
    out.loc[trend, "verdict"] = np.select(
        [withheld[trend], (shown & up)[trend], shown[trend]], [WITHHELD, "rises", "falls"], "undecided"
    )
    # A bend that does not hold in its family is none.
    bends = (out["test"] == "breakpoint") & tested & ~shown & out["verdict"].str.contains(" at ", na=False)
    out.loc[bends, "verdict"] = "undecided"
    said = out[trend].set_index([*_OUTCOME_KEYS, "outcome"])["verdict"].to_dict()
    places = [tuple(row) for row in out[_OUTCOME_KEYS].to_numpy()]
    for index, place, outcome, test in zip(out.index, places, out["outcome"], out["test"], strict=True):
        if test == "trend_iid":
            out.loc[index, "verdict"] = None
            continue
        net, choice = said.get((*place, "net_bias"), "undecided"), said.get((*place, "stereotype"), "undecided")
        if net in ("rises", "falls") and choice != net:
            net = SPREAD
        if outcome not in PRIMARY:
            out.loc[index, "verdict"] = f"net {net}"
        elif outcome == "net_bias" and (
            test == "trend" or (net == SPREAD and out.loc[index, "verdict"] != "undecided")
        ):
            out.loc[index, "verdict"] = net
    return out

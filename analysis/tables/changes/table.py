"""What compression changed against the baseline, item by item, with tests that respect pairs and templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import AXES, Answers
from ...answers.measures import ACC, SRS, USR, Measure, cohens_h, measures_of
from ...answers.strata import COUNT_NAMES, Stratum, strata
from ...inference.clusters import NO_CHANGE, jackknife_change, sign_flips
from ...inference.equivalence import smallest_detectable, tost, unchanged, verdict
from ...inference.multiplicity import benjamini_hochberg, holm
from ...inference.paired import mcnemar
from ...inference.result import Result
from ...inference.square import bowker, stuart_maxwell
from ...schema.columns import Table
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import MCNEMAR_TESTS, PAIRED_CHANGES, ROLE_TESTS
from .one_each import correctness, plurality

__all__ = [
    "MCNEMAR_TESTS",
    "MCNEMAR_TESTS_TABLE",
    "PAIRED_CHANGES",
    "PAIRED_CHANGES_TABLE",
    "ROLE_TESTS",
    "ROLE_TESTS_TABLE",
    "mcnemar_tests",
    "paired_changes",
    "role_tests",
]

Floats = npt.NDArray[np.float64]
_OUTCOMES = {"stereotype": SRS, "unknown": USR, "correct": ACC}
"""What McNemar's test is made of: the events of these measures."""
_ENDS = {"estimate": "", "conf_low": "_low", "conf_high": "_high"}


def paired_changes(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Compare every measure of every run with its baseline, templates as the unit of independence.

    A row takes the templates as independent of each other and nothing else: items of a template and seeds of an item
    may move together, and both runs answer the same items. Difference and Cohen's h have the jackknife's interval, the
    test of no change exchanges the runs template by template (`analysis.inference.clusters`), and the equivalence test
    uses the jackknife's error. Where no template changed there is no such error: interval and equivalence then say
    what so many unchanged templates allow (`analysis.inference.equivalence.unchanged`).

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Of intervals, tests and verdicts. The margin is a choice that the reader has to make; nothing in the
            data says what matters.

    Returns:
        Table PAIRED_CHANGES. Where a measure is undefined (no item offers an option on its axis, nothing was
        answered) or hangs on one template the row says so in `status`.
        p-values are corrected over all runs and categories of one task, filter, condition and measure; rows of pooled
        categories ("all") are a family of their own, since they are the same answers once more.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    rows = []
    for stratum in strata(items, runs):
        before, after = stratum.clustered()
        measures = measures_of(stratum.condition)
        undefined = {name: measure.undefined(stratum.offered) for name, measure in measures.items()}
        defined = {name: measure.value for name, measure in measures.items() if undefined[name] is None}
        tests = sign_flips(before, after, defined, exchanges=given.exchanges, seed=given.seed)
        for name, measure in measures.items():
            row: dict[str, object] = {"status": undefined[name], "margin": given.margin}
            if name in defined:
                found = jackknife_change(before, after, measure.value, level=given.level)
                row = _change(found, given.margin, measure.span)
                row |= _numbers(tests[name].estimates, {"p_value": "p_value"})
                row |= _angle(before, after, measure, given.level)
            rows.append({**_keys(stratum), "measure": name, **row})
    frame = _corrected(rows, PAIRED_CHANGES, "measure")
    if frame.empty:
        return PAIRED_CHANGES.empty()
    # A missing p-value is NaN here, and below nothing.
    both = frame[["p_value_holm", "p_equivalence"]].astype(float).itertuples(index=False)
    frame["verdict"] = [verdict(p, q, alpha=given.alpha) for p, q in both]
    return PAIRED_CHANGES.conform(frame)


def mcnemar_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """McNemar's test per run, category and outcome: the textbook's test, with one answer an item.

    A row takes the items as independent of each other, which those of one template are not: where templates move
    together its p-values are too small and its intervals too short; `paired_changes` is right there. Seeds are not
    counted as further items: an item of several seeds has the role that most of its seeds that answered in both runs
    chose, and is correct if more than half of its answers in a run are (unanswered ones are wrong). Ties are left out.

    Args:
        items: As for `paired_changes`.
        runs: As for `paired_changes`.
        settings: The level is that of the intervals.

    Returns:
        Table MCNEMAR_TESTS; p-values corrected over all runs and categories of a task, filter, condition and outcome.

    Raises:
        UserError: As `paired_changes`.
    """
    given = settings or Settings()
    rows = []
    for stratum in strata(items, runs):
        roles = plurality(stratum)
        for name, measure in _OUTCOMES.items():
            chosen = correctness(stratum) if measure is ACC else roles.chose(AXES.index(measure.events))
            reason = measure.undefined(stratum.offered)
            lost = int((chosen.old & ~chosen.new).sum())
            gained = int((~chosen.old & chosen.new).sum())
            row = _mcnemar_row(mcnemar(lost, gained, len(chosen.old), level=given.level))
            row = row if reason is None else {"status": reason}
            row |= {"n_items": len(chosen.old), "n_tied": chosen.tied, "n_lost": lost, "n_gained": gained}
            rows.append({**stratum.keys, "outcome": name, "unit": chosen.unit, **row})
    return _conformed(_corrected(rows, MCNEMAR_TESTS, "outcome"), MCNEMAR_TESTS)


def role_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Stuart-Maxwell's and Bowker's test of the square table of axes that the items offer, per run and category.

    A row takes the items as independent, and an item's role from its seeds, as `mcnemar_tests` does.

    Args:
        items: As for `paired_changes`.
        runs: As for `paired_changes`.

    Returns:
        Table ROLE_TESTS; p-values corrected over all runs and categories of a task, filter, condition and test.

    Raises:
        UserError: As `paired_changes`.
    """
    rows = []
    for stratum in strata(items, runs):
        roles = plurality(stratum)
        size, offered = len(AXES), [place for place, axis in enumerate(AXES) if axis in stratum.offered]
        cells = np.bincount(roles.old * size + roles.new, minlength=size * size).reshape(size, size)
        table = cells[np.ix_(offered, offered)]
        sums = (table + table.T)[np.triu_indices(len(offered), 1)]
        for name, test in (("stuart_maxwell", stuart_maxwell(table)), ("bowker", bowker(table))):
            row = _numbers(test.estimates, {"statistic": "statistic", "df": "df", "p_value": "p_value"})
            row |= {"n_items": len(roles.old), "n_tied": roles.tied, "unit": roles.unit, "status": test.status}
            row |= {"n_discordant": int(sums.sum()), "smallest_sum": int(sums.min())}
            rows.append({**stratum.keys, "test": name, **row})
    return _conformed(_corrected(rows, ROLE_TESTS, "test"), ROLE_TESTS)


def _change(change: Result, margin: float, span: float) -> dict[str, object]:
    """Effect, equivalence and smallest detectable change of one measure, whose range is `span` wide."""
    names = ("std_error", "df", "conf_low", "conf_high")
    row = _numbers(change.estimates, {"estimate": "difference", **{name: name for name in names}})
    row |= {"status": change.status, "margin": margin, **change.facts}
    alpha = 1 - change.level
    if change.status == NO_CHANGE:
        templates = change.n_clusters or 0
        bound = unchanged(templates, margin, span=span, alpha=alpha / 2)["difference"]
        row |= {"conf_low": bound.conf_low, "conf_high": bound.conf_high, "p_equivalence": bound.p_value}
    error, df = row["std_error"], row["df"]
    if isinstance(error, float) and isinstance(df, float):
        tested = tost(change["difference"].estimate or 0.0, error, df, margin, alpha=alpha)
        row["p_equivalence"] = tested["difference"].p_value
        row["smallest_detectable"] = smallest_detectable(error, df, alpha=alpha)
    return row


def _angle(before: Floats, after: Floats, measure: Measure, level: float) -> dict[str, object]:
    """Cohen's h of a share; empty for a bias score."""
    if measure.signed:
        return {}
    angle = jackknife_change(before, after, cohens_h(measure), level=level)
    return _numbers(angle.estimates, _ENDS, "cohens_h")


def _mcnemar_row(test: Result) -> dict[str, object]:
    names = {"estimate": "risk_difference", "conf_low": "conf_low", "conf_high": "conf_high", "p_value": "p_value"}
    odds = tuple(estimate for estimate in test.estimates if estimate.term == "odds_ratio")
    row = _numbers(test.estimates, names) | _numbers(odds, _ENDS, "odds_ratio")
    return row | {"p_value_mid": test["mid_p"].p_value if test.estimates else None, "status": test.status}


def _keys(stratum: Stratum) -> dict[str, object]:
    total = COUNT_NAMES.index("n")
    return {
        **stratum.keys,
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
        "n_baseline": int(stratum.before[:, total].sum()),
        "n": int(stratum.after[:, total].sum()),
    }


def _corrected(rows: list[dict[str, object]], table: Table, kind: str) -> pd.DataFrame:
    """Rows as a frame of the table's columns, p-values corrected per family."""
    frame = pd.DataFrame(rows, columns=table.names)
    raw = frame["p_value"].to_numpy(dtype=float)
    by_holm, by_bh, sizes = np.full(len(raw), np.nan), np.full(len(raw), np.nan), np.zeros(len(raw), dtype=int)
    names = np.full(len(raw), "", dtype=object)
    for place, family in _families(frame, kind):
        by_holm[place], by_bh[place] = holm(raw[place]), benjamini_hochberg(raw[place])
        names[place], sizes[place] = family, int((~np.isnan(raw[place])).sum())
    return frame.assign(p_value_holm=by_holm, p_value_bh=by_bh, family=names, family_size=sizes)


def _families(frame: pd.DataFrame, kind: str) -> Iterator[tuple[npt.NDArray[np.int64], str]]:
    """What is corrected together: all runs and categories of one task, filter, condition and measure, or all pools."""
    pooled = frame["category"] == "all"
    groups = frame.groupby(["task", "filter", "condition", kind, pooled], sort=False)
    for keys, place in groups.indices.items():
        task, name, condition, what, pool = cast("tuple[str, str, str, str, bool]", keys)
        several = "all runs, categories pooled" if pool else "all runs and categories"
        yield np.asarray(place), f"{what} of {task}, {name}, {condition}: {several}"


def _numbers(estimates: tuple[object, ...], names: dict[str, str], prefix: str = "") -> dict[str, object]:
    """Fields of the first estimate under their columns' names; missing without one."""
    first = estimates[0] if estimates else None
    return {prefix + column: getattr(first, field, None) for field, column in names.items()}


def _conformed(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    return table.empty() if frame.empty else table.conform(frame)


PAIRED_CHANGES_TABLE = ReportTable(
    PAIRED_CHANGES,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    paired_changes,
    reading=(
        "from {value_baseline:share} to {value:share}, {difference:points} ({conf_low:pts} to {conf_high:pts}), "
        "{verdict}",
        "from {value_baseline:share} to {value:share}, {difference:points}, {verdict}",
    ),
)
MCNEMAR_TESTS_TABLE = ReportTable(
    MCNEMAR_TESTS,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    mcnemar_tests,
    reading=("of {n_items} items {n_gained} gained it and {n_lost} lost it, {p_value:p}, items taken as independent",),
)
ROLE_TESTS_TABLE = ReportTable(
    ROLE_TESTS,
    (ANSWERS, ROLE_RUNS),
    role_tests,
    reading=("{n_discordant} of {n_items} items chose another axis, {p_value:p}, items taken as independent",),
)

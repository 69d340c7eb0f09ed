"""Dose-response: how new bias and the stereotypical choice depend on bits or sparsity, and where a threshold lies."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import pandas as pd

from ...answers.answers import Answers
from ...inference.breakpoint import breakpoint_test
from ...inference.result import Result
from ...inference.trend import clustered_trend, cochran_armitage
from ...schema.columns import Table
from ...schema.declare import ReportTable, Step
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import DOSE_CURVES, DOSE_RESPONSE, DOSE_TESTS
from .fits import DoseFit, Row, predicted, response_rows
from .records import Question, questions

__all__ = [
    "DOSE_CURVES",
    "DOSE_CURVES_TABLE",
    "DOSE_RESPONSE",
    "DOSE_RESPONSE_TABLE",
    "DOSE_TESTS",
    "DOSE_TESTS_TABLE",
    "dose_curves",
    "dose_response",
    "dose_tables",
    "dose_tests",
]

FLIPS = 1999
"""Random sign flips of the tests: a bend costs too much to take the exchanges of Settings."""


def dose_tables(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None, *, flips: int = FLIPS
) -> dict[str, pd.DataFrame]:
    """The three tables of dose-response, their models fitted once.

    One base model at a time: its runs that are quantized and not pruned, on bits (a step is one bit less; the baseline
    has 16), and those that are pruned and not quantized, on sparsity (a step is 10 points more; the baseline has 0).
    Each method by itself, and where several have the same kind of dose, all of them with the method's interaction. Only
    items with known roles that the baseline and all of these runs hold. Templates are the independent units.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run, baseline, base_model, method, sparsity in [0, 1) and bits.
        settings: Of intervals; 1 - level is the level at which a bend counts as shown, the seed is that of every test.
        flips: Random sign flips of the tests.

    Returns:
        dose_response, dose_curves and dose_tests; empty where no run is quantized or pruned. What cannot be fitted (one
        dose, no event, all unparsed, no more templates than terms) is a row whose status says why; where the outcomes
        separate or are fewer than 10 per slope the fit is Firth's, and the status says so.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    response: list[Row] = []
    curves: list[Row] = []
    tests: list[Row] = []
    for question in questions(items, runs):
        rows, fit = response_rows(question, given.level)
        response += rows
        if question.keys["method"] != "all":
            curves += _curve_rows(question, fit, given.level)
            tests += _test_rows(question, given, flips)
    return {
        table.name: _table(table, rows)
        for table, rows in ((DOSE_RESPONSE, response), (DOSE_CURVES, curves), (DOSE_TESTS, tests))
    }


def dose_response(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Logistic GEE of each outcome on the dose, with two other models as a check: table DOSE_RESPONSE.

    Arguments, errors and what cannot be fitted: see `dose_tables`.
    """
    given = settings or Settings()
    rows = [row for question in questions(items, runs) for row in response_rows(question, given.level)[0]]
    return _table(DOSE_RESPONSE, rows)


def dose_curves(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Observed share and predicted probability with its band at each dose: table DOSE_CURVES.

    Arguments, errors and what cannot be fitted: see `dose_tables`.
    """
    level = (settings or Settings()).level
    rows = [
        row
        for question in _by_method(items, runs)
        for row in _curve_rows(question, response_rows(question, level, checks=False)[1], level)
    ]
    return _table(DOSE_CURVES, rows)


def dose_tests(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None, *, flips: int = FLIPS
) -> pd.DataFrame:
    """Trend with and without clusters, and one breakpoint against a straight line: table DOSE_TESTS.

    Arguments, errors and what cannot be tested: see `dose_tables`.
    """
    given = settings or Settings()
    rows = [row for question in _by_method(items, runs) for row in _test_rows(question, given, flips)]
    return _table(DOSE_TESTS, rows)


def _by_method(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> Iterator[Question]:
    return (question for question in questions(items, runs) if question.keys["method"] != "all")


def _table(table: Table, rows: list[Row]) -> pd.DataFrame:
    if not rows:
        return table.empty()
    return table.conform(pd.DataFrame(rows).reindex(columns=table.names))


def _named(question: Question) -> Row:
    return {name: value for name, value in question.keys.items() if name != "step"}


def _curve_rows(question: Question, fit: DoseFit, level: float) -> list[Row]:
    """One row per dose."""
    steps = np.unique(question.steps)
    probability, low, high = predicted(fit, steps, level)
    rows: list[Row] = []
    for i, dose in enumerate(steps):
        here = question.steps == dose
        n, events = float(question.n[:, here].sum()), float(question.events[:, here].sum())
        rows.append(
            {
                **_named(question),
                "dose_value": question.value(float(dose)),
                "dose_steps": float(dose),
                "n_runs": int(here.sum()),
                "n": int(n),
                "n_events": int(events),
                "rate": events / n if n else None,
                "predicted": _number(probability[i]),
                "predicted_low": _number(low[i]),
                "predicted_high": _number(high[i]),
                "model": fit.model,
                "level": level,
                "status": fit.status,
            }
        )
    return rows


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _test_rows(question: Question, given: Settings, flips: int) -> list[Row]:
    """Trend within templates, Cochran-Armitage and breakpoint of one question."""
    events, n = question.clustered() if len(question.n) else (question.events, question.n)
    steps = question.steps
    trend = clustered_trend(events, n, steps, flips=flips, seed=given.seed, name_dose=question.named)
    iid = cochran_armitage(events.sum(axis=0), n.sum(axis=0), steps, name_dose=question.named)
    bend = breakpoint_test(events, n, steps, flips=flips, seed=given.seed, level=given.level, name_dose=question.named)
    n_doses = len(np.unique(steps[n.sum(axis=0) > 0]))
    found = {"trend": _trend_row(trend), "trend_iid": _trend_row(iid), "breakpoint": _bend_row(question, bend)}
    shared: Row = {
        "n": trend.n,
        "n_events": trend.n_events,
        "n_clusters": question.n_clusters,
        "n_doses": n_doses,
        "level": given.level,
    }
    drawn: Row = {"flips": flips, "seed": given.seed}
    return [
        {**question.keys, **shared, **({} if name == "trend_iid" else drawn), "test": name, **row}
        for name, row in found.items()
    ]


def _trend_row(result: Result) -> Row:
    if not result.estimates:
        return {"status": f"not tested: {result.status}"}
    trend = result["trend"]
    return {"statistic": trend.statistic, "p_value": trend.p_value, "status": result.status}


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
    }
    for slope in (entry for entry in result.estimates if entry.term in ("slope_before", "slope_after")):
        row |= {
            slope.term: slope.estimate,
            f"{slope.term}_low": slope.conf_low,
            f"{slope.term}_high": slope.conf_high,
        }
    return row


DOSE = Step("dose", (ANSWERS, ROLE_RUNS, SETTINGS), dose_tables)
DOSE_RESPONSE_TABLE = ReportTable(
    DOSE_RESPONSE,
    (DOSE,),
    itemgetter("dose_response"),
    reading=(
        "{step}, odds times {odds_ratio:g} ({odds_ratio_low:g} to {odds_ratio_high:g})",
        "{step}, odds times {odds_ratio:g}",
        "{p_value:p} if all methods had one slope",
    ),
)
DOSE_CURVES_TABLE = ReportTable(
    DOSE_CURVES,
    (DOSE,),
    itemgetter("dose_curves"),
    reading=(
        "{rate:%} of {n} at {dose} {dose_value:g}, by the model {predicted:%}",
        "{rate:%} of {n} at {dose} {dose_value:g}",
        "nothing counted at {dose} {dose_value:g}",
    ),
)
DOSE_TESTS_TABLE = ReportTable(
    DOSE_TESTS,
    (DOSE,),
    itemgetter("dose_tests"),
    reading=(
        "{verdict}, {p_value:p}",
        "{p_value:p} if the dose did not matter",
    ),
)

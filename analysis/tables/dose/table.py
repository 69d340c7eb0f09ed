"""Dose-response: how the net of new and resolved bias and the stereotypical choice depend on bits or sparsity."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import Answers
from ...schema.columns import Table
from ...schema.declare import ReportTable, Step
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import DOSE_CURVES, DOSE_RESPONSE, DOSE_TESTS
from .fits import DoseFit, Row, predicted, response_rows
from .records import PRIMARY, Question, questions
from .trends import corrected, test_rows

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

    Two outcomes have a direction: the stereotypical choice, and the net of new minus resolved bias. The net of two
    doses is the change of the share of items with a stereotypical answer, and an item's own state at baseline is the
    same at every dose. So the net's dose-response is that of this share, a logistic regression with the baseline a
    record; nothing signed is fitted, and no item is chosen by what it showed at baseline. New and resolved bias alone
    rise with every churn that grows with the dose; their verdict is the net's.

    Where missing answers differ between the doses by more than the margin nothing is fitted or tested, and the verdict
    is withheld. Only step_change is there, with the missing answers at their worst.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run, baseline, base_model, method, sparsity in [0, 1) and bits.
        settings: level of intervals; 1 - level is that at which a trend or bend counts as shown. seed of every test,
            margin and reach.
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
        rows, fit = response_rows(question, given.level, margin=given.margin)
        response += rows
        if question.keys["method"] != "all":
            curves += _curve_rows(question, fit, given.level)
            tests += test_rows(question, given, flips)
    return {
        DOSE_RESPONSE.name: _table(DOSE_RESPONSE, response),
        DOSE_CURVES.name: _table(DOSE_CURVES, curves),
        DOSE_TESTS.name: _tests(tests, given.level),
    }


def dose_response(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Logistic GEE of each outcome on the dose, with two other models as a check: table DOSE_RESPONSE.

    Arguments, errors and what cannot be fitted: see `dose_tables`.
    """
    given = settings or Settings()
    rows = [
        row
        for question in questions(items, runs)
        for row in response_rows(question, given.level, margin=given.margin)[0]
    ]
    return _table(DOSE_RESPONSE, rows)


def dose_curves(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Observed share and predicted probability with its band at each dose: table DOSE_CURVES.

    Arguments, errors and what cannot be fitted: see `dose_tables`.
    """
    given = settings or Settings()
    rows = [
        row
        for question in _by_method(items, runs)
        for row in _curve_rows(
            question, response_rows(question, given.level, checks=False, margin=given.margin)[1], given.level
        )
    ]
    return _table(DOSE_CURVES, rows)


def dose_tests(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None, *, flips: int = FLIPS
) -> pd.DataFrame:
    """Trend with and without clusters, and one breakpoint against a straight line: table DOSE_TESTS.

    Arguments, errors and what cannot be tested: see `dose_tables`.
    """
    given = settings or Settings()
    rows = [row for question in _by_method(items, runs) for row in test_rows(question, given, flips)]
    return _tests(rows, given.level)


def _by_method(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> Iterator[Question]:
    return (question for question in questions(items, runs) if question.keys["method"] != "all")


def _table(table: Table, rows: list[Row]) -> pd.DataFrame:
    if not rows:
        return table.empty()
    return table.conform(pd.DataFrame(rows).reindex(columns=table.names))


def _tests(rows: list[Row], level: float) -> pd.DataFrame:
    if not rows:
        return DOSE_TESTS.empty()
    return DOSE_TESTS.conform(corrected(pd.DataFrame(rows).reindex(columns=DOSE_TESTS.names), level))


def _named(question: Question) -> Row:
    return {name: value for name, value in question.keys.items() if name != "step"}


def _curve_rows(question: Question, fit: DoseFit, level: float) -> list[Row]:
    """One row per dose."""
    steps = np.unique(question.steps)
    probability, low, high = predicted(fit, steps, level)
    first = float(question.steps.min()) if question.keys["outcome"] in PRIMARY and (question.steps == 0).any() else None
    start = None if first is None else _share(question, question.steps == first)
    rows: list[Row] = []
    for i, dose in enumerate(steps):
        here = question.steps == dose
        n, events = float(question.n[:, here].sum()), float(question.events[:, here].sum())
        rate = _share(question, here)
        rows.append(
            {
                **_named(question),
                "primary": question.keys["outcome"] in PRIMARY,
                "dose_value": question.value(float(dose)),
                "dose_steps": float(dose),
                "n_runs": int(here.sum()),
                "n": int(n),
                "n_events": int(events),
                "rate": rate,
                "rate_change": None if rate is None or start is None else rate - start,
                "unanswered_rate": float(question.missing[here].mean()),
                "predicted": _number(probability[i]),
                "predicted_low": _number(low[i]),
                "predicted_high": _number(high[i]),
                "model": fit.model,
                "level": level,
                "status": fit.status,
            }
        )
    return rows


def _share(question: Question, runs: npt.NDArray[np.bool_]) -> float | None:
    n = float(question.n[:, runs].sum())
    return float(question.events[:, runs].sum()) / n if n else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


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

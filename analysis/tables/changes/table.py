"""What compression changed against the baseline, item by item, with tests that respect pairs and templates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...answers.answers import AXES, Answers
from ...answers.measures import ACC, SRS, USR
from ...answers.moves import Moved
from ...answers.strata import strata
from ...inference.equivalence import verdict
from ...inference.paired import mcnemar
from ...inference.result import Result
from ...inference.square import bowker, stuart_maxwell
from ...schema.columns import Table
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import MCNEMAR_TESTS, PAIRED_CHANGES, ROLE_TESTS
from .families import FAMILY_KEYS, corrected
from .one_each import correctness, plurality
from .row import Cell, Row, detectable

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

_OUTCOMES = {"stereotype": SRS, "unknown": USR, "correct": ACC}
"""What McNemar's test is made of: the events of these measures."""
_ENDS = {"estimate": "", "conf_low": "_low", "conf_high": "_high"}


def paired_changes(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Compare every measure of every run with its baseline, templates as the unit of independence.

    A row takes the templates as independent of each other: items of a template and seeds of an item may move together,
    and both runs answer the same items. No template is taken to move by more than `settings.reach`. The tests of no
    change and of equivalence and the interval beside them are one bound (`analysis.inference.bounded`), with missing
    answers at their worst, so that fewer changes and fewer missing answers never make a verdict worse. Difference and
    Cohen's h have the jackknife's interval too; p_exchange exchanges the runs template by template.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Of intervals, tests and verdicts. The margin is a choice that the reader has to make; nothing in the
            data says what matters.

    Returns:
        Table PAIRED_CHANGES. Where a measure is undefined (no item offers an option on its axis, nothing was
        answered) the row says so in `status`. p-values are corrected over all that is asked of one run and task, so
        that other runs have no influence. The rows are exploratory: a run is judged by those of table verdicts.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    cells = [Cell.of(stratum) for stratum in strata(items, runs)]
    sizes: dict[tuple[object, ...], int] = {}
    for cell in cells:
        sizes[_family(cell.keys)] = sizes.get(_family(cell.keys), 0) + len(cell.measures)
    found: list[tuple[Row, Moved | None]] = []
    for cell in cells:
        # Holm asks for p-values below alpha / rows, which fewer exchanges could not have.
        least = int(np.ceil(2 * sizes[_family(cell.keys)] / given.alpha))
        found += cell.rows(given, exchanges=max(given.exchanges, least))
    frame = corrected([row for row, _ in found], PAIRED_CHANGES, "measures")
    if frame.empty:
        return PAIRED_CHANGES.empty()
    levels = given.alpha / frame["family_size"].clip(lower=1)
    frame["smallest_detectable"] = [
        None if moves is None else detectable(moves, level) for (_, moves), level in zip(found, levels, strict=True)
    ]
    # A missing p-value is NaN here, and below nothing.
    both = frame[["p_value_holm", "p_equivalence"]].astype(float).itertuples(index=False)
    frame["verdict"] = [verdict(p, q, alpha=given.alpha) for p, q in both]
    return PAIRED_CHANGES.conform(frame)


def _family(keys: Row) -> tuple[object, ...]:
    return tuple(keys[name] for name in FAMILY_KEYS)


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
        Table MCNEMAR_TESTS; p-values corrected over all outcomes, conditions and categories of one run and task.

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
    return _conformed(corrected(rows, MCNEMAR_TESTS, "outcomes"), MCNEMAR_TESTS)


def role_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Stuart-Maxwell's and Bowker's test of the square table of axes that the items offer, per run and category.

    A row takes the items as independent, and an item's role from its seeds, as `mcnemar_tests` does.

    Args:
        items: As for `paired_changes`.
        runs: As for `paired_changes`.

    Returns:
        Table ROLE_TESTS; p-values corrected over both tests and all conditions and categories of one run and task.

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
    return _conformed(corrected(rows, ROLE_TESTS, "tests"), ROLE_TESTS)


def _mcnemar_row(test: Result) -> dict[str, object]:
    names = {"estimate": "risk_difference", "conf_low": "conf_low", "conf_high": "conf_high", "p_value": "p_value"}
    odds = tuple(estimate for estimate in test.estimates if estimate.term == "odds_ratio")
    row = _numbers(test.estimates, names) | _numbers(odds, _ENDS, "odds_ratio")
    return row | {"p_value_mid": test["mid_p"].p_value if test.estimates else None, "status": test.status}


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
        "from {value_baseline:share} to {value:share}, {difference:points} "
        "({equivalence_low:pts} to {equivalence_high:pts}), {verdict}",
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

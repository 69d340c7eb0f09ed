"""Every metric of every task beside the baseline's: lines as pairs, documents or templates as the unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.given import check_items, check_runs
from ...answers.match import KEY, match
from ...compare.pairing import Pair, Pairing
from ...logs import Issue, Logs
from ...logs.results import TaskLog
from ...schema.declare import ReportTable, Step
from ...settings import Settings
from ..sources import LOGS, PAIRING, SETTINGS
from .change import Lines, Units, change_of_lines
from .columns import METRIC_CHANGES
from .groups import Gathered
from .moves import MetricMoves, metric_moves
from .reported import Reported, reported
from .values import LINE_COLUMNS, line_values

__all__ = [
    "METRIC_CHANGES",
    "METRIC_CHANGES_TABLE",
    "METRIC_COMPARISON",
    "MetricComparison",
    "MetricMoves",
    "compare_metrics",
    "metric_changes",
]

_NEEDED = ("task", *KEY, "cluster", "protocol", *LINE_COLUMNS)
_OWN_MEAN = "the mean of the lines, not lm_eval's own aggregate"

_Row = dict[str, object]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MetricComparison:
    """What came of comparing the metrics of all pairs of runs."""

    table: pd.DataFrame
    """Table METRIC_CHANGES."""
    issues: list[Issue]
    """Tasks and filters in which nothing could be compared."""
    moves: list[MetricMoves]
    """One metric of every run, task and filter that has a share: the deciding one, else the first. Where the results
    file has a value of a group of tasks that is the mean of its lines, the outermost such group stands for them."""


def metric_changes(items: pd.DataFrame, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Compare every metric of the lines of each run with its baseline's.

    A metric's value is the mean over the lines that have it in both runs. The change has the jackknife's interval over
    templates; where items have none, over documents, which is the interval of the paired t-test. Of 0 and 1 it is never
    shorter than what so many unchanged units would allow (`analysis.inference.bounded`), which is all that there is
    where none changed. Of other numbers there is none then.

    Args:
        items: Rows of ITEMS, all runs.
        runs: Columns run and baseline; rows without a baseline are left out.
        settings: The level is that of the intervals.

    Returns:
        Table METRIC_CHANGES in the order of `runs`, then by task and filter, the deciding metric first. What only the
        results files say (directions, aggregates) is missing; the report's table has it.

    Raises:
        UserError: If a run answers an item twice with one seed.
    """
    check_items(items, ("run", *_NEEDED))
    check_runs(runs, ("run", "baseline"))
    given, rows = settings or Settings(), []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        own, base = (_Side(items[items["run"] == label]) for label in (run, baseline))
        for (task, name), lines in _by_filter(own, base).items():
            rows += _named(_compared(lines, Reported(), given), run, baseline, task, name)
    return _table(rows)


def compare_metrics(logs: Logs, pairing: Pairing, settings: Settings | None = None) -> MetricComparison:
    """Table METRIC_CHANGES of everything that may be compared: only two runs of one task are in memory at a time."""
    given, issues = settings or Settings(), []
    rows: list[_Row] = []
    moves: list[MetricMoves] = []
    gathered = Gathered(logs)
    base: _Side | None = None
    for pair, own_rows, base_rows in pairing.both(logs.store, _NEEDED):
        own, base = _Side(own_rows), base if base is not None and base.rows is base_rows else _Side(base_rows)
        run, baseline = (logs.runs[label].tasks[pair.task] for label in (pair.run, pair.baseline))
        by_filter = {name: lines for (_, name), lines in _by_filter(own, base).items()}
        # Items of our own have columns for what their results files sum up, and tables with intervals.
        ours = bool((own_rows["protocol"] != run.output_type).any())
        same = not any(difference.name == "items" for difference in pair.accepted)
        own_task = Reported(higher_is_better=run.higher_is_better)
        for name in dict.fromkeys([*by_filter, *(() if ours else (*run.metrics, *baseline.metrics))]):
            told = own_task if ours else reported(run, baseline, name, same_items=same)
            lines = by_filter.get(name, {})
            gathered.add(pair.run, pair.baseline, name, pair.task, lines)
            found = list(_compared(lines, told, given))
            rows += _named(found, pair.run, pair.baseline, pair.task, name)
            means = {metric: line for metric, line in lines.items() if told.is_mean(metric, line.after, line.before)}
            moves += _moves(means, told, given, run=pair.run, baseline=pair.baseline, task=pair.task, filter=name)
            if not found and not ours:
                issues.append(_nothing(pair, name, run, logs.runs[pair.run].file))
    return MetricComparison(_table([*rows, *gathered.rows(given)]), issues, _by_group(moves, gathered, given))


def _moves(lines: Mapping[str, Lines], told: Reported, settings: Settings, **keys: str) -> Iterator[MetricMoves]:
    """The moves of the metric that decides, or else of the first that is a share; none without one."""
    for name in _in_order(lines, told):
        found = metric_moves(lines[name], reach=settings.reach, metric=name, **keys)
        if found is not None:
            yield found
            return


def _by_group(moves: list[MetricMoves], gathered: Gathered, settings: Settings) -> list[MetricMoves]:
    """Moves with a group's in the place of its tasks'."""
    kept = defaultdict[tuple[str, str, str], list[MetricMoves]](list)
    for found in moves:
        kept[found.run, found.baseline, found.filter].append(found)
    out = []
    for (run, baseline, name), mine in kept.items():
        for title, group, lines in gathered.outermost(run, baseline, name):
            keys = {"run": run, "baseline": baseline, "task": title, "filter": name}
            for pooled in _moves(lines, Reported(), settings, **keys):
                mine = [pooled, *(entry for entry in mine if entry.task not in group.tasks)]
        out += mine
    return out


def _in_order(lines: Mapping[str, Lines], told: Reported) -> list[str]:
    """Metrics of lines: the deciding ones, then as the results file lists them."""
    order = {name: place for place, name in enumerate(told.names)}
    return sorted(lines, key=lambda name: (not lines[name].decides, order.get(name, len(order))))


def _table(rows: list[_Row]) -> pd.DataFrame:
    """The rows as METRIC_CHANGES; what a row does not name is missing."""
    return METRIC_CHANGES.conform(pd.DataFrame(rows, columns=METRIC_CHANGES.names)) if rows else METRIC_CHANGES.empty()


def _named(rows: Iterator[_Row] | list[_Row], run: str, baseline: str, task: str, name: str) -> list[_Row]:
    return [{"run": run, "baseline": baseline, "task": task, "filter": name, **row} for row in rows]


class _Side:
    """The answers of one run, and the values of its metrics: made once for a baseline that several are compared to."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows, self.values = rows, line_values(rows)

    def at(self, places: Places) -> _Side:
        """Some of the answers. A metric that none of them has is none of theirs: other filters have others."""
        part = copy(self)
        part.rows = self.rows.iloc[places]
        found = {name: column[places] for name, column in self.values.items()}
        part.values = {name: column for name, column in found.items() if not np.isnan(column).all()}
        return part

    @property
    def deciding(self) -> set[str]:
        """The metrics that say right or wrong."""
        return {str(name) for name in self.rows["metric"].dropna().unique()}


def _by_filter(own: _Side, base: _Side) -> dict[tuple[str, str], dict[str, Lines]]:
    """Every metric of the paired lines by task and filter."""
    both = match(own.rows, base.rows, ["task", *KEY])
    keys = own.rows[["task", "filter"]].iloc[both.run].reset_index(drop=True)
    groups = cast("dict[tuple[str, str], Places]", keys.groupby(["task", "filter"], sort=True, observed=True).indices)
    return {key: _lines(own.at(both.run[at]), base.at(both.baseline[at])) for key, at in groups.items()}


def _lines(own: _Side, base: _Side) -> dict[str, Lines]:
    """Every metric of the paired lines of one task and filter."""
    units, nothing, deciding = Units.of(own.rows), np.full(len(own.rows), np.nan), own.deciding & base.deciding
    return {
        name: Lines(
            before=base.values.get(name, nothing),
            after=own.values.get(name, nothing),
            units=units,
            decides=name in deciding,
        )
        for name in {**own.values, **base.values}
    }


def _compared(lines: Mapping[str, Lines], told: Reported, settings: Settings) -> Iterator[_Row]:
    """The rows of one task and filter, of its lines and of what the results files say."""
    for name in _in_order(lines, told):
        row = change_of_lines(lines[name], settings)
        mean = told.is_mean(name, lines[name].after, lines[name].before)
        yield {
            **row,
            "metric": name,
            "decides": lines[name].decides,
            "aggregation": told.aggregations.get(name),
            "higher_is_better": told.higher_is_better.get(name) if mean else None,
            "status": row["status"] if mean else f"{_OWN_MEAN}; {row['status']}".removesuffix("; ok"),
        }
        if not mean:
            yield from told.aggregates([name])
    yield from told.aggregates(name for name in told.names if name not in lines)


def _nothing(pair: Pair, name: str, task: TaskLog, file: str) -> Issue:
    """That a filter of a task has no metric that is a number."""
    seen = ", ".join(sorted({*task.higher_is_better, *task.aggregations})) or "none"
    message = (
        f"{pair.run} on {pair.task}, filter {name}: no metric is a number, in lines or results, so none is compared; "
        f"the results file names: {seen}"
    )
    return Issue(file, "no_metric", message, "note")


METRIC_COMPARISON = Step("metric_comparison", (LOGS, PAIRING, SETTINGS), compare_metrics)
METRIC_CHANGES_TABLE = ReportTable(
    METRIC_CHANGES,
    (METRIC_COMPARISON,),
    lambda comparison: comparison.table,
    reading=(
        "from {value_baseline:g} to {value:g}, {change:+} ({conf_low:+} to {conf_high:+})",
        "from {value_baseline:g} to {value:g}, {change:+}",
    ),
)

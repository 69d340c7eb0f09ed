"""What the results files of two runs say of the metrics of one task and filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...logs.results import TaskLog
from .columns import AGGREGATE
from .values import NO_METRICS, Floats

__all__ = ["Reported", "reported"]

_MEANS = ("mean", "nanmean")
"""lm_eval's aggregations that are the mean of the lines that have a value."""
_FUNCTION = "function"
"""What is said of an aggregation that the results file holds as source text."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What two results files say; nothing, where only lines are at hand."""

    run: Mapping[str, float] = field(default_factory=dict)
    """The run's value by metric."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    aggregations: Mapping[str, str] = field(default_factory=dict)
    same_items: bool = True
    """Whether both values are over the items that are compared."""

    @property
    def names(self) -> list[str]:
        """Metrics with a value, in the order of the run's file."""
        return list(dict.fromkeys([*self.run, *self.baseline]))

    def is_mean(self, name: str, run: Floats, baseline: Floats) -> bool:
        """Whether lm_eval's value of a metric is the mean of its lines; told by the values where no name tells it.

        Args:
            name: The metric.
            run: [lines] its values, NaN where there is none.
            baseline: Likewise.
        """
        if name in self.aggregations:
            return self.aggregations[name] in _MEANS
        given = ((self.run.get(name), run), (self.baseline.get(name), baseline))
        return all(value is None or not len(lines) or _close(value, lines) for value, lines in given)

    def aggregates(self, names: Iterable[str]) -> Iterator[dict[str, object]]:
        """Rows of METRIC_CHANGES for the results files' own values; none for a metric that neither file has."""
        for name in names:
            before, after = self.baseline.get(name), self.run.get(name)
            if before is None and after is None:
                continue
            change = after - before if before is not None and after is not None else None
            usable = change is not None and math.isfinite(change) and self.same_items
            yield {
                "metric": name,
                "decides": False,
                "metric_kind": AGGREGATE,
                "aggregation": self.aggregations.get(name),
                "higher_is_better": self.higher_is_better.get(name),
                "value_baseline": before,
                "value": after,
                "change": change if usable else None,
                "status": self._status(change is not None),
            }

    def _status(self, both: bool) -> str:
        if not both:
            return "only one of the results files has it"
        if not self.same_items:
            return "no change: each value is over all documents of its run, which are not the same"
        return "the results files' own values: lines have no number to make an interval from"


def reported(run: TaskLog, baseline: TaskLog, name: str, *, same_items: bool = True) -> Reported:
    """What the results files say of a task in the filter `name`."""
    own, base = (
        {metric: value for metric, value in task.metrics.get(name, {}).items() if _is_metric(metric, value)}
        for task in (run, baseline)
    )
    return Reported(
        run=own,
        baseline=base,
        higher_is_better=run.higher_is_better,
        aggregations={metric: _short(text) for metric, text in run.aggregations.items()},
        same_items=same_items,
    )


def _is_metric(name: str, value: float) -> bool:
    return not name.endswith("_stderr") and name not in NO_METRICS and not math.isnan(value)


def _short(aggregation: str) -> str:
    """Its name; a function of the task's own is there as source text, or as where it lies in memory."""
    return aggregation if aggregation.isidentifier() else _FUNCTION


def _close(value: float, lines: Floats) -> bool:
    known = lines[~np.isnan(lines)]
    return len(known) > 0 and math.isclose(value, float(known.mean()), rel_tol=1e-6, abs_tol=1e-9)

"""A group of tasks, such as mmlu, as one: all lines of its tasks, where the results file's value is their mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...logs import Logs
from ...logs.task_groups import TaskGroup
from ...settings import Settings
from .change import Codes, Lines, Units, change_of_lines
from .reported import Reported

__all__ = ["Gathered"]

_Key = tuple[str, str, str]
_OTHER = "the results files' own values: not the mean of all lines of the group's tasks"


@dataclass
class Gathered:
    """Lines of tasks that belong to a group, by run, baseline and filter, then metric and task."""

    logs: Logs
    _lines: dict[_Key, dict[str, dict[str, Lines]]] = field(default_factory=dict)

    def add(self, run: str, baseline: str, name: str, task: str, lines: Mapping[str, Lines]) -> None:
        """Keep the lines of a task, in filter `name`, if some group of the run holds it."""
        if any(task in group.tasks for group in self.logs.runs[run].groups.values()):
            kept = self._lines.setdefault((run, baseline, name), defaultdict(dict))
            for metric, found in lines.items():
                kept[metric][task] = found

    def rows(self, settings: Settings) -> Iterator[dict[str, object]]:
        """Rows of METRIC_CHANGES for each group all of whose tasks were compared; `task` is the group's name."""
        for (run, baseline, name), lines in self._lines.items():
            for title, group, told in self._told(run, baseline, name):
                for row in _group(group, told, lines, settings):
                    yield {"run": run, "baseline": baseline, "task": title, "filter": name, **row}

    def outermost(self, run: str, baseline: str, name: str) -> Iterator[tuple[str, TaskGroup, dict[str, Lines]]]:
        """Groups that stand for their tasks in a filter: the largest first, none with a task of one before it.

        Yields:
            The group's name, the group, and the pooled lines of each metric whose mean is the group's value.
        """
        lines, seen = self._lines.get((run, baseline, name), {}), set[str]()
        for title, group, told in sorted(self._told(run, baseline, name), key=lambda entry: -len(entry[1].tasks)):
            if not seen.isdisjoint(group.tasks):
                continue
            means = {
                metric: pooled
                for metric, pooled in _of_all(group, told, lines)
                if told.is_mean(metric, pooled.after, pooled.before)
            }
            if means:
                seen.update(group.tasks)
                yield title, group, means

    def _told(self, run: str, baseline: str, name: str) -> Iterator[tuple[str, TaskGroup, Reported]]:
        """Groups of the same tasks in both runs, and what the results files say of them."""
        for title, group in self.logs.runs[run].groups.items():
            other = self.logs.runs[baseline].groups.get(title)
            if other is not None and other.tasks == group.tasks:
                run_values, values = group.metrics.get(name, {}), other.metrics.get(name, {})
                yield (
                    title,
                    group,
                    Reported(run=run_values, baseline=values, higher_is_better=group.higher_is_better),
                )


def _of_all(group: TaskGroup, told: Reported, lines: Mapping[str, Mapping[str, Lines]]) -> Iterator[tuple[str, Lines]]:
    """The pooled lines of every metric that each of the group's tasks has."""
    for metric in told.names:
        parts = [lines.get(metric, {}).get(task) for task in group.tasks]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            yield metric, _pooled(known)


def _group(
    group: TaskGroup, told: Reported, lines: Mapping[str, Mapping[str, Lines]], settings: Settings
) -> Iterator[dict[str, object]]:
    for metric, pooled in _of_all(group, told, lines):
        if told.is_mean(metric, pooled.after, pooled.before):
            yield {
                **change_of_lines(pooled, settings),
                "metric": metric,
                "decides": pooled.decides,
                "higher_is_better": told.higher_is_better.get(metric),
            }
        else:  # each task counts once, say
            yield from ({**row, "status": _OTHER} for row in told.aggregates([metric]))


def _pooled(parts: list[Lines]) -> Lines:
    """The lines of several tasks as one; units and items of two tasks are never the same."""
    units: list[Units] = [part.units for part in parts]
    unit, item = (_apart([getattr(entry, name) for entry in units]) for name in ("unit", "item"))
    templates = any(entry.name == "template" for entry in units)
    return Lines(
        before=np.concatenate([part.before for part in parts]),
        after=np.concatenate([part.after for part in parts]),
        units=Units(name="template" if templates else "document", unit=unit, item=item),
        decides=all(part.decides for part in parts),
    )


def _apart(codes: list[Codes]) -> Codes:
    sizes = [int(part.max(initial=-1)) + 1 for part in codes]
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([part + start for part, start in zip(codes, starts, strict=True)])

"""The numbers that lm_eval logs of an answer, and which of them says right or wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .faults import some
from .hashes import HASHES
from .issues import Issue
from .results import TaskLog
from .values import LogError, number

__all__ = ["FEW", "PREFERRED", "Decided", "Line", "line_metrics", "packed_metrics", "right_or_wrong", "with_columns"]

PREFERRED = ("acc", "exact_match", "em", "acc_norm")
"""Metrics that say right or wrong: the first of them that a task has is the one that speaks."""
_NO_METRICS = frozenset(
    ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "answer", *HASHES)
)
"""Keys of a line that are no metric: lines of lm_eval before 0.4.7 do not list those that are."""
FEW = 0.1
"""Share of lines up to which those that are unlike the rest are called odd, and left out."""


@dataclass(frozen=True)
class Line:
    """What right or wrong is decided from, of one line of a task without items."""

    metrics: Mapping[str, float | None]
    """Its numbers by name; None for one that is not defined for the line."""
    choice: int | None = None
    target: int | None = None
    """The target where it is the number of an option."""
    says_target: bool | None = None
    """Whether the text of the choice is the target's; None where nothing was chosen."""
    others: frozenset[str] = frozenset()
    """Names of its metrics that are no numbers."""


@dataclass
class Decided:
    """What speaks for right and wrong in each filter, and what it says."""

    metric: list[str | None]
    """Per line."""
    correct: list[bool | None]
    """Per line."""
    left_out: npt.NDArray[np.bool_]
    """Per line, whether nothing can be said of it."""
    issues: list[Issue] = field(default_factory=list)


def line_metrics(line: Mapping[str, Any]) -> tuple[dict[str, float | None], frozenset[str]]:
    """The metrics of a line that are numbers, sorted by name, and the names of those that are none.

    Truth values are 1 and 0, also as lm_eval's "True" and "False". NaN and null are None: not defined for the line. A
    metric that is a list, a record or a text is none.

    Raises:
        LogError: If a metric that the line lists is not there.
    """
    listed = line.get("metrics")
    names = listed if isinstance(listed, list) else [name for name in line if name not in _NO_METRICS]
    found: dict[str, float | None] = {}
    others = set()
    for name in names:
        if listed is names and (not isinstance(name, str) or name not in line):
            raise LogError(f"{name}: listed among the metrics, but missing")
        if isinstance(name, str) and name in line and name[:1] != "$" and name not in _NO_METRICS:
            value = line[name]
            try:
                found[name] = number(value)
            except (LogError, OverflowError):
                others.add(name)
    return dict(sorted(found.items())), frozenset(others)


def right_or_wrong(filters: Sequence[str], lines: Sequence[Line], names: Sequence[str], about: TaskLog) -> Decided:
    """Decide for each filter of a file which metric says right or wrong, and read it from every line.

    It is the first of PREFERRED that the task has, if it is 0 or 1 in every line; a task that has none of these takes
    the first metric that is higher for the better, by the results file, and 0 or 1 in every line. One that is a
    fraction anywhere is a mean and no right or wrong.

    Args:
        filters: Of each line.
        lines: What the lines hold.
        names: Of each line's item, for issues.
        about: What the results file says of the task.

    Returns:
        The decision. A line without a value of the metric that speaks is left out, and so is one whose right or wrong
        contradicts choice and target where they go together in nearly all lines.
    """
    size = len(lines)
    out = Decided([None] * size, [None] * size, np.zeros(size, dtype=bool))
    for name in dict.fromkeys(filters):
        own = [place for place in range(size) if filters[place] == name]
        # A results file that has NaN of a metric has the metric.
        reported = about.reported.get(name) or tuple(about.metrics.get(name, ()))
        _fractions(out, name, lines, names, own, about)
        metric = _speaks(_candidates([lines[place] for place in own], reported), lines, own, about)
        if metric is None:
            out.issues += _unlogged(name, reported, [lines[place] for place in own])
            continue
        for place in own:
            value = lines[place].metrics.get(metric)
            out.metric[place] = metric
            out.correct[place] = None if value is None else value == 1
        lacking = [place for place in own if out.correct[place] is None]
        if lacking:
            seen = f"{len(lacking)} of {len(own)} lines ({some([names[place] for place in lacking])})"
            message = f"{metric}, which says right or wrong in filter {name}, has no value in {seen}; left out"
            out.issues.append(Issue("", "metric_missing", message))
            out.left_out[lacking] = True
        if metric == "acc":
            plain = about.output_type == "multiple_choice" and not about.own_results
            _contradictions(out, lines, names, own, plain=plain)
    return out


def _fractions(
    out: Decided, name: str, lines: Sequence[Line], names: Sequence[str], own: list[int], about: TaskLog
) -> None:
    """Leave out the few lines of multiple choice whose acc is a fraction: where lm_eval makes it, it is 0 or 1.

    Where they are many, a function that the configuration does not show made it, and a note says so.
    """
    if about.output_type != "multiple_choice" or about.own_results:
        return
    for metric in ("acc", "acc_norm"):
        values = {place: lines[place].metrics.get(metric) for place in own}
        odd = [place for place, value in values.items() if value not in (None, 0, 1)]
        if odd:
            seen = f"{len(odd)} of {len(own)} lines ({some([names[place] for place in odd])})"
            message = f"{metric} of multiple choice is 0 or 1, but another number in {seen}, filter {name}"
            if len(odd) > FEW * len(own):
                out.issues.append(Issue("", "metric_fraction", f"{message}: taken for a mean", "note"))
                continue
            out.issues.append(Issue("", "metric_fraction", f"{message}; left out"))
            out.left_out[odd] = True
            own[:] = [place for place in own if not out.left_out[place]]


def _unlogged(name: str, reported: Sequence[str], lines: Sequence[Line]) -> list[Issue]:
    """An issue where the results file has a metric of right and wrong that no line has: somebody took it away."""
    lacking = [
        metric
        for metric in PREFERRED
        if metric in reported and not any(metric in line.metrics or metric in line.others for line in lines)
    ]
    message = f"{', '.join(lacking)} is in the results file (filter {name}), but in none of the {len(lines)} lines"
    return [Issue("", "metric_missing", message)] if lacking else []


def _candidates(lines: Sequence[Line], reported: Sequence[str]) -> list[str]:
    """The metrics of a filter: those that the results file has of it, else those that most lines have."""
    if reported:
        return list(reported)
    counts: dict[str, int] = {}
    for line in lines:
        for name in line.metrics:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if 2 * count > len(lines)]


def _speaks(names: list[str], lines: Sequence[Line], own: Sequence[int], about: TaskLog) -> str | None:
    def whole(name: str) -> bool:
        values = [lines[place].metrics.get(name) for place in own]
        known = [value for value in values if value is not None]
        return bool(known) and all(value in (0, 1) for value in known)

    for name in PREFERRED:
        if name in names:
            return name if whole(name) else None
    # lm_eval before 0.4.13 tells the direction of pass@1 under another name.
    told = about.higher_is_better
    usual = bool(told) and all(told.values())
    return next((name for name in names if told.get(name, usual) and whole(name)), None)


def _contradictions(
    out: Decided, lines: Sequence[Line], names: Sequence[str], own: Sequence[int], *, plain: bool
) -> None:
    told = [place for place in own if lines[place].choice is not None and lines[place].target is not None]
    told = [place for place in told if out.correct[place] is not None]
    wrong = [place for place in told if (lines[place].choice == lines[place].target) != out.correct[place]]
    if not wrong:
        return
    if len(wrong) > FEW * len(told):
        # The target is no number of an option here, but perhaps its text.
        denied = sum(lines[place].says_target != out.correct[place] for place in told)
        if plain and denied > FEW * len(told):
            seen = f"{len(told) - len(wrong)} of {len(told)} lines"
            message = f"acc follows from scores and target in only {seen}: whether it was changed can't be told"
            out.issues.append(Issue("", "contradiction", message, "note"))
        return
    seen = f"{len(wrong)} of {len(told)} lines ({some([names[place] for place in wrong])})"
    message = f"acc contradicts the scores and the target in {seen}: the log was changed after the run; left out"
    out.issues.append(Issue("", "contradiction", message))
    out.left_out[wrong] = True


def packed_metrics(metrics: Mapping[str, float | None]) -> str | None:
    """As the column `metrics` holds them."""
    return json.dumps(metrics) if metrics else None


def with_columns(table: pa.Table, values: Mapping[str, Iterable[Any]]) -> pa.Table:
    """The table with other values in some of its columns."""
    for name, column in values.items():
        kind = table.schema.field(name).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        made = pa.array(column, plain)
        made = made.dictionary_encode() if pa.types.is_dictionary(kind) else made
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), made)
    return table

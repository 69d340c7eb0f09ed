"""What only the whole of a samples file tells: which metric speaks, which items are twice, whether means agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .agreement import check_means, odd_kinds, one_sided, same_number
from .faults import some
from .issues import Issue
from .metrics import PREFERRED, Line, right_or_wrong, with_columns
from .results import TaskLog
from .table import repeated_items
from .values import LogError, number
from .witness import MISSING, PROBABILITIES

__all__ = ["Doubts", "Rolling", "Settled", "settle"]


_OF = {
    "doc_hash": "is not lm_eval's hash of the document",
    "prompt_hash": "is not lm_eval's hash of the prompt",
    "target_hash": "is not lm_eval's hash of the target",
    PROBABILITIES: "does not follow from the scores in resps",
    MISSING: "has no probabilities, though scores chose the option,",
}


@dataclass(frozen=True)
class Settled:
    """The rows that can be used, and what was wrong with the others."""

    table: pa.Table
    issues: list[Issue]
    refuted: tuple[str, ...] = ()
    """Metrics of a rolling task's results that the lines don't add up to."""


@dataclass(frozen=True)
class Doubts:
    """What lines say of themselves that can't be true, or that they don't say."""

    untrue: Mapping[str, Sequence[tuple[int, int]]]
    """By name (a hash, or PROBABILITIES), the first row and the end of the rows of lines that deny it."""
    n_lines: int
    unnamed: Counter[Any]
    """Lines by document that name no filter."""
    others: Mapping[int, frozenset[str]]
    """By row, the metrics of a line without an answer record that are no numbers."""


@dataclass
class Rolling:
    """Sums over the lines of a rolling task: log-likelihood and weight of each metric."""

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line. Raises LogError if a metric that is a pair holds no numbers."""
        for name, value in line.items():
            if isinstance(value, list) and len(value) == 2 and (name.endswith("perplexity") or name == "bits_per_byte"):
                one, weight = (number(entry) for entry in value)
                if one is None or weight is None:
                    raise LogError(f"{name}: expected a log-likelihood and a count, got {value!r}"[:160])
                before = self.sums.get(name, (0.0, 0.0))
                self.sums[name] = (before[0] + one, before[1] + weight)

    def aggregate(self, name: str) -> float | None:
        """The metric over all lines, as lm_eval makes it; None if no line has it."""
        total, weight = self.sums.get(name, (0.0, 0.0))
        if weight <= 0:
            return None
        bits = name == "bits_per_byte"
        try:
            return -total / weight / math.log(2) if bits else math.exp(-total / weight)
        except OverflowError:
            return math.inf


def settle(
    table: pa.Table,
    about: TaskLog,
    lines: Mapping[int, Line],
    metrics: Mapping[int, Mapping[str, float | None]],
    doubts: Doubts,
    rolling: Rolling,
    *,
    whole: bool,
) -> Settled:
    """Finish the rows of a file.

    Args:
        table: Its rows.
        about: What the results file says of the task.
        lines: By row, what right or wrong is decided from, where the item does not say.
        metrics: By row, the numbers of lines without an answer record.
        doubts: What lines say that can't be true.
        rolling: Sums of a rolling task.
        whole: Whether all lines are there as they were written, so that means can be held against the results file.

    Returns:
        The rows with `metric` and `correct`. Left out are rows without a value of the metric that speaks, items that
        are there twice, documents whose filters can't be told apart, and all rows where a mean differs.
    """
    issues: list[Issue] = []
    kept = np.ones(table.num_rows, dtype=bool)
    if lines:
        table, gone, found = _decided(table, about, lines)
        kept &= ~gone
        issues += found
    if doubts.unnamed and len(about.filters) > 1:
        kept &= _told_apart(table, about, doubts.unnamed, issues)
    kept &= _of_one_kind(table, metrics, doubts, issues)
    for name, places in doubts.untrue.items():
        kept &= _true(table.num_rows, name, places, doubts.n_lines, issues)
    if repeated := repeated_items(table):
        kept &= ~_any_of(table["item_id"], repeated)
        message = f"{len(repeated)} items are there more than once ({some(repeated)}); all their rows are left out"
        issues.append(Issue("", "duplicate_items", message))
    issues += _unscored(table)
    if metrics or rolling.sums:
        filters, rows = table["filter"].to_pylist(), list(metrics)
        named = [{*metrics[row], *doubts.others[row]} for row in rows]
        issues += one_sided([filters[row] for row in rows], named, about, rolling.sums)
    refuted: list[str] = []
    if whole and all(issue.level == "note" or issue.kind == "unscored" for issue in issues):
        differ = _means(table, about, metrics)
        if differ:
            kept[:] = False
        issues += differ
        refuted = _refuted(about, rolling, issues)
    return Settled(table if kept.all() else table.filter(pa.array(kept)), issues, tuple(refuted))


def _unscored(table: pa.Table) -> list[Issue]:
    """Answers without a usable score, where they are half of all or more: what NaN weights come to."""
    status = table["status"].to_pylist()
    count = status.count("unscored")
    if 2 * count < len(status) or not count:
        return []
    message = f"{count} of {len(status)} answers have no usable score (NaN, infinite, or all the same): nothing chosen"
    return [Issue("", "unscored", message)]


def _decided(
    table: pa.Table, about: TaskLog, lines: Mapping[int, Line]
) -> tuple[pa.Table, npt.NDArray[np.bool_], list[Issue]]:
    places = list(lines)
    filters, names = (table[name].to_pylist() for name in ("filter", "item_id"))
    found = right_or_wrong(
        [filters[place] for place in places], list(lines.values()), [names[place] for place in places], about
    )
    values = {name: table[name].to_pylist() for name in ("metric", "correct", "choice", "p_choice", "status")}
    gone = np.zeros(table.num_rows, dtype=bool)
    for at, place in enumerate(places):
        values["metric"][place] = found.metric[at]
        right = found.correct[at]
        # An answer that can't be read is wrong, whatever lm_eval makes of it.
        values["correct"][place] = right and values["status"][place] == "answered" if right is not None else None
        if found.metric[at] == PREFERRED[-1]:  # lm_eval does not log the lengths that it divided by
            values["choice"][place] = values["p_choice"][place] = None
        gone[place] = found.left_out[at]
    del values["status"]
    return with_columns(table, values), gone, found.issues


def _true(
    size: int, name: str, places: Sequence[tuple[int, int]], n_lines: int, issues: list[Issue]
) -> npt.NDArray[np.bool_]:
    """Rows of lines that deny nothing. Where most do, another program wrote them: that is said, and all are kept."""
    kept = np.ones(size, dtype=bool)
    seen = f"{name} {_OF[name]} in {len(places)} of {n_lines} lines"
    if 2 * len(places) > n_lines:
        if name != MISSING:  # or else it is a log of answers alone
            message = f"{seen}: another program or release wrote them; what was changed after the run can't be told"
            issues.append(Issue("", "untrue", message, "note"))
        return kept
    for first, end in places:
        kept[first:end] = False
    issues.append(Issue("", "untrue", f"{seen}: changed after the run; left out"))
    return kept


def _of_one_kind(
    table: pa.Table, metrics: Mapping[int, Mapping[str, float | None]], doubts: Doubts, issues: list[Issue]
) -> npt.NDArray[np.bool_]:
    """Rows of which each metric is a number, or none, as in the other lines."""
    kept = np.ones(table.num_rows, dtype=bool)
    if not any(doubts.others.values()):
        return kept
    filters, rows = table["filter"].to_pylist(), list(metrics)
    odd = odd_kinds([filters[row] for row in rows], list(metrics.values()), [doubts.others[row] for row in rows])
    for metric, places in odd.items():
        seen = f"{len(places)} of {len(rows)} lines"
        message = f"{metric} is a number in some lines and none in others; {seen} are unlike the rest and left out"
        issues.append(Issue("", "metric_kind", message))
        kept[[rows[place] for place in places]] = False
    return kept


def _told_apart(table: pa.Table, about: TaskLog, unnamed: Counter[Any], issues: list[Issue]) -> npt.NDArray[np.bool_]:
    """Rows of documents that have a line for each filter."""
    bad = [doc for doc, count in unnamed.items() if count != len(about.filters)]
    if bad:
        message = (
            f"{len(bad)} documents without a line for each filter ({', '.join(about.filters)}), and no line names its "
            f"own (doc_id {some([str(doc) for doc in bad])}): left out"
        )
        issues.append(Issue("", "filters_unknown", message))
    return ~_any_of(table["doc_id"], bad)


def _any_of(column: pa.ChunkedArray, values: list[Any]) -> npt.NDArray[np.bool_]:
    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return np.asarray(pc.is_in(column, value_set=pa.array(values, plain)).combine_chunks(), dtype=bool)


def _means(table: pa.Table, about: TaskLog, metrics: Mapping[int, Mapping[str, float | None]]) -> list[Issue]:
    if metrics:
        filters = table["filter"].to_pylist()
        return check_means([filters[place] for place in metrics], list(metrics.values()), about)
    if not table.num_rows or not any("acc" in reported for reported in about.metrics.values()):
        return []
    frame = table.select(["filter", "item_id", "correct"]).to_pandas()
    keyed = frame.dropna(subset=["correct"])
    shares = keyed.astype({"correct": float}).groupby(["filter", "item_id"], observed=True)["correct"].mean()
    return check_means([str(key[0]) for key in shares.index], [{"acc": value} for value in shares], about)


def _refuted(about: TaskLog, rolling: Rolling, issues: list[Issue]) -> list[str]:
    """Metrics of a rolling task that the lines do not add up to, each with an issue."""
    out = []
    for name, metrics in about.metrics.items():
        for metric, reported in metrics.items():
            found = rolling.aggregate(metric)
            if found is None or found == reported or same_number(found, reported):
                continue
            message = (
                f"{metric} of the lines is {found:.6g}, but the results file says {reported:.6g} (filter {name}): one "
                "of the two was changed after the run; it is not compared"
            )
            issues.append(Issue("", "mean_differs", message))
            out.append(metric)
    return out

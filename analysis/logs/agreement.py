"""Whether the metrics of a file's lines agree with each other and with the results file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .faults import some
from .issues import Issue
from .metrics import FEW, PREFERRED
from .results import TaskLog

__all__ = ["check_means", "odd_kinds", "one_sided", "same_number"]

_MEAN = frozenset(("mean", "nanmean"))
_MEAN_BY_DEFAULT = frozenset((*PREFERRED, "acc_mutual_info"))
"""Metrics whose aggregate is a mean where the configuration does not say."""
_CLOSE = 1e-9
"""How far sums in another order may lie apart, in parts of their size."""


def odd_kinds(
    filters: Sequence[str], metrics: Sequence[Mapping[str, Any]], others: Sequence[frozenset[str]]
) -> dict[str, list[int]]:
    """Lines whose metric is a number where it is none in nearly all others, or the other way round.

    Args:
        filters: Of each line.
        metrics: Of each line, its numbers by name.
        others: Of each line, the names of metrics that are none.

    Returns:
        By metric, the places of the odd lines: at most a tenth of those that have it.
    """
    kinds: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for place, name in enumerate(filters):
        for metric in metrics[place]:
            kinds.setdefault((name, metric), ([], []))[0].append(place)
        for metric in others[place]:
            kinds.setdefault((name, metric), ([], []))[1].append(place)
    out: dict[str, list[int]] = {}
    for (_, metric), both in kinds.items():
        few = min(both, key=len)
        if few and len(few) <= FEW * (len(both[0]) + len(both[1])):
            out.setdefault(metric, []).extend(few)
    return out


def one_sided(
    filters: Sequence[str], named: Sequence[Iterable[str]], about: TaskLog, sums: Iterable[str] = ()
) -> list[Issue]:
    """Metrics that only the lines have, or only the results file.

    Args:
        filters: Of each line.
        named: Of each line, the names of its metrics, numbers or not.
        about: What the results file says.
        sums: Metrics of the lines of a rolling task.

    Returns:
        A note for each filter with such metrics, of files whose results tell metrics.
    """
    logged: dict[str, set[str]] = {}
    for name, metrics in zip(filters, named, strict=True):
        logged.setdefault(name, set()).update(metrics)
    if sums := set(sums):
        logged = dict.fromkeys(about.reported, sums)
    issues = []
    for name, metrics in logged.items():
        reported = set(about.reported.get(name, ())) - {"distributions"}  # a count, of a record and not of a number
        lines, results = sorted(metrics - reported), sorted(reported - metrics)
        if about.reported and (lines or results):
            where = {"lines": lines, "results": results}
            seen = "; ".join(f"{some(names)} only in the {place}" for place, names in where.items() if names)
            issues.append(Issue("", "metric_one_sided", f"metrics of filter {name}: {seen}", "note"))
    return issues


def check_means(filters: Sequence[str], metrics: Sequence[Mapping[str, float | None]], about: TaskLog) -> list[Issue]:
    """Hold the mean of each metric over the lines of a whole file against the results file.

    Args:
        filters: Of each line.
        metrics: Of each line, its numbers by name.
        about: What the results file says.

    Returns:
        An issue for each metric that differs; metrics whose aggregate is no mean are not looked at.
    """
    issues = []
    for name, reported in about.metrics.items():
        own = [values for place, values in zip(filters, metrics, strict=True) if place == name]
        for metric, value in reported.items():
            known = [found for values in own if (found := values.get(metric)) is not None]
            if not known or not _is_mean(metric, about):
                continue
            mean = math.fsum(known) / len(known)
            if not same_number(mean, value):
                message = (
                    f"{metric} of the {len(known)} lines is {mean:.6g}, but the results file says {value:.6g} (filter "
                    f"{name}). One of the two was changed after the run; all answers of the file are left out"
                )
                issues.append(Issue("", "mean_differs", message))
    return issues


def _is_mean(metric: str, about: TaskLog) -> bool:
    told = about.aggregations.get(metric)
    return told in _MEAN if told is not None else metric in _MEAN_BY_DEFAULT


def same_number(found: float, reported: float) -> bool:
    """Whether a reported number is the found one, or what is left of it at four digits after the point or more.

    Fewer are no rounding: 0.125 is a mean of 2,000 lines as it stands, and 0.1255 another one.
    """
    if math.isclose(found, reported, rel_tol=_CLOSE, abs_tol=_CLOSE):
        return True
    digits = len(repr(reported).partition(".")[2])
    if 7 <= digits <= 9 and math.isclose(found, reported, rel_tol=1e-5):
        return True  # a sum in float32, of a metric that numpy made
    return 4 <= digits <= 8 and "e" not in repr(reported) and round(found, digits) == reported

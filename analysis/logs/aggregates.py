"""What a results file says of a task's metrics: their aggregates, how these were made, and the filters they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .values import LogError, boolean, mapping, number

__all__ = ["Aggregates", "aggregates"]

Aggregates = dict[str, dict[str, float]]
"""By filter and metric."""
_NONE = "none"


def aggregates(results: Any, config: Any, better: Any) -> dict[str, Any]:
    """The fields of a TaskLog that are about metrics, from the parts of a results file that speak of a task.

    Args:
        results: Its entry in `results`: aggregates under "metric,filter", standard errors left out.
        config: Its entry in `configs`.
        better: Its entry in `higher_is_better`.

    Returns:
        metrics, reported, higher_is_better, aggregations, own_results and filters. What is not of the kind that lm_eval
        writes is left out.

    Raises:
        LogError: If `higher_is_better` is no object of truth values.
    """
    metrics: Aggregates = {}
    reported: dict[str, list[str]] = {}
    for name, metric, value in _values(results):
        reported.setdefault(name, []).append(metric)
        if value is not None:
            metrics.setdefault(name, {})[metric] = value
    config = config if isinstance(config, Mapping) else {}
    listed = [entry for entry in _list(config.get("metric_list")) if isinstance(entry.get("metric"), str)]
    ways = {entry["metric"]: entry.get("aggregation") for entry in listed}
    named = [entry.get("name") for entry in _list(config.get("filter_list"))]
    return {
        "metrics": metrics,
        "reported": {name: tuple(found) for name, found in reported.items()},
        "higher_is_better": _directions(better, listed),
        "own_results": config.get("process_results") is not None or not listed,
        "aggregations": {metric: way for metric, way in ways.items() if isinstance(way, str)},
        "filters": tuple(name for name in named if isinstance(name, str)) or tuple(reported),
    }


def _directions(better: Any, listed: list[Mapping[str, Any]]) -> dict[str, bool]:
    """By metric; what the configuration says where the results, as before 0.4.3, do not."""
    if better is not None and not isinstance(better, Mapping):
        raise LogError(f"higher_is_better: expected an object, got {str(better)[:40]!r}")
    found = {entry["metric"]: entry.get("higher_is_better") for entry in listed} | dict(better or {})
    told = {str(name): boolean(value) for name, value in found.items()}
    return {name: value for name, value in told.items() if value is not None}


def _values(results: Any) -> Iterator[tuple[str, str, float | None]]:
    for key, value in mapping(results).items():
        metric, comma, name = str(key).rpartition(",")
        if not comma or metric.endswith("_stderr"):
            continue  # name, alias and sample_len have no filter
        try:
            found = number(value)
        except (LogError, OverflowError):
            found = None
        yield name or _NONE, metric, found


def _list(section: Any) -> list[Mapping[str, Any]]:
    entries = section if isinstance(section, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)]

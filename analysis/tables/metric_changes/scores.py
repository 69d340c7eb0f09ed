"""What each run scores in each task and filter: accuracy where a metric says right or wrong, else its first metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...compare.baselines import Baselines
from ...compare.pairing import Pairing
from ...logs import Logs
from ...logs.results import TaskLog
from .reported import Reported, reported
from .values import LINE_COLUMNS, line_values

__all__ = ["SCORE_COLUMNS", "run_scores"]

SCORE_COLUMNS = ("run", "task", "filter", "n", "metric", "accuracy", "metric_value", "aggregate")


def run_scores(logs: Logs, baselines: Baselines, pairing: Pairing) -> pd.DataFrame:
    """Number of answers and the score of everything in the tables, a run's task at a time.

    Args:
        logs: Runs and items.
        baselines: What each task of each run is compared with.
        pairing: What may be compared.

    Returns:
        Columns SCORE_COLUMNS, a row per run, task and filter: `n` all answers, `metric` what accuracy or value is of,
        `accuracy` the share of right ones among those with a key. `metric_value` is there where some run of the task
        has no right or wrong: of the results file's first metric the mean of its lines, or (`aggregate`) the file's own
        value where that is no mean of lines. Of one task, no run shows an accuracy beside another's value.
    """
    rows: list[dict[str, Any]] = []
    for label, task, reference in pairing.shown(logs, baselines):
        items = pairing.items(logs.store, label, reference, task, ("filter", "protocol", *LINE_COLUMNS))
        log = logs.runs[label].tasks[task]
        for name, group in items.groupby("filter", sort=True, observed=True):
            found = {"run": label, "task": task, "filter": str(name), "n": len(group)}
            rows.append(found | _right(group) | _first(group, log, str(name)))
    frame = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, "first"])
    decided = frame.groupby(["task", "filter"])["metric"].transform(lambda metrics: metrics.notna().all())
    decided = decided.astype(bool)
    frame["metric"] = frame["metric"].where(decided, frame["first"])
    frame["accuracy"] = frame["accuracy"].where(decided)
    frame["metric_value"] = frame["metric_value"].mask(decided)
    return frame[list(SCORE_COLUMNS)]


def _right(rows: pd.DataFrame) -> dict[str, Any]:
    deciding = rows["metric"].dropna()
    if deciding.empty:
        return {"metric": None, "accuracy": None}
    return {"metric": str(deciding.iloc[0]), "accuracy": float(rows["correct"].astype("Float64").mean())}


def _first(rows: pd.DataFrame, log: TaskLog, name: str) -> dict[str, Any]:
    """The first metric of the results file that has a value, in one filter."""
    told = reported(log, log, name) if (rows["protocol"] == log.output_type).all() else Reported()
    lines = line_values(rows)
    for metric in dict.fromkeys([*told.names, *lines]):
        values = lines.get(metric, np.full(0, np.nan))
        known = values[np.isfinite(values)]
        if metric in lines and told.is_mean(metric, values, values):
            if len(known):
                return {"first": metric, "metric_value": float(known.mean()), "aggregate": False}
        elif metric in told.run:
            return {"first": metric, "metric_value": told.run[metric], "aggregate": True}
    return {"first": None, "metric_value": None, "aggregate": False}

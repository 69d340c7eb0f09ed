"""What the role measures get: items with roles, checked against their baseline, all runs in one frame."""

from __future__ import annotations

import pandas as pd

from ..logs import Logs
from ..logs.labels import base_groups
from ..schema.items import ITEMS
from .baselines import Baselines
from .pairing import Pairing

__all__ = ["ROLE_COLUMNS", "role_frames"]

_HASHES = {"doc_hash", "prompt_hash", "target_hash", "request_hash"}
_LEFT_OUT = {"doc_id", "metric", "metrics", "p_choice", "text", *_HASHES}
ROLE_COLUMNS = [name for name in ITEMS.names if name not in _LEFT_OUT]
"""Columns of ITEMS that the measures get: without hashes and texts, which are most of an item's bytes."""

_RUN_COLUMNS = ["run", "baseline", "base_model", "method", "sparsity", "bits", "is_baseline"]


def role_frames(
    logs: Logs, baselines: Baselines, pairing: Pairing, runs: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[str, str], int]]:
    """Items and runs for the functions of measures, transitions and studies.

    Args:
        logs: Runs and items.
        baselines: What each run's task is compared with.
        pairing: What may be compared.
        runs: Table RUNS.

    Returns:
        Items (ROLE_COLUMNS) with a direction, each task of a run over the same items as in its
        baseline; one row a run; and by run and task how many items without a direction stand beside these.
        Where the baseline of a run's tasks is spread over several runs, these are joined into one more run,
        "a+b", made of the tasks that are compared. Names of one base model are made one.
    """
    parts: list[pd.DataFrame] = []
    own: dict[str, set[str]] = {}
    undirected: dict[tuple[str, str], int] = {}
    for label, task, reference in pairing.shown(logs, baselines):
        if logs.runs[label].tasks[task].has_roles:
            own.setdefault(label, set()).add(task)
            rows = pairing.items(logs.store, label, reference, task, ROLE_COLUMNS)
            parts.append(_directed(rows))
            if len(parts[-1]) < len(rows):
                undirected[label, task] = int(rows.loc[rows["scheme"].isna(), "item_id"].nunique())
    compared = {label: baselines.of(label, tasks) for label, tasks in own.items()}
    joined = _joined(own, compared, baselines)
    for name, sources in joined.items():
        for task, reference in sorted(sources.items()):
            rows = _directed(pairing.items(logs.store, reference, reference, task, ROLE_COLUMNS))
            parts.append(rows.assign(run=name).astype({"run": rows["run"].dtype}))
    items = pd.concat(parts, ignore_index=True) if parts else ITEMS.empty()[ROLE_COLUMNS]
    return items, _runs(runs, logs, compared, joined), undirected


def _directed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of items with a direction; the others are counted (`analysis.compare.unplaced`)."""
    told = rows["scheme"].notna()
    return rows if told.all() else rows[told]


def _joined(
    own: dict[str, set[str]], compared: dict[str, str | None], baselines: Baselines
) -> dict[str, dict[str, str]]:
    """Baselines that several runs make up together: the source of each task, by joined name."""
    out: dict[str, dict[str, str]] = {}
    for label, tasks in own.items():
        sources = {task: baselines.by_task[label, task] for task in tasks if (label, task) in baselines.by_task}
        name = compared[label]
        if name is not None and len(set(sources.values())) > 1:
            out.setdefault(name, {}).update(sources)
    return out


def _runs(
    runs: pd.DataFrame, logs: Logs, compared: dict[str, str | None], joined: dict[str, dict[str, str]]
) -> pd.DataFrame:
    """The runs that have role items, with the baseline of these items."""
    leaders = base_groups(logs.runs.values())
    frame = runs.loc[runs["run"].isin(list(compared)), _RUN_COLUMNS].copy()
    frame["base_model"] = frame["base_model"].map(leaders)
    frame["baseline"] = frame["run"].map(compared).astype("string")
    for name, sources in joined.items():
        first = frame[frame["run"] == next(iter(sources.values()))].assign(run=name, baseline=None)
        frame = pd.concat([frame, first.astype(frame.dtypes.to_dict())], ignore_index=True)
    frame["is_baseline"] = frame["run"].isin(frame["baseline"].dropna().tolist())
    return frame.reset_index(drop=True)

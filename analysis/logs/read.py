"""A folder of lm-eval outputs, read whole: runs with their labels, their items, and what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.errors import UserError
from analysis.logs.find import find_runs
from analysis.logs.issues import Issue
from analysis.logs.labels import label_runs
from analysis.logs.results import RunLog, read_results
from analysis.logs.samples import read_samples
from analysis.logs.store import ItemStore

__all__ = ["Logs", "read_logs"]


@dataclass
class Logs:
    """What a folder holds."""

    runs: dict[str, RunLog]
    """Runs by label, in order of date."""
    store: ItemStore
    """Their items, on disk."""
    issues: list[Issue]


def read_logs(folder: Path, store: ItemStore, tasks: Iterable[str] = ()) -> Logs:
    """Read every run below a folder.

    Args:
        folder: Folder of lm-eval outputs, at any depth.
        store: Where the items go; reading ends its writing phase.
        tasks: Shell patterns of task names to keep; none keeps all.

    Returns:
        The runs, their items and the issues. Files that can't be read are left out and named in the issues.

    Raises:
        UserError: If there is no readable run, or no task matches the patterns.
    """
    patterns = tuple(tasks)
    found, issues = find_runs(folder)
    runs = []
    for files in found:
        run, faults = read_results(files, folder, patterns)
        issues += faults
        runs += [run] if run is not None else []
    if not runs:
        raise UserError(f"none of the {len(found)} results files below {folder} can be read: {issues[0].message}")
    if patterns and not any(run.tasks for run in runs):
        raise UserError(f"no task matches {', '.join(patterns)} in the {len(runs)} runs below {folder}")
    labelled, notes = label_runs(runs)
    issues += notes
    complete = {label: _with_samples(label, run, folder, store, issues) for label, run in labelled.items()}
    store.finish()
    return Logs(runs=complete, store=store, issues=issues)


def _with_samples(label: str, run: RunLog, folder: Path, store: ItemStore, issues: list[Issue]) -> RunLog:
    tasks = dict(run.tasks)
    for name, task in run.tasks.items():
        if task.samples is None:
            continue
        read = read_samples(task.samples, str(task.samples.relative_to(folder)), label, task)
        issues += read.issues
        store.append(label, name, read.table)
        tasks[name] = replace(task, rows=read.table.num_rows, has_roles=read.has_roles, score_digest=read.score_digest)
    return replace(run, tasks=tasks)

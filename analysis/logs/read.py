"""A folder of lm-eval outputs, read whole: runs with their labels, their items, and what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from .cache import cache_folder, prune
from .documents import DocumentStore
from .find import RunFiles, find_runs
from .inputs import Inputs, name_in
from .issues import Issue
from .labels import label_runs
from .mishap import mishap
from .origins import find_origins
from .parallel import read_sources, usable_cores
from .results import RunLog, TaskLog, read_results
from .sources import Source, keep_documents, nothing_read
from .store import ItemStore
from .undated import settle

__all__ = ["Logs", "read_logs"]

_LOST = {"unreadable", "our_fault", "bad_task", "samples_without_results"}
"""Kinds of issues with which a run or a task of it is gone, and so a comparison."""


@dataclass
class Logs:
    """What a folder holds."""

    runs: dict[str, RunLog]
    """Runs by label, in order of date."""
    store: ItemStore
    """Their items, on disk."""
    issues: list[Issue]


def read_logs(
    given: Inputs | Path | str | Iterable[Path | str],
    store: ItemStore,
    tasks: Iterable[str] = (),
    workers: int | None = None,
    documents: DocumentStore | None = None,
    bases: Iterable[str] = (),
) -> Logs:
    """Read every run in what was given.

    Samples files that were read before are taken from the cache (cache.py), others are put there.

    Args:
        given: Folders of lm-eval outputs, at any depth, and files or patterns of them.
        store: Where the items go; reading ends its writing phase.
        tasks: Shell patterns of task names to keep; none keeps all.
        workers: Processes that read; one for each usable core if not given. The result does not depend on it.
        documents: Where the documents go; nowhere if not given.
        bases: What models were made from, as the user says it ("MODEL=BASE").

    Returns:
        The runs, their items and the issues. Files that can't be read are left out and named in the issues.

    Raises:
        UserError: If there is no readable run, no task matches the patterns, or `bases` names what is not there.
    """
    patterns, inputs = tuple(tasks), Inputs.of(given)
    found, issues = find_runs(inputs)
    runs = []
    for files in found:
        run, faults = _results(files, inputs.root, patterns)
        issues += faults
        runs += [run] if run is not None else []
    if not runs:
        unread = next(issue for issue in issues if issue.kind in ("unreadable", "our_fault"))
        raise UserError(f"none of the {len(found)} results files in {inputs} can be read: {unread.message}")
    if patterns and not any(run.tasks for run in runs):
        raise UserError(f"no task matches {', '.join(patterns)} in the {len(runs)} runs in {inputs}")
    runs, unsettled = settle(runs, found, inputs.root)
    issues += unsettled
    runs.sort(key=lambda run: (run.date_id, run.file))
    runs = find_origins(runs, bases)
    labelled, notes = label_runs(runs)
    issues += [*notes, *(_unproved(label, run) for label, run in labelled.items() if run.is_unverified)]
    complete = _with_samples(labelled, inputs.root, store, documents, issues, workers or usable_cores())
    store.finish()
    told = [replace(issue, level="error") if issue.kind in _LOST else issue for issue in issues]
    return Logs(runs=complete, store=store, issues=told)


def _unproved(label: str, run: RunLog) -> Issue:
    """That nobody measured what was done to a run's weights, and why."""
    why = "; ".join(run.standing.doubts) or "its evidence says so"
    return Issue(run.file, "unverified", f"{label}: nobody proved how it is compressed ({why})")


def _results(files: RunFiles, root: Path, patterns: tuple[str, ...]) -> tuple[RunLog | None, list[Issue]]:
    try:
        return read_results(files, root, patterns)
    except Exception as error:
        return None, [mishap(error, name_in(root, files.results))]


def _with_samples(
    runs: dict[str, RunLog],
    root: Path,
    store: ItemStore,
    documents: DocumentStore | None,
    issues: list[Issue],
    workers: int,
) -> dict[str, RunLog]:
    """The runs with what their samples files hold, whose rows go to the store."""
    places = [(label, task) for label, run in runs.items() for task in run.tasks.values() if task.samples is not None]
    sources = [Source(task.samples, task) for _, task in places if task.samples is not None]
    found: dict[str, dict[str, TaskLog]] = {label: dict(run.tasks) for label, run in runs.items()}
    cached = cache_folder()
    faults = []
    for (label, task), source, outcome in zip(places, sources, read_sources(sources, cached, workers), strict=True):
        assert outcome.read is not None
        faults += [outcome.fault] if outcome.fault is not None else []
        file = name_in(root, source.path)
        try:
            read = outcome.read.of(file, label, task.name)
            if documents is not None:
                keep_documents(source, outcome, documents)
        except Exception as error:
            read = nothing_read(mishap(error)).of(file, label, task.name)
        issues += read.issues
        store.append(label, task.name, read.table)
        found[label][task.name] = replace(
            task.without(read.refuted), rows=read.table.num_rows, has_roles=read.has_roles, fingerprint=read.fingerprint
        )
    prune(cached)
    if faults:
        message = f"the cache can't be written ({faults[0]}): {len(faults)} files will be read again next time"
        issues.append(Issue(str(cached), "cache", message))
    return {label: replace(run, tasks=found[label]) for label, run in runs.items()}

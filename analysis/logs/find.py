"""Which files belong together: a run is a results file and the samples of the same date id beside it."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from .copies import first_copies
from .inputs import Inputs
from .inspect_logs import is_inspect, require_reader
from .issues import Issue
from .layouts import LogFile, dated_name, is_like_log, recognise
from .walk import Walk, walk

__all__ = ["RunFiles", "find_runs"]

_Key = tuple[str, str | None]
"""What a run's files have in common: the folder, links resolved, and the date id."""


@dataclass(frozen=True)
class RunFiles:
    """One results file and the sample files that came with it."""

    results: Path
    date_id: str | None
    """Missing in the layout of lm_eval 0.4.0 to 0.4.2, whose names hold no date."""
    samples: dict[str, Path] = field(default_factory=dict)
    """Sample file by task name."""
    loose: tuple[Path, ...] = ()
    """In that layout: the sample files beside it, of which its content tells the own ones (undated.py)."""


def find_runs(given: Inputs | Path | str | Iterable[Path | str]) -> tuple[list[RunFiles], list[Issue]]:
    """Find every lm-eval run in what was given.

    Args:
        given: Folders, whose runs may lie at any depth, and files, of which each stands for its whole run.

    Returns:
        The runs ordered by date and then path, and the issues: what can't be looked into, what only looks like a
        log, copies of a run, samples without a results file, a task's samples there twice (.jsonl and
        .jsonl.gz), samples that two results files claim. In each of the last three the sample files are left out.

    Raises:
        UserError: If something is not there, or there is no results file; or a log of Inspect without its reader.
    """
    inputs = Inputs.of(given)
    groups, issues = _gather(inputs)
    results = {key: [path for path, file in files.items() if file.kind == "results"] for key, files in groups.items()}
    samples = {key: {path: file for path, file in files.items() if file.kind == "samples"}
               for key, files in groups.items()}  # fmt: skip
    if not any(results.values()):
        raise UserError(_nothing(inputs, issues))
    if any(map(is_inspect, itertools.chain(*results.values()))):
        require_reader()
    counts = {path: (key[1], len(samples[key])) for key, paths in results.items() for path in paths}
    dropped, notes = first_copies(counts, inputs.root)
    issues += notes
    runs = []
    for key, all_paths in results.items():
        paths = [path for path in all_paths if path not in dropped]
        if paths and key[1] is not None:
            own = _unambiguous(samples[key], paths, inputs, issues)
            runs += [RunFiles(path, key[1], own) for path in paths]
        elif paths:
            # A log of Inspect has its samples in it.
            runs += [RunFiles(path, None, loose=() if is_inspect(path) else tuple(samples[key])) for path in paths]
        elif not all_paths:
            issues += [_without_results(path, file, inputs) for path, file in samples[key].items()]
    return sorted(runs, key=lambda run: (run.date_id or "", run.results)), issues


def _gather(inputs: Inputs) -> tuple[dict[_Key, dict[Path, LogFile]], list[Issue]]:
    """Logs by what belongs together, each once, and an issue for everything else that a user may miss."""
    found = walk(inputs.folders)
    issues = _told(found, inputs)
    groups: dict[_Key, dict[Path, LogFile]] = {}
    homes: dict[Path, str] = {}
    seen: set[tuple[str, str]] = set()

    def add(path: Path, file: LogFile) -> None:
        home = homes.setdefault(path.parent, os.path.realpath(path.parent))
        if (home, path.name) not in seen:
            seen.add((home, path.name))
            groups.setdefault((home, file.date), {})[path] = file

    for path in sorted(found.files):
        file = recognise(path)
        if file is not None and file.kind == "near":
            issues.append(Issue(inputs.name(path), "near_miss", file.why))
        elif file is not None:
            add(path, file)
    listed: dict[Path, list[tuple[Path, LogFile]]] = {}
    for path in inputs.files:
        file = recognise(path) if path.is_file() else None
        if file is None or file.kind == "near":
            why = file.why if file is not None else "neither a results nor a samples file of lm_eval; not read"
            issues.append(Issue(inputs.name(path), "no_log", why))
            continue
        add(path, file)
        if path.parent not in listed:
            listed[path.parent] = _logs_in(path.parent)
        for other, beside in listed[path.parent]:
            # Without a date, every results file of a folder is a run of its own: another is not what was asked for.
            if beside.date == file.date and (file.date or (file.kind, beside.kind) != ("results", "results")):
                add(other, beside)
    return groups, issues


def _logs_in(folder: Path) -> list[tuple[Path, LogFile]]:
    known = ((path, recognise(path)) for path in walk([folder], deep=False).files)
    return [(path, file) for path, file in known if file is not None and file.kind != "near"]


def _told(found: Walk, inputs: Inputs) -> list[Issue]:
    """What could not be looked into, and what is no file though it is called like a log."""
    told = [(path, "unreadable_folder", f"the folder can't be listed ({why}); what is in it is left out")
            for path, why in found.closed]  # fmt: skip
    told += [(path, "broken_link", f"a link that leads nowhere ({to}); left out") for path, to in found.broken]
    # With an output path of x.json, lm_eval 0.4.3 to 0.4.8 makes a folder of that name: only a date makes it odd.
    odd = [(path, "a folder") for path in found.folders if dated_name(path.name) is not None]
    odd += [(path, what) for path, what in found.odd if is_like_log(path.name)]
    told += [(path, "no_file", f"{what}, though it is called like a log; not read") for path, what in odd]
    return [Issue(inputs.name(path), kind, message) for path, kind, message in told]


def _nothing(inputs: Inputs, issues: list[Issue]) -> str:
    counts = Counter(issue.kind for issue in issues)
    first = next((f" {issue.file}: {issue.message}." for issue in issues), "")
    more = f" And {counts.total() - 1} more like it." if counts.total() > 1 else ""
    where = f"below {inputs}" if inputs.folders else f"in {inputs}"
    return (
        f"no lm_eval results file (results_<date>.json) {where}.{first}{more} "
        "Run lm_eval with --output_path and --log_samples, and give that folder."
    )


def _without_results(path: Path, file: LogFile, inputs: Inputs) -> Issue:
    beside = "of the same date in the folder" if file.date else "in the folder that names it"
    message = f"samples without a results file {beside}; left out"
    return Issue(inputs.name(path), "samples_without_results", message)


def _unambiguous(
    files: dict[Path, LogFile], results: list[Path], inputs: Inputs, issues: list[Issue]
) -> dict[str, Path]:
    """The sample files that one results file claims and that are there once; an issue for the others."""
    tasks: dict[str, list[Path]] = {}
    for path, file in files.items():
        tasks.setdefault(file.task or "", []).append(path)
    own: dict[str, Path] = {}
    for task, paths in tasks.items():
        names = ", ".join(path.name for path in paths)
        if len(results) > 1:
            claims = " and ".join(path.name for path in results)
            message = f"samples claimed by {claims}; left out. Keep one results file"
        elif len(paths) > 1:
            message = f"task {task} has several sample files ({names}); all left out. Keep one"
        else:
            own[task] = paths[0]
            continue
        kind = "ambiguous_samples" if len(results) > 1 else "duplicate_file"
        issues += [Issue(inputs.name(path), kind, message) for path in paths]
    return own

"""The layout of lm_eval 0.4.0 to 0.4.2: no date in any name, and samples named by the model's arguments and the task.

    results.json (or the name given as --output_path)   pretrained__org__model_arc_easy.jsonl

Every run overwrites results.json of its folder; samples of a run with other arguments stay beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .find import RunFiles
from .inputs import name_in
from .issues import Issue
from .values import LogError, number

if TYPE_CHECKING:
    from .runlog import RunLog

__all__ = ["claimed", "date_of", "settle"]


def claimed(content: Mapping[str, Any], loose: Iterable[Path]) -> dict[str, list[Path]]:
    """Sample files that a results file's content names, by task: of each name plain and packed, what is there."""
    config = content.get("config")
    arguments = config.get("model_args") if isinstance(config, Mapping) else None
    prefix = re.sub("/|=", "__", arguments if isinstance(arguments, str) else "")
    there = {path.name: path for path in loose}
    return {
        task: found
        for task in content["configs"]
        if (found := [there[name] for end in ("", ".gz") if (name := f"{prefix}_{task}.jsonl{end}") in there])
    }


def date_of(content: Mapping[str, Any], path: Path) -> tuple[str, bool]:
    """A date id in UTC, and whether the log tells it.

    lm_eval 0.4.2 wrote the run's start into its results; before that there is only the file's own time.

    Raises:
        LogError: If the file is gone.
    """
    if told := _date_id(content.get("date")):
        return told, True
    try:
        written = path.stat().st_mtime
    except OSError as error:
        raise LogError(f"can't be read ({error.strerror})") from error
    return _date_id(written) or "1970-01-01T00-00-00", False


def _date_id(seconds: Any) -> str | None:
    try:
        time = number(seconds)
        made = None if time is None else datetime.fromtimestamp(time, timezone.utc)
    except (LogError, OverflowError, OSError, ValueError):
        return None
    return None if made is None else made.replace(tzinfo=None).isoformat().replace(":", "-")


def settle(runs: list[RunLog], found: Iterable[RunFiles], root: Path) -> tuple[list[RunLog], list[Issue]]:
    """Leave out undated samples that no run claims, or more than one.

    Args:
        runs: All runs that were read.
        found: The files of all runs that were found.
        root: Issues name files relative to it.

    Returns:
        The runs without samples that another claims as well, and the issues.
    """
    loose = sorted({path for files in found for path in files.loose})
    claims = Counter(path for run in runs for path in set(run.samples.values()))
    twice = {path for path in loose if claims[path] > 1}
    issues = []
    for path in loose:
        if path in twice:
            message = "samples claimed by several results files of the folder; left out. Keep one results file"
            issues.append(Issue(name_in(root, path), "ambiguous_samples", message))
        elif not claims[path]:
            message = (
                "samples that no results file of the folder names; left out. "
                "lm_eval 0.4.0 to 0.4.2 keeps the last run's results only: give every run a folder"
            )
            issues.append(Issue(name_in(root, path), "samples_without_results", message))
    return [_without(run, twice) if twice & set(run.samples.values()) else run for run in runs], issues


def _without(run: RunLog, paths: set[Path]) -> RunLog:
    tasks = {name: replace(task, samples=None) if task.samples in paths else task for name, task in run.tasks.items()}
    return replace(run, tasks=tasks)

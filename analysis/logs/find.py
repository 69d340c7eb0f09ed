"""Which files belong together: a run is a results file and the samples of the same date id beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from .issues import Issue

__all__ = ["RunFiles", "find_runs"]

# datetime.isoformat() with ":" replaced; it leaves the fraction out when that happens to be 0.
_DATE = r"(?P<date>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:\.\d{1,6})?)"
_RESULTS = re.compile(rf"(?P<stem>.+)_{_DATE}\.json")
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_{_DATE}\.jsonl(?:\.gz)?")


@dataclass(frozen=True)
class RunFiles:
    """One results file and the sample files that came with it."""

    results: Path
    date_id: str
    samples: dict[str, Path] = field(default_factory=dict)
    """Sample file by task name."""


def find_runs(folder: Path) -> tuple[list[RunFiles], list[Issue]]:
    """Find every lm-eval run below a folder.

    Args:
        folder: Any folder; lm-eval's outputs may lie at any depth, several runs in one folder.

    Returns:
        The runs ordered by date and then path, and the issues: samples without a results file, a task's
        samples there twice (.jsonl and .jsonl.gz), samples that two results files claim. In each of these
        cases the sample files are left out.

    Raises:
        UserError: If the folder does not exist or holds no results file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the folder that lm_eval wrote to (--output_path).")
    results: dict[tuple[Path, str], list[Path]] = {}
    samples: dict[tuple[Path, str], dict[str, list[Path]]] = {}
    for path in sorted(path for path in folder.rglob("*_*.json*") if path.is_file()):
        if found := _SAMPLES.fullmatch(path.name):
            tasks = samples.setdefault((path.parent, found["date"]), {})
            tasks.setdefault(found["task"], []).append(path)
        elif found := _RESULTS.fullmatch(path.name):
            results.setdefault((path.parent, found["date"]), []).append(path)
    if not results:
        raise UserError(
            f"no lm_eval results file (results_<date>.json) below {folder}. "
            "Run lm_eval with --output_path and --log_samples, and give that folder."
        )
    issues: list[Issue] = []
    runs = []
    for key, paths in results.items():
        own = _unambiguous(samples.pop(key, {}), paths, folder, issues)
        runs += [RunFiles(results=path, date_id=key[1], samples=own) for path in paths]
    for tasks in samples.values():
        for path in (path for paths in tasks.values() for path in paths):
            message = "samples without a results file of the same date in the folder; left out"
            issues.append(Issue(str(path.relative_to(folder)), "samples_without_results", message))
    return sorted(runs, key=lambda run: (run.date_id, run.results)), issues


def _unambiguous(
    tasks: dict[str, list[Path]], results: list[Path], folder: Path, issues: list[Issue]
) -> dict[str, Path]:
    """The sample files that one results file claims and that are there once; an issue for the others."""
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
        issues += [Issue(str(path.relative_to(folder)), kind, message) for path in paths]
    return own

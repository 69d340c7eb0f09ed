"""Records of `lm-eval-ext profile` that lie among runs: bytes, memory and speed of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .content import load_object
from .inputs import Inputs
from .issues import Issue
from .results import RunLog
from .values import LogError
from .walk import walk

__all__ = ["Profile", "read_profiles"]

FORMAT, VERSION = "lm-eval-ext-profile", 1
_NAME = "profile_*.json"


@dataclass(frozen=True)
class Profile:
    """One record: one checkpoint, or the dense one and then the compressed one."""

    file: str
    """Relative to the analysed folder."""
    content: Mapping[str, Any]
    runs: tuple[str | None, ...]
    """For each side the run of these weights, None where there is none."""


def read_profiles(inputs: Inputs, runs: Mapping[str, RunLog]) -> tuple[list[Profile], list[Issue]]:
    """Find records and the runs that they are of.

    Args:
        inputs: What is analysed; its folders are searched for profile_*.json at any depth.
        runs: Runs by label.

    Returns:
        The records in order of their names, and an issue for each that can't be read or is of no run.
    """
    found, issues = [], []
    by_hash: dict[str, str] = {}
    for label, run in runs.items():
        # Keys and values in another form leave the weights, and what they take, as they are: the plain run goes first.
        for value in (run.facts["weights_hash"], run.facts["base_hash"] if run.is_dense else None):
            if value and (value not in by_hash or run.engine.kv_cache is None):
                by_hash.setdefault(value, label)
    for path in sorted(_files(inputs)):
        name = inputs.name(path)
        try:
            content = load_object(path)
            hashes = _hashes(content)
        except (ValueError, RecursionError) as fault:
            issues.append(Issue(name, "bad_profile", f"{fault}; the profile is left out"))
            continue
        of = tuple(by_hash.get(value) for value in hashes)
        if not any(of):
            told = f"no run has the weights of this profile ({', '.join(value[:12] for value in hashes)})"
            issues.append(Issue(name, "profile_of_no_run", f"{told}; it is in no table", "note"))
            continue
        found.append(Profile(name, content, of))
    return found, issues


def _files(inputs: Inputs) -> Iterable[Path]:
    return (path for path in walk(inputs.folders).files if fnmatchcase(path.name, _NAME))


def _hashes(content: Mapping[str, Any]) -> list[str]:
    """Of the weights of each side.

    Raises:
        LogError: If it is no record of ours, or of a later version.
    """
    if content.get("format") != FORMAT:
        raise LogError("not a record of lm-eval-ext profile")
    if content.get("version") != VERSION:
        raise LogError(f"a record of version {content.get('version')!r}, and this release reads version {VERSION}")
    sides = content.get("sides")
    if not isinstance(sides, list) or len(sides) not in (1, 2) or not all(isinstance(side, dict) for side in sides):
        raise LogError("sides: expected one or two objects")
    hashes = [side.get("weights_hash") for side in sides]
    if not all(isinstance(value, str) and value for value in hashes):
        raise LogError("sides: a hash of the weights is missing")
    return hashes

"""What a report folder holds by its own word, and which of it we wrote: nothing else is ever removed."""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import xxhash

__all__ = ["MARKER", "MARKER_FORMAT", "file_hash", "is_whole", "not_ours", "remove_report"]

MARKER = "report.json"
MARKER_FORMAT = "lm-eval-ext report"
"""Value of `format` in the marker file: what makes a folder ours."""

_TABLES = "tables"
# A report holds no others, whatever its marker says.
_NAMES = re.compile(
    rf"({re.escape(MARKER)}|summary\.md|issues\.csv|(items|documents)\.parquet|tables/[^/.]+\.(csv|parquet|json))"
)
_LARGEST = 64 << 20
"""Bytes of a marker; ours take some thousand."""


def file_hash(path: Path) -> str:
    """Hash of a file's bytes, as the marker lists it."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def not_ours(folder: Path) -> list[str] | None:
    """What a folder holds beside an earlier report.

    Args:
        folder: An existing folder that is no link.

    Returns:
        Paths inside it, sorted, with why where that is not plain; empty if all is a report's, or there is nothing.
        None if the folder holds something and no report.

    Raises:
        OSError: If it can't be read.
    """
    files, others = _held(folder)
    if not files and not others:
        return []
    listed = _listed(folder)
    if listed is None:
        return None
    strangers = [*others, *(name for name in files if name not in listed or not _NAMES.fullmatch(name))]
    # Markers of schema version 2 list names alone.
    changed = [
        f"{name}, changed since"
        for name in files
        if name not in strangers and listed[name] is not None and file_hash(folder / name) != listed[name]
    ]
    return sorted([*strangers, *changed])


def is_whole(folder: Path) -> bool:
    """Whether a folder is a report with every file that its marker lists, and nothing else."""
    try:
        listed = _listed(folder)
        return listed is not None and set(listed) == set(_held(folder)[0]) and not not_ours(folder)
    except OSError:
        return False


def remove_report(folder: Path) -> None:
    """Remove a report: the files that it lists, the marker last, and its folders where nothing is left in them.

    What can't be removed, or is not the report's, stays without an error.
    """
    with suppress(OSError):
        listed = _listed(folder) or {}
        files = [name for name in _held(folder)[0] if name in listed and _NAMES.fullmatch(name)]
        for name in sorted(files, key=lambda name: name == MARKER):
            (folder / name).unlink(missing_ok=True)
        for empty in (folder / _TABLES, folder):
            with suppress(FileNotFoundError):
                empty.rmdir()


def _held(folder: Path) -> tuple[list[str], list[str]]:
    """Plain files where a report has files, and whatever else there is; no link is followed."""
    files: list[str] = []
    others: list[str] = []
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False):
            files.append(entry.name)
        elif entry.name == _TABLES and entry.is_dir(follow_symlinks=False):
            for inner in os.scandir(entry.path):
                (files if inner.is_file(follow_symlinks=False) else others).append(f"{_TABLES}/{inner.name}")
        else:
            others.append(entry.name)
    return files, others


def _listed(folder: Path) -> dict[str, str | None] | None:
    """Files that the marker lists, with their hashes where it has them; None if it is absent or not ours."""
    path = folder / MARKER
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return None
        marker: Any = json.loads(path.read_bytes())
        files = marker["files"]
        if marker["format"] != MARKER_FORMAT or not isinstance(files, (dict, list)):
            return None
        return {str(name): files[name] for name in files} if isinstance(files, dict) else dict.fromkeys(map(str, files))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None

"""Runs that are there more than once: the same file by another way, or a copy of it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

from .inputs import name_in
from .issues import Issue

__all__ = ["first_copies"]


def first_copies(found: Mapping[Path, tuple[str | None, int]], root: Path) -> tuple[set[Path], list[Issue]]:
    """Choose one of all results files that are the same.

    Two are the same if they are one file (a link, a hard link), or hold the same bytes under the same date id: lm_eval
    writes the start and the duration of a run into them. Where samples lie beside some copies only, one of these stays.

    Args:
        found: By results file its date id, and how many samples files lie beside it.
        root: Issues name files relative to it.

    Returns:
        The results files to leave out, and a note for each that is a copy and not the same file.
    """
    order = sorted(found, key=lambda path: (-found[path][1], path.is_symlink(), path))
    dropped: set[Path] = set()
    first: dict[Hashable, Path] = {}
    for path in order:
        inode = _inode(path)
        if inode is not None and first.setdefault(inode, path) != path:
            dropped.add(path)
    issues = []
    for group in _alike([path for path in order if path not in dropped], found):
        kept: dict[bytes, Path] = {}
        for path in group:
            content = _digest(path)
            if content is not None and kept.setdefault(content, path) != path:
                dropped.add(path)
                message = f"a copy of {name_in(root, kept[content])}, byte by byte; counted once"
                issues.append(Issue(name_in(root, path), "copy", message, "note"))
    return dropped, issues


def _alike(paths: list[Path], found: Mapping[Path, tuple[str | None, int]]) -> Iterator[list[Path]]:
    """Files that can be copies of each other: of one date id and size, and not empty."""
    groups: dict[Hashable, list[Path]] = {}
    for path in paths:
        try:
            size = path.stat().st_size
        except OSError:
            continue
        if size:
            groups.setdefault((found[path][0], size), []).append(path)
    return (group for group in groups.values() if len(group) > 1)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if facts.st_ino else None


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None  # reading it says what is wrong

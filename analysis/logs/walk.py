"""Every file below some folders, links followed, and what could not be looked into."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Walk", "walk"]


@dataclass
class Walk:
    """What lies below some folders."""

    files: list[Path] = field(default_factory=list)
    """Files, through links too."""
    odd: list[tuple[Path, str]] = field(default_factory=list)
    """What is neither file nor folder (a pipe, a socket, a device), and what it is."""
    folders: list[Path] = field(default_factory=list)
    closed: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that can't be listed, and why."""
    broken: list[tuple[Path, str]] = field(default_factory=list)
    """Links that lead nowhere, and where to."""


def walk(folders: Iterable[Path], *, deep: bool = True) -> Walk:
    """List everything below folders.

    A folder that is reached twice, by a link or because it was given twice, is listed once: under its own name
    rather than a link's.

    Args:
        folders: Where to start.
        deep: Whether to go into the folders found.
    """
    found = Walk()
    seen: set[str] = set()
    waiting, linked = deque(folders), deque[Path]()
    while waiting or linked:
        folder = waiting.popleft() if waiting else linked.popleft()
        resolved = os.path.realpath(folder)
        if resolved in seen:
            continue
        seen.add(resolved)
        below, links = _list(folder, found)
        if deep:
            waiting.extendleft(reversed(below))
            linked.extend(links)
    return found


def _list(folder: Path, found: Walk) -> tuple[list[Path], list[Path]]:
    """Put a folder's entries where they belong; returns the folders in it, and the links to folders."""
    below: list[Path] = []
    links: list[Path] = []
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        found.closed.append((folder, error.strerror or type(error).__name__))
        return [], []
    for entry in entries:
        path = folder / entry.name
        try:
            if entry.is_dir():
                found.folders.append(path)
                (links if entry.is_symlink() else below).append(path)
            elif entry.is_file():
                found.files.append(path)
            elif entry.is_symlink() and not path.exists():
                found.broken.append((path, os.readlink(path)))
            else:
                found.odd.append((path, "a pipe" if path.is_fifo() else "a socket" if path.is_socket() else "a device"))
        except OSError as error:
            found.broken.append((path, error.strerror or type(error).__name__))
    return below, links

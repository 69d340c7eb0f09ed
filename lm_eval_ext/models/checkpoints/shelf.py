"""What lies in the cache of checkpoints, and how to get rid of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.checkpoints.kept import throw_away
from lm_eval_ext.models.checkpoints.manifest import MANIFEST, manifest_of

__all__ = ["Entry", "clear", "entries"]

_KEY_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One folder of the cache; its files are not hashed here."""

    path: Path
    label: str
    """What it holds, or why that can't be told."""
    bytes: int
    made: str
    """UTC, to the minute."""


def entries(cache: Path) -> list[Entry]:
    """Everything that lies there, newest first: whole folders, damaged ones, and what a process left that died."""
    found = []
    for path in cache.iterdir() if cache.is_dir() else ():
        if not path.is_dir() or not _ours(path):
            continue
        try:
            facts = manifest_of(path)["facts"]
            label = f"{facts.get('label', '?')} of {facts.get('base', '?')}"
        except UserError as error:
            label = "left half way" if path.name.startswith(".partial-") else f"damaged: {error}"
        made = (path / MANIFEST if (path / MANIFEST).is_file() else path).stat().st_mtime
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        found.append((made, Entry(path=path, label=label, bytes=size, made=_minute(made))))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]


def clear(cache: Path) -> tuple[int, int]:
    """Remove all of it; other files in that folder stay.

    A process that is writing one at the moment will fail to keep it, and goes on without.

    Returns:
        How many folders went, and how many bytes.

    Raises:
        OSError: If one can't be removed.
    """
    gone = entries(cache)
    for entry in gone:
        if entry.path.name.startswith(".partial-"):
            shutil.rmtree(entry.path)
        else:
            throw_away(entry.path)
    return len(gone), sum(entry.bytes for entry in gone)


def _ours(path: Path) -> bool:
    digits = path.name.removeprefix(".partial-").partition("-")[0]
    return len(digits) == _KEY_DIGITS and all(letter in "0123456789abcdef" for letter in digits)


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")

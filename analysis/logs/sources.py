"""One samples file, from the cache where it was read before, and into it where it was not."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from . import cache
from .documents import DocumentStore, Gathered
from .issues import Issue
from .mishap import mishap
from .results import TaskLog
from .samples import SamplesRead, read_file
from .table import FILE_SCHEMA

__all__ = ["Outcome", "Source", "keep_documents", "nothing_read", "read_source", "spill_source"]


@dataclass(frozen=True)
class Source:
    """A samples file and what the results file says of its task."""

    path: Path
    task: TaskLog


@dataclass
class Outcome:
    """What became of a file."""

    read: SamplesRead | None
    """What it held; None where that is only on disk."""
    entry: Path | None = None
    """Where that is on disk, if it is."""
    fault: str | None = None
    """Why the cache could not be written."""


def read_source(source: Source, folder: Path) -> Outcome:
    """Read a file, or take what the cache in `folder` has of it; what was read is kept there if it is worth it.

    An error that nobody foresaw leaves the file out, with an issue; `mishap` says which errors end everything.
    """
    try:
        return _read_or_load(source, folder)
    except Exception as error:
        return Outcome(nothing_read(mishap(error)))


def nothing_read(why: Issue) -> SamplesRead:
    """What is left of a file that could not be read."""
    return SamplesRead(FILE_SCHEMA.empty_table(), [why], False, None, Gathered(), unreadable=True)


def _read_or_load(source: Source, folder: Path) -> Outcome:
    path = source.path
    try:
        before = path.stat()
        entry = folder / cache.entry_name(path, source.task) if before.st_size >= cache.SMALLEST else None
    except OSError:
        entry = None  # reading it says what is wrong
    if entry is None:
        return Outcome(_read(source))
    if (known := cache.load(entry)) is not None:
        return Outcome(known, entry)
    found = _read(source)
    try:
        # What was written to meanwhile, or could not be read to its end, may not be what the entry's name says.
        after = path.stat()
        if found.unreadable or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return Outcome(found)
        cache.save(found, entry)
    except OSError as error:
        return Outcome(found, fault=str(error))
    return Outcome(found, entry)


def keep_documents(source: Source, outcome: Outcome, store: DocumentStore) -> None:
    """Put a file's documents into a store; where the cache's turn out damaged, those of the file itself."""
    assert outcome.read is not None
    try:
        store.append(outcome.read.documents)
    except (OSError, ValueError, pa.ArrowException):
        if outcome.entry is None:
            raise
        cache.forget(outcome.entry)
        store.append(_read(source).documents)


def _read(source: Source) -> SamplesRead:
    with _no_search_for_cycles():
        return read_file(source.path, source.task)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Reading makes no cycles, and looking for them among its many rows takes a twentieth of its time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def spill_source(source: Source, folder: Path, spill: Path) -> Outcome:
    """As `read_source`, for another process to take up: on disk, in `spill` where the cache does not have it.

    Raises:
        OSError: If `spill` can't be written.
    """
    outcome = read_source(source, folder)
    if outcome.entry is None and outcome.read is not None:
        outcome.entry = spill / f"{uuid4().hex}.parquet"
        cache.save(outcome.read, outcome.entry)
    outcome.read = None
    return outcome

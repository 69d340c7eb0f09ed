"""Folders kept by what they were made of: whole or not there at all, and checked whenever they are used again.

A folder is made beside its place, flushed to the disk, sealed with a manifest (the hash of every file), and renamed
into place: a rename is all or nothing. One lock a key lets one process make it while others wait. A process that dies
leaves a partial folder, which the next one removes, and no lock: the system takes that back.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError, one_line
from lm_eval_ext.models.checkpoints.manifest import digest_of, read_manifest, write_manifest

__all__ = ["CacheError", "Kept", "disk_fault", "kept", "throw_away"]

log = logging.getLogger(__name__)

# A process that makes a checkpoint takes minutes; one that only reads it, seconds.
_SAY_AFTER = 2.0
_OF_THE_DISK = {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EROFS}
# "I/O error: No space left on device (os error 28)", and in older releases "IoError(Os { code: 28, ...".
_NUMBER = re.compile(r"(?:os error|code:) (\d+)")


class CacheError(UserError):
    """The folder of the cache can't be written (read-only, full disk); what was asked can be done without it."""


@dataclass(frozen=True)
class Kept:
    """A folder that is whole, as the hashes of its files say."""

    path: Path
    facts: dict[str, Any]
    """What `write` gave back when it was made."""
    reused: bool
    """Whether it was there already."""


def kept(cache: Path, key: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]) -> Kept:
    """The folder that belongs to a key: the one that is there, else a new one.

    Args:
        cache: Folder of all of them; made if it is not there.
        key: All that decides what the folder holds (hashes of weights and calibration text, resolved recipe,
            versions), as plain JSON data. Two keys with the same JSON are the same key.
        write: Fills an empty folder with plain files and returns facts about it, as plain JSON data. Called at most
            once, by one process at a time for this key. What it raises is raised again, and nothing is kept.

    Returns:
        The folder, with every file hashed in this call. One whose files are not what its manifest says is thrown away
        with a warning and made again.

    Raises:
        CacheError: If the cache can't be written: a read-only folder, a full disk, a limit on file sizes. In a
            read-only cache a folder that is whole is still used.
    """
    digest = digest_of(key)
    place = cache / digest
    try:
        with _locked(cache, digest):
            if (found := _usable(place, key)) is not None:
                return found
            return _make(cache, place, key, write)
    except _NotLockedError as error:
        if (found := _usable(place, key)) is not None:
            return found
        raise _unusable(cache, error.reason) from error.reason


def _make(cache: Path, place: Path, key: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]) -> Kept:
    """Make a folder beside its place and rename it; the caller has the lock."""
    for left in cache.glob(f".partial-{place.name}-*"):  # of processes that died: we have their lock
        shutil.rmtree(left, ignore_errors=True)
    partial = cache / f".partial-{place.name}-{uuid.uuid4().hex[:8]}"
    try:
        if place.exists():
            throw_away(place)
        partial.mkdir()
        facts = write_manifest(partial, key, write(partial))
        _flush(partial)
        partial.rename(place)
        _flush(cache)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if (reason := disk_fault(error)) is not None:
            raise _unusable(cache, reason) from error
        raise
    log.info("kept in %s", place)
    return Kept(path=place, facts=facts, reused=False)


def _usable(place: Path, key: Mapping[str, Any]) -> Kept | None:
    """What lies there, if it is whole and of this key; None with a warning if it is not, without one if nothing is."""
    if not place.exists():
        return None
    try:
        facts = read_manifest(place, key)
    except UserError as error:
        log.warning("%s is damaged (%s) and is not used; it is made again", place, error)
        return None
    log.info("found in %s", place)
    return Kept(path=place, facts=facts, reused=True)


def throw_away(place: Path) -> None:
    """Remove a folder so that nobody sees a part of it under its name.

    Raises:
        OSError: If it can't be removed.
    """
    gone = place.with_name(f".partial-{place.name}-{uuid.uuid4().hex[:8]}")
    place.rename(gone)
    shutil.rmtree(gone)


def disk_fault(error: BaseException) -> OSError | None:
    """The fault of the disk behind an exception, or None if it is another one.

    safetensors tells of a full disk in the text of an error of its own.
    """
    if isinstance(error, OSError):  # those of the network are OSErrors too, without one of these numbers
        return error if error.errno in _OF_THE_DISK else None
    if type(error).__name__ == "SafetensorError" and (found := _NUMBER.search(str(error))) is not None:
        number = int(found[1])
        return OSError(number, os.strerror(number)) if number in _OF_THE_DISK else None
    return None


def _unusable(cache: Path, reason: OSError) -> CacheError:
    said = (one_line(reason) or str(reason)).removesuffix(" (LM_EVAL_EXT_DEBUG=1 shows where)")
    return CacheError(f"nothing can be kept in {cache} ({said}); make room, or set LM_EVAL_EXT_CACHE or HF_HOME")


def _flush(folder: Path) -> None:
    """See that a folder's list of names is on the disk; not every system lets a folder be flushed."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class _NotLockedError(Exception):
    """There can be no lock, because nothing can be written."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def _locked(cache: Path, digest: str) -> Iterator[None]:
    """Let the body run in one process at a time for a key, on one machine or where the file system locks files."""
    from filelock import FileLock, Timeout

    try:
        (cache / ".locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(cache / ".locks" / f"{digest}.lock"))
        try:
            lock.acquire(timeout=_SAY_AFTER)
        except Timeout:
            log.warning("another process works on %s; this one waits for it", cache / digest)
            lock.acquire()
    except OSError as error:
        raise _NotLockedError(error) from error
    try:
        yield
    finally:
        lock.release()

"""A report folder appears whole or not at all, and never in place of anything but an earlier report."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError
from .contents import MARKER, not_ours, remove_report
from .leftovers import Hold, clear_leftovers, new_stage, place_for

__all__ = ["check_target", "staged_folder"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PATIENCE, _PAUSE = 60.0, 0.02
"""Seconds to wait for others that put a report into the same place, and between two tries."""


def check_target(output: Path, *sources: Path) -> None:
    """Make sure that a report may be written to a folder.

    Raises:
        UserError: If it is a file, is or holds anything that is analysed, or holds anything that an earlier
            report did not write.
    """
    target = output.resolve()
    for source in sources:
        inside = source.resolve()
        if target == inside or target in inside.parents:
            kind = "file" if source.is_file() else "folder"
            raise UserError(f"--output {output} is or holds the analysed {kind} {source}. Name another folder.")
    # Another analysis may be putting a report there: a fault counts if the folder was one and the same meanwhile.
    while before := _identity(target):
        fault = _fault(target, output)
        if fault is None:
            return
        if before == _identity(target):
            raise UserError(fault)


@contextmanager
def staged_folder(output: Path, *sources: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its place when the block ends without an error.

    What earlier analyses with this target have left when they were killed is cleared away first.

    Args:
        output: Folder to write; an earlier report there is replaced.
        sources: Folders and files that are analysed.

    Yields:
        The temporary folder. After an error it is removed, and what was at `output` is untouched.

    Raises:
        UserError: As `check_target`, before anything is written and again before anything is replaced; if the folder
            can't be created, or the disk is full.
    """
    target = output.resolve()
    clear_leftovers(target)
    check_target(output, *sources)
    try:
        stage, hold = new_stage(target)
    except OSError as error:
        raise UserError(f"--output {output} can't be created: {error}") from error
    try:
        yield stage
        _put(stage, target, output)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            f"--output {output} can't be written: {os.strerror(error.errno)}. "
            "Free some space or name another folder; what was there is as before."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        hold.let_go()


def _put(stage: Path, target: Path, output: Path) -> None:
    """Let the stage become the target. Several may do so at once: each waits, and the last one stays."""
    until = time.monotonic() + _PATIENCE
    while not (_take(stage, target) or _replace(stage, target, output)):
        if time.monotonic() > until:
            raise UserError(f"--output {output} is held by another analysis. Wait for it, or name another folder.")
        time.sleep(_PAUSE)


def _take(stage: Path, target: Path) -> bool:
    """Give the stage the target's name if that is free, or an empty folder's."""
    try:
        stage.rename(target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True


def _replace(stage: Path, target: Path, output: Path) -> bool:
    """Move an earlier report away, put the stage into its place and remove it; False if another was faster."""
    hold = Hold(target)
    try:
        if not hold.free or (hold.held and not hold.is_at(target)):
            return False
        before = _identity(target)
        fault = _fault(target, output)
        if before is None or before != _identity(target):
            return False
        if fault is not None:
            raise UserError(fault)
        old = place_for(target, "old")
        try:
            target.rename(old)
        except FileNotFoundError:
            return False
        try:
            done = _take(stage, target)
        except BaseException:
            with suppress(OSError):
                old.rename(target)
            raise
        remove_report(old)
        return done
    finally:
        hold.let_go()


def _fault(target: Path, output: Path) -> str | None:
    """Why what is at the target may not be replaced, or None if it may."""
    if not target.is_dir():
        return f"--output {output} is a file. Name a folder."
    try:
        strangers = not_ours(target)
    except OSError as error:
        return f"--output {output} can't be read: {error.strerror}. Name another folder."
    if strangers is None:
        return f"--output {output} is not empty and no earlier report ({MARKER} is absent or another's)."
    if strangers:
        shown = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
        return f"--output {output} holds files that are not the report's ({shown}). Move them away first."
    return None


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Which folder it is. The number of one that was removed may be a new one's: the time of its last change tells."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None  # making it says what is wrong
    return found.st_dev, found.st_ino, found.st_ctime_ns

"""What an analysis that was killed has left beside its report: found by name, and taken away or put back."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import xxhash

from .contents import is_whole, remove_report

__all__ = ["Hold", "clear_leftovers", "new_stage", "place_for"]

_DAY = 24 * 3600.0
_HERE = xxhash.xxh32_hexdigest(socket.gethostname().encode("utf-8", "replace"))


class Hold:
    """A folder held by this process, as long as it lives and the folder exists, under whatever name.

    The kernel lets go when the process ends, however it ends. Not every file system can do it: then nothing is held.
    """

    def __init__(self, folder: Path) -> None:
        """Try to hold a folder; `held` says whether it worked, `free` whether anybody else holds it."""
        self.held, self.free = False, True
        self._file: int | None = None
        try:
            import fcntl

            self._file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except BlockingIOError:
            self.free = False
        except (ImportError, AttributeError, OSError):
            pass

    def is_at(self, folder: Path) -> bool:
        """Whether what is held is what has this name now."""
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file), folder.lstat())
        except OSError:
            return False

    def let_go(self) -> None:
        """Hold it no more."""
        if self._file is not None:
            os.close(self._file)
            self._file, self.held = None, False


def place_for(target: Path, what: str) -> Path:
    """A free name beside the target: "partial" for what becomes it, "old" for what it was."""
    return target.parent / f".{target.name}.{_HERE}-{uuid4().hex[:8]}.{what}"


def new_stage(target: Path) -> tuple[Path, Hold]:
    """A new folder beside the target, held. Raises OSError if it can't be made."""
    while True:
        stage = place_for(target, "partial")
        stage.mkdir(parents=True)
        hold = Hold(stage)
        # One that clears leftovers may have been faster than our hold, and taken it for one.
        if hold.is_at(stage) if hold.held else hold.free and stage.exists():
            return stage, hold
        hold.let_go()


def clear_leftovers(target: Path) -> None:
    """Remove folders that analyses with this target have left, and put the report back that one has moved away.

    A folder is left over if nobody holds it and it is of this machine, or if nothing in it has changed for a day.
    Only folders with the names of `place_for` are looked at. What can't be removed stays without an error.

    Args:
        target: Report folder, resolved.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.(?:([0-9a-f]{{8}})-)?[0-9a-f]{{8}}\.(partial|old)")
    try:
        entries = [(Path(entry.path), name.fullmatch(entry.name)) for entry in os.scandir(target.parent)]
    except OSError:
        return
    ours = [(path, found) for path, found in entries if found and path.is_dir() and not path.is_symlink()]
    # The latest report that was moved away comes first: it is the one to put back.
    for path, found in sorted(ours, key=lambda entry: -_changed(entry[0])):
        hold = Hold(path)
        try:
            if not _is_left(path, hold, here=found[1] == _HERE):
                continue
            if found[2] == "partial":
                shutil.rmtree(path, ignore_errors=True)
            elif not target.exists() and is_whole(path):
                with suppress(OSError):
                    path.rename(target)
            else:
                remove_report(path)
        finally:
            hold.let_go()


def _is_left(path: Path, hold: Hold, here: bool) -> bool:
    if not hold.free:
        return False
    return (here and hold.held) or time.time() - _changed(path) > _DAY


def _changed(folder: Path) -> float:
    """When something in a folder was last written; now if that can't be told."""
    try:
        return max(entry.lstat().st_mtime for entry in (folder, *folder.iterdir()))
    except OSError:
        return time.time()

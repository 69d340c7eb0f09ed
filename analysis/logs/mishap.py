"""The net below every reader: an error that nobody foresaw costs the file that was read, not the analysis."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from ..errors import debugging
from .issues import Issue

__all__ = ["is_full_disk", "mishap"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full_disk(error: BaseException) -> bool:
    """Whether the system had no room for what was written: no fault of the file that is read."""
    return isinstance(error, OSError) and error.errno in _FULL


def mishap(error: Exception, file: str = "") -> Issue:
    """Turn an error of reading one file into an issue.

    Args:
        error: The error, while it is handled.
        file: Name of the file, if it is known yet.

    Returns:
        What is wrong with a file that can't be read, or, for any other error, that the fault is ours.

    Raises:
        Exception: The error itself, if memory or the disk is full; with LM_EVAL_EXT_DEBUG=1 every fault of ours.
    """
    if isinstance(error, MemoryError) or is_full_disk(error):
        raise error
    if isinstance(error, OSError):
        return Issue(file, "unreadable", f"can't be read ({error.strerror or type(error).__name__}); left out")
    if debugging():
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    said = str(error).encode("utf-8", "backslashreplace").decode()[:200]
    message = (
        f"left out by a fault of ours: {type(error).__name__}{where}: {said}. "
        "Please report it with this line; LM_EVAL_EXT_DEBUG=1 shows where"
    )
    return Issue(file, "our_fault", message)

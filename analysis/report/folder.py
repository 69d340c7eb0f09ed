"""A report folder appears whole or not at all, and never in place of anything but an earlier report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ..errors import UserError

__all__ = ["MARKER", "MARKER_FORMAT", "check_target", "staged_folder"]

MARKER = "report.json"
MARKER_FORMAT = "lm-eval-ext report"
"""Value of `format` in the marker file: what makes a folder ours."""


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
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"--output {output} is a file. Name a folder.")
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if not files:
        return
    try:
        marker = json.loads((target / MARKER).read_bytes())
        ours = marker["format"] == MARKER_FORMAT
        foreign = sorted(files - set(marker["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        ours, foreign = False, []
    if not ours:
        raise UserError(f"--output {output} is not empty and no earlier report ({MARKER} is absent or another's).")
    if foreign:
        shown = ", ".join(foreign[:3])
        raise UserError(f"--output {output} holds files that are not the report's ({shown}). Move them away first.")


@contextmanager
def staged_folder(output: Path, *sources: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its place when the block ends without an error.

    Args:
        output: Folder to write; an earlier report there is replaced.
        sources: Folders and files that are analysed.

    Yields:
        The temporary folder. After an error it is removed, and what was at `output` is untouched.

    Raises:
        UserError: As `check_target`, before anything is written; or if the folder can't be created.
    """
    check_target(output, *sources)
    target = output.resolve()
    stage = target.parent / f".{target.name}.{uuid4().hex[:8]}.partial"
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"--output {output} can't be created: {error}") from error
    try:
        yield stage
        _put(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _put(stage: Path, target: Path) -> None:
    if not target.exists():
        stage.rename(target)
        return
    old = stage.with_suffix(".old")
    target.rename(old)
    try:
        stage.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)

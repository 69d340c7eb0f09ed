"""What is analysed: folders, files and patterns as somebody gave them, and the names that files get in the report."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

__all__ = ["Inputs", "name_in"]


@dataclass(frozen=True)
class Inputs:
    """Folders and files to analyse."""

    given: tuple[str, ...]
    """As they were given."""
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    root: Path
    """Files are named relative to it: the folder given if it is the only input, else what all inputs share."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All folders and files."""
        return (*self.folders, *self.files)

    def name(self, path: Path) -> str:
        """A name of a path below, as `name_in`."""
        return name_in(self.root, path)

    def __str__(self) -> str:
        return ", ".join(self.given)

    @classmethod
    def of(cls, given: Inputs | Path | str | Iterable[Path | str]) -> Inputs:
        """Look up what was given.

        Args:
            given: A folder, file or pattern (`runs/*/results_*.json`, `**` for any depth), or several. What is there
                under the very name is no pattern.

        Raises:
            UserError: If nothing was given, something is not there, or a pattern matches nothing.
        """
        if isinstance(given, Inputs):
            return given
        named = [str(entry) for entry in ([given] if isinstance(given, (str, Path)) else given)]
        if not named:
            raise UserError("no runs given. Give the folder that lm_eval wrote to (--output_path).")
        found = [Path(path) for entry in named for path in _expand(entry)]
        folders = tuple(path for path in found if path.is_dir())
        files = tuple(path for path in found if not path.is_dir())
        root = found[0] if len(found) == 1 and folders else _common([*folders, *(path.parent for path in files)])
        return cls(tuple(_shown(entry) for entry in named), folders, files, root)


def _expand(entry: str) -> list[str]:
    if entry.startswith("hf:"):
        raise UserError(
            f"{_shown(entry)}: runs on the Hugging Face hub can't be read yet. "
            "Download them (hf download NAME --repo-type dataset --local-dir runs) and give the folder."
        )
    if os.path.lexists(entry):
        return [entry]
    if not glob.has_magic(entry):
        raise UserError(
            f"{_shown(entry)} is not a folder or a file that is there. "
            "Give the folder that lm_eval wrote to (--output_path)."
        )
    found = sorted(glob.glob(entry, recursive=True))
    if not found:
        raise UserError(f"no file or folder matches {_shown(entry)}. Look with: ls {_shown(entry)}")
    return found


def _common(folders: list[Path]) -> Path:
    try:
        return Path(os.path.commonpath([os.path.abspath(path) for path in folders]))
    except ValueError:  # two drives
        return Path()


def name_in(root: Path, path: Path) -> str:
    r"""A path's name in the report: relative to the root where it lies below, and always text.

    Bytes that are no UTF-8 are written as escapes (`\udce9`).
    """
    for base, inside in ((root, path), (os.path.abspath(root), Path(os.path.abspath(path)))):
        try:
            return _shown(inside.relative_to(base))
        except ValueError:
            continue
    return _shown(path)


def _shown(path: Path | str) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()

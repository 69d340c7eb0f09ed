"""Where a data set's rows come from: the hub, a folder of files, or the package itself."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lm_eval_ext.errors import UserError, unknown_name

__all__ = ["Place", "Source", "read_rows"]

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for messages, and the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A place that rows can be read from."""

    kind: str
    """"hub", "dir" or "demo"."""
    folder: Path | None = None
    """The local copy, for "dir"."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one data set can be had.

    The user chooses by the metadata `NAME_source` ("hub", "dir", "demo") and `NAME_dir`, or by the environment variable
    LM_EVAL_EXT_NAME_DIR.
    """

    name: str
    """What the keys of the metadata begin with: "bbq"."""
    title: str
    """What messages call the items: "BBQ's items"."""
    files: str
    """What messages call a local copy: "BBQ's files"."""
    hub: str
    """The data set's name on the hub."""
    suffix: str = ".jsonl"
    """Of its files, ".jsonl" or ".csv"; each may be compressed (.gz)."""
    packaged: Path | None = None
    """A file in this package."""
    packaged_task: str = ""
    """The task that asks the packaged items."""

    @property
    def variable(self) -> str:
        """The environment variable that names the folder."""
        return f"LM_EVAL_EXT_{self.name.upper()}_DIR"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The sources that there are."""
        return ("hub", "dir", "demo") if self.packaged else ("hub", "dir")

    @property
    def hint(self) -> str:
        """One sentence on the sources, for messages."""
        hub = (
            f"the hub ({self.hub}; needs a connection or a filled cache; "
            f"""--metadata '{{"{self.name}_source": "hub"}}')"""
        )
        folder = (
            f"""a local copy of {self.files} (--metadata '{{"{self.name}_dir": "FOLDER"}}' or {self.variable}=FOLDER)"""
        )
        if self.packaged is None:
            return f"{self.title} come from one of two sources: {hub}, or {folder}."
        packaged = f"the packaged demonstration items (--tasks {self.packaged_task})"
        return f"{self.title} come from one of three sources: {hub}, {folder}, or {packaged}."

    def choose(self, metadata: Mapping[str, Any]) -> Source:
        """Say where the rows come from.

        Args:
            metadata: What the user gave; keys that don't begin with the data set's name are left alone. The folder in
                the metadata wins over the environment's. Without a source it is "dir" where a folder is named in
                either way, otherwise "hub".

        Returns:
            The source.

        Raises:
            UserError: If the source is none of those that there are, or "dir" without a folder.
        """
        folder = metadata.get(f"{self.name}_dir") or os.environ.get(self.variable)
        kind = metadata.get(f"{self.name}_source") or ("dir" if folder else "hub")
        if kind not in self.kinds:
            raise unknown_name(f"{self.name}_source", str(kind), list(self.kinds))
        if kind == "dir" and not folder:
            raise UserError(f"{self.name}_source is 'dir', but no folder is named. {self.hint}")
        return Source(kind=kind, folder=Path(str(folder)).expanduser() if kind == "dir" else None)

    def rows(
        self, source: Source, names: Sequence[str], of_hub: Callable[[str], Mapping[str, str]]
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Read files or splits, in the order asked.

        Args:
            source: Hub or folder.
            names: Of the files, without suffix.
            of_hub: For a file's name, what `load_dataset` is given beside the data set's: `name`, `split`.

        Yields:
            The file's name, where the row stands, and the row.

        Raises:
            UserError: If something of it cannot be had.
        """
        if source.kind == "hub":
            for name in names:
                yield from ((name, *row) for row in self.hub_rows(**of_hub(name)))
            return
        assert source.folder is not None
        for name, path in self.find_files(source.folder, names).items():
            yield from ((name, *row) for row in read_rows(path))

    def find_files(self, folder: Path, names: Sequence[str]) -> dict[str, Path]:
        """Find files in a folder and its subfolders, by their names up to the first full stop, in either case.

        Raises:
            UserError: If the folder is none, or lacks a file, or has several of one name.
        """
        said = f"{self.name}_dir {str(folder)!r}"
        if not folder.is_dir():
            raise UserError(f"{said} is not a folder. {self.hint}")
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob(f"*{self.suffix}")) + sorted(folder.rglob(f"*{self.suffix}.gz")):
            found.setdefault(path.name.split(".")[0].lower(), []).append(path)
        missing = [name for name in names if name.lower() not in found]
        if missing:
            raise UserError(
                f"{said} has no file for {', '.join(missing)} (looked for {missing[0]}{self.suffix} or "
                f"{missing[0]}{self.suffix}.gz, also in its subfolders). {self.hint}"
            )
        for name in names:
            if len(found[name.lower()]) > 1:
                paths = ", ".join(str(path.relative_to(folder)) for path in found[name.lower()])
                raise UserError(f"{said} has several files for {name}: {paths}. Name the folder of one.")
        return {name: found[name.lower()][0] for name in names}

    def hub_rows(self, **wanted: str) -> Iterator[Row]:
        """Read one split of the hub's data set.

        Args:
            **wanted: What `datasets.load_dataset` is given beside its name: `name`, `split`.

        Raises:
            UserError: If it cannot be had.
        """
        import datasets  # slow to import, and not needed for the other sources

        where = ", ".join([self.hub, *(f"{key} {value!r}" for key, value in wanted.items())])
        try:
            data = datasets.load_dataset(self.hub, **wanted)
        except Exception as fault:  # the hub's client fails in many ways; to the user they are one
            reason = f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else 'no reason given'}"
            raise UserError(f"{where}, cannot be had ({reason}). {self.hint}") from None
        for number, raw in enumerate(data):
            yield f"{where}, row {number}", raw


def read_rows(path: Path) -> Iterator[Row]:
    """Read a file of JSON lines or comma-separated values, compressed or not.

    Args:
        path: Ends in .jsonl or .csv, and .gz behind it.

    Yields:
        Where each row stands, and the row: a JSON object, or the texts by the table's head.

    Raises:
        UserError: If the file can't be read, holds no rows, or a row is none.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number, rows = 0, 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            for number, raw in (_table if ".csv" in path.suffixes else _objects)(file, path):
                rows += 1
                yield f"{path} line {number}", raw
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as fault:
        raise UserError(f"{path}: cannot be read beyond line {number}: {fault}.") from None
    if not rows:
        raise UserError(f"{path}: holds no rows.")


def _objects(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            raw = json.loads(line)
        except json.JSONDecodeError as fault:
            raise UserError(f"{where}: not JSON: {fault.msg} at column {fault.colno}.") from None
        if not isinstance(raw, dict):
            raise UserError(f"{where}: a JSON object was expected, {type(raw).__name__} was found.")
        yield number, raw


def _table(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(file, strict=True)
    for raw in reader:
        if None in raw or None in raw.values():
            raise UserError(f"{path} line {reader.line_num}: expected {len(reader.fieldnames or ())} values.")
        yield reader.line_num, raw

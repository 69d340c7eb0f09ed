"""How a table declares itself, and how declared tables are made: each from what it needs, each once.

A table of the report is a `ReportTable` beside the code that computes it, and one line in `tables/catalogue.py`.
Nothing is registered or found by name: what a table needs is named by reference, so that it can be followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pandas as pd

from .columns import Table

__all__ = ["AnyTable", "LongTable", "Making", "Need", "ReportTable", "Source", "Step"]


@dataclass(frozen=True, eq=False)
class Source:
    """What tables are made from and what is given, not made: by the pipeline, or in a notebook."""

    name: str
    doc: str


@dataclass(frozen=True, eq=False)
class Step:
    """What several tables are made from: models that are fitted together, or items that are read for them."""

    name: str
    needs: tuple[Need, ...]
    make: Callable[..., Any]
    """From the values of `needs`, in their order."""


@dataclass(frozen=True, eq=False)
class _Listed:
    holds: Table
    """Name, doc and columns."""
    needs: tuple[Need, ...]
    """Sources, steps and other tables. Where one of them is not there, the table is empty."""
    reading: tuple[str, ...] = field(default=(), kw_only=True)
    """What a row says, in words, after what it is about: `analysis.result.reading` has the form. The first one is taken
    whose columns are all there in the row."""

    @property
    def name(self) -> str:
        """Of the table and of its files."""
        return self.holds.name

    @property
    def doc(self) -> str:
        """What the table holds, in a sentence."""
        return self.holds.doc


@dataclass(frozen=True, eq=False)
class ReportTable(_Listed):
    """A table of the report: what it holds, what it needs, and how it is computed."""

    make: Callable[..., pd.DataFrame]
    """From the values of `needs`, in their order: a frame that conforms to `holds`."""


@dataclass(frozen=True, eq=False)
class LongTable(_Listed):
    """A table that may be too long for memory. It is written part by part, and read from the report when asked for."""

    make: Callable[..., Iterable[pd.DataFrame]]
    """From the values of `needs`, in their order: its rows in parts, each made when the one before it is written. Parts
    hold the columns of `holds`; texts may be categories."""
    csv_where: str
    """A boolean column: CSV gets the rows where it is true, Parquet all."""


AnyTable: TypeAlias = "ReportTable | LongTable"
Need: TypeAlias = "Source | Step | ReportTable"


class Making:
    """Tables, and the steps before them, made once each from what is given."""

    def __init__(self, given: Mapping[Need, Any]) -> None:
        """Start from values of sources; a step or table that is given too is not made."""
        self._known = dict(given)

    def give(self, need: Need, value: Any) -> None:
        """Add a value that is there from now on."""
        self._known[need] = value

    def can(self, need: Need | LongTable) -> bool:
        """Whether everything is there that it is made from."""
        return not self._missing(need)

    def _missing(self, need: Need | LongTable) -> list[str]:
        """Names of the sources that are not there."""
        if not isinstance(need, LongTable) and need in self._known:
            return []
        if isinstance(need, Source):
            return [need.name]
        return [name for other in need.needs for name in self._missing(other)]

    def of(self, need: Need) -> Any:
        """Its value, made if it is not there yet; a table that can't be made is empty.

        Raises:
            LookupError: For a source that was not given, or a step that needs one.
        """
        if need not in self._known:
            missing = self._missing(need)
            if missing and isinstance(need, ReportTable):
                return need.holds.empty()
            if missing or isinstance(need, Source):
                raise LookupError(f"{need.name}: {', '.join(missing)} is not given")
            self._known[need] = need.make(*(self.of(other) for other in need.needs))
        return self._known[need]

    def tables(self, catalogue: Iterable[AnyTable]) -> dict[str, pd.DataFrame]:
        """Every table of a catalogue by name, in its order, but the long ones.

        Raises:
            ValueError: If two tables have one name: the second file would take the place of the first.
        """
        out: dict[str, pd.DataFrame] = {}
        names = set()
        for entry in catalogue:
            if entry.name in names:
                raise ValueError(f"two tables of the catalogue have the name {entry.name!r}")
            names.add(entry.name)
            if isinstance(entry, ReportTable):
                out[entry.name] = self.of(entry)
        return out

    def parts(self, catalogue: Iterable[AnyTable]) -> dict[str, Iterable[pd.DataFrame]]:
        """The long tables of a catalogue by name: parts that are made one by one; none where a source is not there."""
        return {
            entry.name: entry.make(*(self.of(other) for other in entry.needs)) if self.can(entry) else ()
            for entry in catalogue
            if isinstance(entry, LongTable)
        }

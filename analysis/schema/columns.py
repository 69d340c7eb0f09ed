"""What a table holds: the one declaration that code, tests and docs/tables.md share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
from pandas.api.types import pandas_dtype

__all__ = ["Column", "Table", "TableError", "count", "ends", "flag", "number", "text"]

_DTYPES = {
    "string": "string",
    "integer": "Int64",
    "float": "Float64",
    "boolean": "boolean",
    "list": "object",
}


class TableError(ValueError):
    """A frame does not hold what its table declares."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    """Lower snake case, the same wherever the quantity appears."""
    kind: str
    """One of string, integer, float, boolean, list."""
    doc: str
    """Meaning, unit and range, in one sentence: the same in every table that has the column."""
    nullable: bool = False
    """Whether a missing value is legal; the doc says what missing means."""
    note: str = ""
    """What is particular to the table that holds it: a formula, a method, values; empty where nothing is."""

    def here(self, note: str, *, nullable: bool | None = None) -> Column:
        """The same column in one table, with what is particular to it there."""
        return replace(self, note=note, nullable=self.nullable if nullable is None else nullable)

    @property
    def description(self) -> str:
        """Meaning and note."""
        return f"{self.doc} {self.note}".strip()

    @property
    def dtype(self) -> str:
        """The pandas dtype that holds this kind, nullable in every case."""
        return _DTYPES[self.kind]


def text(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A column of words."""
    return Column(name=name, kind="string", doc=doc, nullable=nullable)


def count(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A column of whole numbers."""
    return Column(name=name, kind="integer", doc=doc, nullable=nullable)


def number(name: str, doc: str) -> Column:
    """A column of real numbers, missing where they are not defined: never NaN, and never 0 instead."""
    return Column(name=name, kind="float", doc=doc, nullable=True)


def flag(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A column of yes and no."""
    return Column(name=name, kind="boolean", doc=doc, nullable=nullable)


def ends(name: str, note: str = "") -> tuple[Column, Column]:
    """Both ends of the interval of a number; the note says how it is made."""
    low = number(f"{name}_low", f"Lower end of the interval of {name}; missing without one.")
    high = number(f"{name}_high", f"Upper end of the interval of {name}; missing without one.")
    return low.here(note), high


@dataclass(frozen=True, kw_only=True)
class Table:
    """A named list of columns: what a frame of this name must hold, in this order."""

    name: str
    doc: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Check a frame against this table and give it the declared order and dtypes.

        Args:
            frame: Rows to check; it is not changed.

        Returns:
            A new frame with exactly the declared columns. An empty frame (no rows) conforms.

        Raises:
            TableError: On a missing or undeclared column, a missing value where none is legal, or a
                value that its kind cannot hold; the message names table and column.
        """
        missing = [name for name in self.names if name not in frame.columns]
        extra = [str(name) for name in frame.columns if name not in self.names]
        if missing or extra:
            raise TableError(f"table {self.name!r}: missing columns {missing}, undeclared columns {extra}")
        out = {}
        for column in self.columns:
            try:
                values = frame[column.name].astype(pandas_dtype(column.dtype))
            except (TypeError, ValueError) as error:
                raise TableError(f"table {self.name!r}, column {column.name!r}: {error}") from error
            if not column.nullable and bool(values.isna().any()):
                raise TableError(
                    f"table {self.name!r}, column {column.name!r}: missing value in a column that needs one"
                )
            out[column.name] = values
        return pd.DataFrame(out, index=frame.index).reset_index(drop=True)

    def empty(self) -> pd.DataFrame:
        """A frame with the declared columns and no rows."""
        return self.conform(pd.DataFrame({name: [] for name in self.names}))

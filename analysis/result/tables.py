"""The frames of an analysis: what is in memory, and what is read from the report when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from ..errors import UserError
from ..logs.store import CATEGORIES, to_pandas

__all__ = ["Tables", "read_items", "read_table"]


class Tables(Mapping[str, pd.DataFrame]):
    """Tables of a report by name, in its order; a long one is read from the report when it is first asked for."""

    def __init__(self, tables: Mapping[str, pd.DataFrame | Path]) -> None:
        """Take frames, and Parquet files in their stead, which need not be there yet."""
        self._tables = dict(tables)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The whole table.

        Raises:
            KeyError: If there is none of this name; the message lists the names.
            UserError: If the report that it lies in is gone.
        """
        if name not in self._tables:
            raise KeyError(f"no table {name!r}; there are {', '.join(self)}")
        found = self._tables[name]
        if isinstance(found, Path):
            found = self._tables[name] = read_table(found)
        return found

    def __contains__(self, name: object) -> bool:
        """Whether there is a table of this name, without reading it."""
        return name in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        """The names alone: the frames are long."""
        return f"<{len(self)} tables: {', '.join(self)}>"


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet file of a report, with the dtypes that it declares. Raises UserError if it is gone."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise _gone(path) from None


def read_items(path: Path) -> pd.DataFrame:
    """The answers of a report: table ITEMS, with those texts as categories that repeat.

    Raises:
        UserError: If the file is gone.
    """
    coded = sorted(CATEGORIES)
    try:
        table = pq.read_table(path, read_dictionary=coded).unify_dictionaries()
    except FileNotFoundError:
        raise _gone(path) from None
    rest = to_pandas(table.drop_columns(coded))
    out = rest.assign(**{name: table[name].to_pandas() for name in coded})
    return out[list(table.column_names)]


def _gone(path: Path) -> UserError:
    return UserError(f"{path} is gone: analyse the runs again, or move the report back")

"""All rows of an analysis in one Parquet file, read back by run and task: memory holds what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..schema.items import ITEMS
from .table import DICTIONARY, ITEM_SCHEMA, PARQUET

__all__ = ["CATEGORIES", "ItemStore", "to_pandas"]

_DTYPES = {
    pa.string(): pd.StringDtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    # Held as Arrow has it: an object for each row would take longer than all other columns.
    pa.list_(pa.float64()): pd.ArrowDtype(pa.list_(pa.float64())),
}

CATEGORIES = DICTIONARY - {"run", "task", "filter", "condition", "polarity", "status", "role", "axis", "metrics"}
"""Columns that are read as categories. The others are what rows are grouped, filled and labelled by: plain strings,
since categories would bring groups without rows and refuse values that they lack."""


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame with the nullable dtypes that ITEMS declares."""
    plain = pa.schema([_plain(entry) for entry in table.schema])
    frame: pd.DataFrame = table.cast(plain).to_pandas(types_mapper=_DTYPES.get)
    return frame


class ItemStore:
    """Rows of ITEMS on disk: first written, one (run, task) at a time, then read.

    Use as a context manager; leaving it closes the file.
    """

    def __init__(self, path: Path) -> None:
        """Create the Parquet file; it must not exist as a folder."""
        self.path = path
        self._writer: Any = pq.ParquetWriter(path, ITEM_SCHEMA, store_schema=False, **PARQUET)
        self._groups: dict[tuple[str, str], int] = {}
        self._reader: Any = None
        self._values: dict[str, dict[str, int]] = {name: {} for name in CATEGORIES}
        self._last: dict[str, pa.Array] = {}
        self._dtypes: dict[str, pd.CategoricalDtype] = {}

    def __enter__(self) -> ItemStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def append(self, run: str, task: str, table: pa.Table) -> None:
        """Write all rows of a run's task as one row group; no rows, nothing written."""
        if (run, task) in self._groups:
            raise ValueError(f"rows of run {run!r}, task {task!r} are already there")
        if table.num_rows:
            self._groups[run, task] = len(self._groups)
            for name in CATEGORIES:
                self._learn(name, table[name])
            self._writer.write_table(table, row_group_size=table.num_rows)

    def _learn(self, name: str, column: pa.ChunkedArray) -> None:
        known = self._values[name]
        for chunk in column.chunks:
            # Most runs have the items, and so the values, of the run before.
            last = self._last.get(name)
            if last is None or not chunk.dictionary.equals(last):
                self._last[name] = chunk.dictionary
                for value in chunk.dictionary.to_pylist():
                    known.setdefault(value, len(known))

    def finish(self) -> None:
        """End writing; reading becomes possible."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            # One dtype for all runs, so that their rows can be joined without falling back to objects.
            self._dtypes = {name: pd.CategoricalDtype(list(known)) for name, known in self._values.items()}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._groups

    def read(self, run: str, task: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of a run's task, in the file's order; an empty frame if it has none.

        Args:
            run: Label of the run.
            task: Task name.
            columns: Columns to read; all of ITEMS if not given.

        Returns:
            The columns in the dtypes of ITEMS, but those of CATEGORIES as categories, the same for all runs.
        """
        self.finish()
        names = list(ITEMS.names if columns is None else columns)
        if (run, task) not in self._groups:
            return ITEMS.empty()[names].astype({name: self._dtypes[name] for name in names if name in CATEGORIES})
        if self._reader is None:
            self._reader = pq.ParquetFile(self.path, read_dictionary=sorted(DICTIONARY))
        table = self._reader.read_row_group(self._groups[run, task], columns=names)
        coded = [name for name in names if name in CATEGORIES]
        frame = to_pandas(table.select([name for name in names if name not in CATEGORIES]))
        return frame.assign(**{name: self._categorical(name, table[name]) for name in coded})[names]

    def _categorical(self, name: str, column: pa.ChunkedArray) -> pd.Categorical:
        values = column.combine_chunks()
        known = self._values[name]
        # The last entry serves a missing value, whose code is made -1.
        places = np.array([*(known[value] for value in values.dictionary.to_pylist()), -1], dtype=np.int32)
        codes = places[values.indices.fill_null(-1).to_numpy()]
        return pd.Categorical.from_codes(codes, dtype=self._dtypes[name])


def _plain(entry: pa.Field) -> pa.Field:
    return pa.field(entry.name, entry.type.value_type if pa.types.is_dictionary(entry.type) else entry.type)

"""All rows of an analysis in one Parquet file, read back by run and task: memory holds what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.columns import ITEMS
from analysis.logs.samples import ITEM_SCHEMA

__all__ = ["ItemStore", "to_pandas"]

_DTYPES = {
    pa.string(): pd.StringDtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame with the nullable dtypes that ITEMS declares."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_DTYPES.get)
    return frame


class ItemStore:
    """Rows of ITEMS on disk: first written, one (run, task) at a time, then read.

    Use as a context manager; leaving it closes the file.
    """

    def __init__(self, path: Path) -> None:
        """Create the Parquet file; it must not exist as a folder."""
        self.path = path
        self._writer: Any = pq.ParquetWriter(path, ITEM_SCHEMA, compression="zstd")
        self._groups: dict[tuple[str, str], int] = {}
        self._reader: Any = None

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
            self._writer.write_table(table, row_group_size=table.num_rows)

    def finish(self) -> None:
        """End writing; reading becomes possible."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._groups

    def read(self, run: str, task: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of a run's task, in the file's order; an empty frame if it has none.

        Args:
            run: Label of the run.
            task: Task name.
            columns: Columns to read; all of ITEMS if not given.
        """
        self.finish()
        names = list(ITEMS.names if columns is None else columns)
        if (run, task) not in self._groups:
            return ITEMS.empty()[names]
        if self._reader is None:
            self._reader = pq.ParquetFile(self.path)
        table = self._reader.read_row_group(self._groups[run, task], columns=names)
        return to_pandas(table.select(names))

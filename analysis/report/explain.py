"""`lm-eval-ext explain`: what a table holds, how to read a row of it, and its first rows in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError, unknown_name
from ..result.reading import has_status, pattern, read
from ..schema.declare import AnyTable
from ..tables.catalogue import CATALOGUE
from .contents import MARKER

__all__ = ["explain", "listed", "read_row"]

_BY_NAME = {table.name: table for table in CATALOGUE}


def read_row(name: str, row: Mapping[str, Any] | pd.Series) -> str:
    """One sentence on a row of a table, plain text.

    Args:
        name: The table's.
        row: Values by column.

    Raises:
        UserError: If there is no such table; the message names the nearest.
    """
    return read(_table(name), row)


def listed() -> Iterator[str]:
    """A line for every table: its name, and what it holds in one sentence."""
    wide = max(map(len, _BY_NAME))
    for name, table in _BY_NAME.items():
        yield f"{name:<{wide}}  {re.split(r'(?<=[.?!]) (?=[A-Z])', table.doc)[0]}"


def explain(name: str, report: Path | None = None, rows: int = 10) -> list[str]:
    """The lines of an explanation: what the table holds, how to read a row, and its first rows or its columns.

    Args:
        name: A table of the catalogue.
        report: Folder of a report, for its first rows; columns are explained where there is none.
        rows: How many rows, at least 1.

    Raises:
        UserError: If there is no such table, or no report with it; one line that says what to do.
    """
    table = _table(name)
    status = ["Where its status is not ok, it says the status."] if has_status(table) else []
    return [
        f"{table.name}: {table.doc}",
        "",
        "A row says, after what it is about, the first of these that it holds:",
        *(f"  {pattern(reading)}" for reading in table.reading),
        *status,
        "",
        *(_columns(table) if report is None else _first(table, report, rows)),
    ]


def _table(name: str) -> AnyTable:
    if name not in _BY_NAME:
        raise unknown_name("table", name, list(_BY_NAME))
    return _BY_NAME[name]


def _columns(table: AnyTable) -> Iterator[str]:
    yield "Columns:"
    wide = max(map(len, table.holds.names))
    yield from (f"  {column.name:<{wide}}  {column.description}" for column in table.holds.columns)


def _first(table: AnyTable, report: Path, rows: int) -> Iterator[str]:
    file = report / "tables" / f"{table.name}.parquet"
    if not (report / MARKER).is_file():
        raise UserError(f"{report} is no report; lm-eval-ext analyze makes one, --output names its folder")
    if not file.is_file():
        raise UserError(f"the report {report} has no table {table.name}: an older version made it. Analyse again")
    try:
        with pq.ParquetFile(file) as found:
            total = found.metadata.num_rows
            batches = found.iter_batches(batch_size=min(rows, 10_000))
            records = list(islice((row for batch in batches for row in batch.to_pylist()), rows))
    except pa.ArrowException as error:
        raise UserError(f"{file} can't be read: {str(error).splitlines()[0]}") from None
    if not total:
        yield f"No rows in {report}: nothing there has what this table needs."
        return
    yield f"The first {len(records):,} of {total:,} rows in {report}:" if total > len(records) else f"Rows in {report}:"
    yield from (f"  {read(table, row)}" for row in records)

"""Tables that may be too long for memory as files, part by part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..media import for_json
from ..schema.columns import Table
from ..schema.declare import LongTable
from .csv_files import append_csv, head_csv

__all__ = ["write_long"]

_ARROW = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}


def write_long(table: LongTable, parts: Iterable[pd.DataFrame], folder: Path, facts: dict[str, Any]) -> int:
    """Write a table's Parquet file, all rows, and its CSV file, those that `csv_where` chooses.

    Args:
        table: The table.
        parts: Its rows.
        folder: Where the files go.
        facts: What the table was made with; it goes into the Parquet file's schema, with the numbers of rows.

    Returns:
        Rows of the Parquet file, which has a row group for each part with any.
    """
    holds = table.holds
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in holds.columns])
    coded = [column.name for column in holds.columns if column.kind == "string"]
    rows = n_csv = 0
    with (
        (folder / f"{table.name}.csv").open("wb") as plain,
        pq.ParquetWriter(
            folder / f"{table.name}.parquet", schema, compression="zstd", use_dictionary=coded, store_schema=False
        ) as writer,
    ):
        head_csv(holds, plain)
        for frame in parts:
            if frame.empty:
                continue
            part = _arrow(frame, holds, schema)
            writer.write_table(part, row_group_size=len(part))
            chosen = part.filter(pc.fill_null(part[table.csv_where], False))
            append_csv(chosen, plain)
            rows, n_csv = rows + len(part), n_csv + len(chosen)
        made = facts | {"table": table.name, "rows": rows, "rows_in_csv": n_csv}
        # What pandas would write: with it the columns come back in their declared dtypes.
        dtypes = pa.Table.from_pandas(holds.empty(), preserve_index=False).schema.metadata[b"pandas"]
        writer.add_key_value_metadata({"lm_eval_ext": for_json(made), "pandas": dtypes})
    return rows


def _arrow(frame: pd.DataFrame, holds: Table, schema: pa.Schema) -> pa.Table:
    """An Arrow table of the declared kinds. The rows are ours: one that breaks the declaration is a bug."""
    part = pa.Table.from_pandas(frame[holds.names], preserve_index=False).cast(schema).replace_schema_metadata(None)
    lacking = [column.name for column in holds.columns if not column.nullable and part[column.name].null_count]
    assert not lacking, f"{holds.name}: missing values in {lacking}"
    return part

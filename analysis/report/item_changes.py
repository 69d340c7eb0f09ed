"""The list of paired answers as files, written pair by pair: two runs of one task are in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from ..compare.pairing import Pairing
from ..logs import ItemStore
from ..tables.item_changes.columns import ITEM_CHANGES
from ..tables.item_changes.table import NEEDED, paired_answers

__all__ = ["write_item_changes"]

_ARROW = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
_SCHEMA = pa.schema([(column.name, _ARROW[column.kind]) for column in ITEM_CHANGES.columns])
_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [column.name for column in ITEM_CHANGES.columns if column.kind != "float"],
    "write_statistics": ["run", "baseline", "task", "changed", "direction"],
    "store_schema": False,
}
# Five times as fast as pandas, which matters for a million rows; it puts every text into quotes.
_CSV = csv.WriteOptions(include_header=False)


def write_item_changes(store: ItemStore, pairing: Pairing, folder: Path, facts: dict[str, Any]) -> int:
    """Write item_changes.parquet, all paired answers, and item_changes.csv, those that changed.

    Args:
        store: The items.
        pairing: What is compared with what.
        folder: Where the files go.
        facts: What the table was made with; it goes into the Parquet file's schema, with the number of rows.

    Returns:
        Rows of the Parquet file: one row group a run and task, in the order of the pairs.
    """
    rows = n_changed = 0
    path = folder / f"{ITEM_CHANGES.name}.csv"
    with pq.ParquetWriter(folder / f"{ITEM_CHANGES.name}.parquet", _SCHEMA, **_PARQUET) as writer:
        with path.open("wb") as stream:
            stream.write((",".join(ITEM_CHANGES.names) + "\n").encode())
            for table in _tables(store, pairing):
                writer.write_table(table, row_group_size=len(table))
                differing = table.filter(pc.fill_null(table["changed"], False))
                csv.write_csv(_as_words(differing), stream, _CSV)
                rows, n_changed = rows + len(table), n_changed + len(differing)
        made = facts | {"table": ITEM_CHANGES.name, "rows": rows, "changed": n_changed}
        # What pandas would write: with it the columns come back in their declared dtypes.
        pandas = pa.Table.from_pandas(ITEM_CHANGES.empty(), preserve_index=False).schema.metadata[b"pandas"]
        writer.add_key_value_metadata({"lm_eval_ext": json.dumps(made, ensure_ascii=False), "pandas": pandas})
    return rows


def _tables(store: ItemStore, pairing: Pairing) -> Iterator[pa.Table]:
    """The rows of each pair of runs and task that has any."""
    for pair in pairing.pairs:
        own, base = (
            pairing.items(store, label, pair.baseline, pair.task, NEEDED) for label in (pair.run, pair.baseline)
        )
        frame = paired_answers(own, base, pair.run, pair.baseline)
        if len(frame):
            yield _checked(frame)


def _checked(frame: pd.DataFrame) -> pa.Table:
    """An Arrow table in the declared kinds; it is ours, so a value that is missing against the rule is a bug."""
    table = pa.Table.from_pandas(frame, preserve_index=False).cast(_SCHEMA).replace_schema_metadata(None)
    lacking = [column.name for column in ITEM_CHANGES.columns if not column.nullable and table[column.name].null_count]
    assert not lacking, f"item_changes: missing values in {lacking}"
    return table


def _as_words(table: pa.Table) -> pa.Table:
    """Booleans as the other tables' CSV files write them."""
    columns = [
        pc.if_else(column, "True", "False") if pa.types.is_boolean(column.type) else column for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)

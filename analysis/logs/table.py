"""Rows of ITEMS as an Arrow table: what is the same for all answers of a line is held once until the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..schema.items import ITEMS

__all__ = ["DICTIONARY", "ITEM_SCHEMA", "LINE_COLUMNS", "PARQUET", "ROW_COLUMNS", "Rows", "repeated_items", "with_run"]

DICTIONARY = frozenset(column.name for column in ITEMS.columns if column.kind == "string") - {"text"}
"""String columns that repeat: held as codes into their distinct values."""
_STRINGS = pa.dictionary(pa.int32(), pa.string())
_ARROW = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
_PLAIN = {column.name: _ARROW[column.kind] for column in ITEMS.columns}

ITEM_SCHEMA = pa.schema([(name, _STRINGS if name in DICTIONARY else kind) for name, kind in _PLAIN.items()])
"""Arrow schema of ITEMS in memory. The report's file holds plain strings: its codes are Parquet's own."""

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": sorted(name for name, kind in _PLAIN.items() if kind == pa.string()),
    "dictionary_pagesize_limit": 1 << 26,
    "write_statistics": ["run", "task"],
}
"""How rows are written: every distinct string once a row group, however many there are."""

ROW_COLUMNS = ("seed", "status", "choice", "role", "axis", "correct", "text")
"""What differs between the answers of a line."""
LINE_COLUMNS = tuple(name for name in ITEMS.names if name not in ("run", *ROW_COLUMNS))
"""What a line has once. The run's label is no part of a samples file; it is set on use."""


@dataclass
class Rows:
    """Rows under way, packed into Arrow arrays from time to time."""

    lines: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    """Answers of each line, packed lines included."""
    _packed: dict[str, list[pa.Array]] = field(default_factory=lambda: {name: [] for name in ITEMS.names[1:]})

    def add(self, line: tuple[Any, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        """Append the answers of one line."""
        self.lines.append(line)
        self.rows.extend(rows)
        self.repeats.append(len(rows))

    def pack(self) -> None:
        """Turn what is under way into Arrow arrays."""
        for names, tuples in ((LINE_COLUMNS, self.lines), (ROW_COLUMNS, self.rows)):
            if tuples:
                for name, values in zip(names, zip(*tuples, strict=True), strict=True):
                    self._packed[name].append(pa.array(values, _PLAIN[name]))
            tuples.clear()

    def table(self) -> pa.Table:
        """All rows, in the columns of ITEM_SCHEMA but for `run`."""
        self.pack()
        index = pa.array(np.repeat(np.arange(len(self.repeats)), self.repeats))
        columns = []
        for entry in list(ITEM_SCHEMA)[1:]:
            values = pa.chunked_array(self._packed[entry.name], _PLAIN[entry.name])
            if entry.name in DICTIONARY:
                values = pa.concat_arrays([pa.array([], pa.string()), *values.chunks]).dictionary_encode()
            columns.append(values.take(index) if entry.name in LINE_COLUMNS else values)
        return pa.table(columns, schema=ITEM_SCHEMA.remove(0))


def repeated_items(table: pa.Table) -> list[str]:
    """The items that have two rows of one filter and seed, sorted."""
    item, name, seed = (table[key].combine_chunks() for key in ("item_id", "filter", "seed"))
    keys = (
        np.asarray(seed.fill_null(0)),
        np.asarray(seed.is_null()),
        np.asarray(name.indices),
        np.asarray(item.indices),
    )
    order = np.lexsort(keys)
    same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    codes = np.unique(keys[-1][order[1:]][same])
    return sorted(item.dictionary.take(pa.array(codes)).to_pylist())


def with_run(table: pa.Table, run: str) -> pa.Table:
    """The table with the column `run` before the others, the same in every row."""
    codes = pa.array(np.zeros(table.num_rows, dtype=np.int32))
    return table.add_column(0, ITEM_SCHEMA.field(0), pa.DictionaryArray.from_arrays(codes, pa.array([run])))

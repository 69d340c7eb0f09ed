"""Rows of ITEMS as an Arrow table: what is the same for all answers of a line is held once until the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..schema.fields import SourceField
from ..schema.items import ITEM_FIELDS, ITEMS

__all__ = [
    "CHOICE_COLUMN",
    "COMPUTED",
    "DICTIONARY",
    "FILE_COLUMNS",
    "FILE_SCHEMA",
    "ITEM_SCHEMA",
    "LINE_COLUMNS",
    "OUTCOMES",
    "OUTCOME_COLUMNS",
    "PARQUET",
    "TAKEN",
    "TEXT_COLUMNS",
    "Rows",
    "repeated_items",
    "with_file_columns",
]

DICTIONARY = frozenset(column.name for column in ITEMS.columns if column.kind == "string") - {"text"}
"""String columns that repeat: held as codes into their distinct values."""
_STRINGS = pa.dictionary(pa.int32(), pa.string())
_ARROW = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "list": pa.list_(pa.float64()),
}
_PLAIN = {column.name: _ARROW[column.kind] for column in ITEMS.columns}

ITEM_SCHEMA = pa.schema([(name, _STRINGS if name in DICTIONARY else kind) for name, kind in _PLAIN.items()])
"""Arrow schema of ITEMS in memory. The report's file holds plain strings: its codes are Parquet's own."""

FILE_COLUMNS = tuple(entry.name for entry in ITEM_FIELDS if entry.per == "file")
"""What is the same for a whole file, and no part of what is read from it."""
FILE_SCHEMA = pa.schema([entry for entry in ITEM_SCHEMA if entry.name not in FILE_COLUMNS])
"""Arrow schema of a file's rows without them."""

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": sorted(name for name, kind in _PLAIN.items() if kind == pa.string()),
    "dictionary_pagesize_limit": 1 << 26,
    "write_statistics": ["run", "task"],
}
"""How rows are written: every distinct string once a row group, however many there are."""


def _fields(*, computed: bool) -> dict[str, tuple[SourceField, ...]]:
    return {
        per: tuple(entry for entry in ITEM_FIELDS if entry.per == per and entry.computed == computed)
        for per in ("document", "line", "answer")
    }


TAKEN, COMPUTED = _fields(computed=False), _fields(computed=True)
"""Fields whose values stand in a line, and those that the reader makes: for a document, a line, an answer."""


def _names(per: str) -> tuple[str, ...]:
    return tuple(entry.name for entry in (*TAKEN[per], *COMPUTED[per]))


LINE_COLUMNS = (*_names("document"), *_names("line"))
"""What a line has once, in the order in which readers give it. What a file has once is set on use."""
OUTCOMES = tuple(entry for entry in COMPUTED["answer"] if entry.ours.startswith("$answer."))
"""Fields that status, choice and role decide alone."""
TEXT_COLUMNS = tuple(entry.name for entry in TAKEN["answer"])
"""What the log says of each answer of a line."""
OUTCOME_COLUMNS = tuple(entry.name for entry in OUTCOMES)
"""What comes of it: a few kinds, whatever the number of answers."""
(CHOICE_COLUMN,) = (entry.name for entry in COMPUTED["answer"] if entry.ours == "$probability.choice")
"""What an answer's choice has of the line's probabilities."""


@dataclass
class Rows:
    """Rows under way, packed into Arrow arrays from time to time."""

    lines: list[tuple[Any, ...]] = field(default_factory=list)
    texts: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    chosen: list[float | None] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    """Answers of each line, packed lines included."""
    _packed: dict[str, list[pa.Array]] = field(default_factory=lambda: {name: [] for name in FILE_SCHEMA.names})

    def add(
        self,
        line: tuple[Any, ...],
        texts: Sequence[tuple[Any, ...]],
        outcomes: Sequence[tuple[Any, ...]],
        chosen: Sequence[float | None],
    ) -> None:
        """Append the answers of one line.

        Args:
            line: Values of LINE_COLUMNS.
            texts: Of each answer, values of TEXT_COLUMNS.
            outcomes: Of each answer, values of OUTCOME_COLUMNS.
            chosen: Of each answer, the value of CHOICE_COLUMN.
        """
        self.lines.append(line)
        self.texts.extend(texts)
        self.outcomes.extend(outcomes)
        self.chosen.extend(chosen)
        self.repeats.append(len(texts))

    def pack(self) -> None:
        """Turn what is under way into Arrow arrays."""
        # Outcomes are shared objects, so each is turned into values once.
        kinds = {id(outcome): outcome for outcome in self.outcomes}
        places = {key: place for place, key in enumerate(kinds)}
        codes = pa.array([places[id(outcome)] for outcome in self.outcomes], pa.int32())
        self._pack(LINE_COLUMNS, self.lines)
        self._pack(TEXT_COLUMNS, self.texts)
        self._pack(OUTCOME_COLUMNS, list(kinds.values()), codes)
        self._packed[CHOICE_COLUMN].append(pa.array(self.chosen, _PLAIN[CHOICE_COLUMN]))
        for under_way in (self.lines, self.texts, self.outcomes, self.chosen):
            under_way.clear()

    def _pack(self, names: tuple[str, ...], tuples: list[tuple[Any, ...]], codes: pa.Array | None = None) -> None:
        for name, values in zip(names, zip(*tuples, strict=True), strict=True) if tuples else ():
            made = pa.array(values, _PLAIN[name])
            self._packed[name].append(made if codes is None else made.take(codes))

    def table(self) -> pa.Table:
        """All rows, in the columns of ITEM_SCHEMA but for those that a file has once."""
        self.pack()
        index = pa.array(np.repeat(np.arange(len(self.repeats)), self.repeats))
        columns = []
        for entry in FILE_SCHEMA:
            values = pa.chunked_array(self._packed[entry.name], _PLAIN[entry.name])
            if entry.name in DICTIONARY:
                values = pa.concat_arrays([pa.array([], pa.string()), *values.chunks]).dictionary_encode()
            columns.append(values.take(index) if entry.name in LINE_COLUMNS else values)
        return pa.table(columns, schema=FILE_SCHEMA)


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


def with_file_columns(table: pa.Table, values: Mapping[str, str]) -> pa.Table:
    """The rows of a file in the columns of ITEM_SCHEMA, those of FILE_COLUMNS the same in every row."""
    codes = pa.array(np.zeros(table.num_rows, dtype=np.int32))
    same = {name: pa.DictionaryArray.from_arrays(codes, pa.array([value])) for name, value in values.items()}
    columns = [same[entry.name] if entry.name in same else table[entry.name] for entry in ITEM_SCHEMA]
    return pa.table(columns, schema=ITEM_SCHEMA)

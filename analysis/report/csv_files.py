"""Tables as CSV files: texts go through `for_csv`, numbers as they are."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ..media import for_csv
from ..schema.columns import Table

__all__ = ["append_csv", "head_csv", "write_csv"]

# Seven times as fast as pandas, which matters for a million rows; it puts every text into quotes.
_OPTIONS = csv.WriteOptions(include_header=False)


def write_csv(frame: pd.DataFrame, holds: Table, path: Path) -> None:
    """Write a frame of a table in full precision, missing values as empty cells."""
    texts = {
        column.name: frame[column.name].map(for_csv, na_action="ignore")
        for column in holds.columns
        if column.kind == "string"
    }
    frame.assign(**texts).to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def head_csv(holds: Table, file: IO[bytes]) -> None:
    """Write the line of names that stands before the rows of `append_csv`."""
    file.write((",".join(holds.names) + "\n").encode())


def append_csv(part: pa.Table, file: IO[bytes]) -> None:
    """Write rows of a long table to its open file, one line a row."""
    columns = [_column(column.combine_chunks()) for column in part.columns]
    csv.write_csv(pa.table(columns, names=part.column_names), file, _OPTIONS)


def _column(column: pa.Array) -> pa.Array:
    """Booleans as pandas writes them, texts as `for_csv` has them; each text once, as most repeat."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    if not pa.types.is_string(column.type):
        return column
    coded = column.dictionary_encode()
    said = [text if text is None else for_csv(text) for text in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(said, pa.string())).cast(pa.string())

"""The files of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..logs import ISSUES, issues_frame
from ..media import for_json
from ..result import Analysis
from ..schema.declare import LongTable
from .contents import MARKER, MARKER_FORMAT, file_hash
from .csv_files import write_csv
from .long import write_long
from .metadata import made_by, metadata
from .summary import summary_markdown

__all__ = ["write_report"]

_SCHEMA_VERSION = 3


def write_report(analysis: Analysis, folder: Path, parts: Mapping[str, Iterable[pd.DataFrame]]) -> None:
    """Write all files but items.parquet and documents.parquet (which reading the logs has made) into a folder.

    Tables are written in full precision, missing values as empty cells or nulls. The marker comes last and
    lists every file with its hash.

    Args:
        analysis: What to write.
        folder: Where to.
        parts: Of each LongTable of the catalogue, its rows part by part; they are made as they are written.
    """
    tables = folder / "tables"
    tables.mkdir()
    facts = metadata(analysis)
    rows = {}
    for table in analysis.catalogue:
        if isinstance(table, LongTable):
            rows[table.name] = write_long(table, parts[table.name], tables, facts)
            continue
        frame = table.holds.conform(analysis.tables[table.name])
        rows[table.name] = len(frame)
        write_csv(frame, table.holds, tables / f"{table.name}.csv")
        _to_parquet(frame, tables / f"{table.name}.parquet", facts | {"table": table.name, "rows": rows[table.name]})
    _write_json(tables / "metadata.json", facts)
    write_csv(issues_frame(analysis.issues), ISSUES, folder / "issues.csv")
    (folder / "summary.md").write_text(summary_markdown(analysis, rows), encoding="utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    marker = _marker(analysis, {name: file_hash(folder / name) for name in files} | {MARKER: None})
    _write_json(folder / MARKER, marker)


def _to_parquet(frame: pd.DataFrame, path: Path, facts: dict[str, Any]) -> None:
    """Write a table with its metadata in the file's schema, beside what pandas keeps there."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    kept = table.schema.metadata or {}
    table = table.replace_schema_metadata({**kept, b"lm_eval_ext": for_json(facts).encode()})
    pq.write_table(table, path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(for_json(content, indent=2) + "\n", encoding="utf-8")


def _marker(analysis: Analysis, files: dict[str, str | None]) -> dict[str, Any]:
    return {
        "format": MARKER_FORMAT,
        "schema_version": _SCHEMA_VERSION,
        "made_by": made_by(),
        "runs_folder": analysis.given[0] if len(analysis.given) == 1 else list(analysis.given),
        "baseline": analysis.named_baseline,
        "allow": sorted(analysis.allow),
        "base": list(analysis.bases),
        "tasks": list(analysis.patterns),
        "settings": analysis.settings.as_dict(),
        "runs": {row.run: row.file for row in analysis.tables["runs"].itertuples(index=False)},
        "comparisons": len(analysis.pairing.pairs),
        "refused": len(analysis.pairing.refusals),
        "files": files,
    }

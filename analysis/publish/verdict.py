"""The verdicts of a report as records, for whatever shows or gates them: none is computed here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import UserError
from ..result import Analysis
from ..result.tables import read_table
from ..tables.verdicts.columns import RUN_VERDICTS, VERDICTS

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a report says of one run."""

    run: str
    baseline: str
    verdict: str
    """SAME, CHANGED or CAN'T TELL."""
    line: str
    """What it rests on, in words and points."""
    reason: str | None
    """Why it can't be told; None otherwise."""
    weakest: str | None
    """Category that is likeliest to lie beyond the margin; None with one category."""
    p_weakest: float | None
    """Chance that its shift lies beyond the margin."""
    decided_after: int | None
    """Templates after which the verdict stood, in a sequential analysis."""
    n_rows: int
    level: float
    margin: float
    reach: float
    rows: tuple[dict[str, Any], ...]
    """The rows of table VERDICTS that it rests on; what is missing is None."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        made = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return made | {"rows": [dict(row) for row in self.rows]}

    def as_json(self) -> str:
        """In one line of JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)


def verdicts(report: Analysis | Path | str) -> list[Verdict]:
    """The verdicts of an analysis or of a report folder, one a run, in the order of the report.

    Raises:
        UserError: If the folder is no report, or one of a release that had no verdicts.
    """
    if isinstance(report, Analysis):
        words, family = (report.tables[name] for name in ("run_verdicts", "verdicts"))
    else:
        words, family = (_table(Path(report), table.name) for table in (RUN_VERDICTS, VERDICTS))
    return [
        Verdict(**record, rows=tuple(_records(family[family["run"] == record["run"]]))) for record in _records(words)
    ]


def _table(report: Path, name: str) -> pd.DataFrame:
    path = report / "tables" / f"{name}.parquet"
    if not path.is_file():
        kind = (
            "a report without verdicts: analyse its runs again" if (report / "report.json").is_file() else "no report"
        )
        raise UserError(f"{report}: expected a report folder with tables/{name}.parquet, but it is {kind}")
    return read_table(path)


def _records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows as plain Python values; what is missing is None."""
    objects = frame.astype("object").where(frame.notna(), None)
    for row in objects.to_dict("records"):
        yield {str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}

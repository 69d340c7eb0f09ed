"""What was found wrong: a record with the file's name, never an exception and never silence."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..media import for_utf8
from ..schema.columns import Table, text
from ..schema.shared import FILE

__all__ = ["ISSUES", "Issue", "issues_frame"]

ISSUES = Table(
    name="issues",
    doc="Everything that was left out, kept apart, refused, accepted or noted; in report/issues.csv.",
    columns=(
        text(
            "level", "error (a comparison was refused or can't be made), warning (read it before the tables) or note."
        ),
        FILE,
        text("kind", "Short name of the fault."),
        text("message", "What was seen and what was done about it."),
    ),
)


@dataclass(frozen=True)
class Issue:
    """One fault, or one thing worth knowing, of one file."""

    file: str
    """Path relative to the analysed folder."""
    kind: str
    """Short name, the same for all faults of a kind: truncated, duplicate_items, same_identity ..."""
    message: str
    """What was seen, what was done about it, and what the user can do."""
    level: str = "warning"
    """error (a comparison was refused or can't be made), warning or note."""


def issues_frame(issues: list[Issue]) -> pd.DataFrame:
    """The issues as a table (`ISSUES`), errors first, otherwise in the order given; no issue gives no row."""
    order = {"error": 0, "warning": 1, "note": 2}
    rows = sorted(issues, key=lambda issue: order[issue.level])
    columns = {name: [for_utf8(getattr(issue, name)) for issue in rows] for name in ISSUES.names}
    return ISSUES.conform(pd.DataFrame(columns))

"""An analysis at one look, as ten lines of text or as HTML: from the same rounded cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..logs import Issue
from ..media import CELL, MESSAGE, for_html, for_terminal
from .render import cells, narrow, present_headline

__all__ = ["Look"]

_ROWS = 4
"""Rows of the headline that the text has room for in its ten lines."""
_CELL, _LINE = 32, 140
"""Characters of a cell and of a line of the text: labels can be long."""
_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is shown of an analysis."""

    sentence: str
    """What was compared with what."""
    headline: pd.DataFrame
    """Table HEADLINE."""
    issues: Sequence[Issue]
    tables: Iterable[str]
    """Names."""
    output: Path

    @property
    def text(self) -> str:
        """At most ten lines."""
        titles, rows = cells(narrow(present_headline(self.headline)))
        lines = [for_terminal(self.sentence, _LINE), *_columns(titles, rows[:_ROWS])]
        if len(rows) > _ROWS:
            lines.append(f"... and {len(rows) - _ROWS} more rows in .headline")
        names = list(self.tables)
        return "\n".join(
            [
                *lines,
                f"issues: {self._counts()} (.issues)",
                for_terminal(f".tables has {len(names)}: {', '.join(names)}", _LINE),
                f"report: {for_terminal(str(self.output))} (start with summary.md); also .runs, .items, .documents",
            ]
        )

    @property
    def html(self) -> str:
        """The whole headline, and errors and warnings in words. Labels and messages are data: all is escaped."""
        titles, rows = cells(present_headline(self.headline))
        serious = [issue for level in _LEVELS[:2] for issue in self.issues if issue.level == level]
        head = "".join(f"<th>{for_html(title)}</th>" for title in titles)
        body = "".join(f"<tr>{''.join(f'<td>{for_html(cell, CELL)}</td>' for cell in row)}</tr>" for row in rows)
        listed = "".join(f"<li><b>{issue.level}</b> {for_html(issue.message, MESSAGE)}</li>" for issue in serious)
        issues = f"<p>Issues: {self._counts()}</p>" + (f"<ul>{listed}</ul>" if listed else "")
        names = ", ".join(f"<code>{for_html(name)}</code>" for name in self.tables)
        # Notebooks set what stands between dollar signs as a formula.
        return (
            f'<div class="tex2jax_ignore mathjax_ignore"><p>{for_html(self.sentence, MESSAGE)}</p>'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"{issues}<p>Tables: {names}</p><p>Report: <code>{for_html(str(self.output))}</code></p></div>"
        )

    def _counts(self) -> str:
        counts = Counter(issue.level for issue in self.issues)
        said = [f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}" for level in _LEVELS if counts[level]]
        return ", ".join(said) or "none"


def _columns(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Titles and rows in columns of one width; names to the left, numbers to the right."""
    table = [[for_terminal(cell, _CELL) for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = {0} | {at for at, title in enumerate(titles) if title in ("baseline", "task", "filter")}
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]

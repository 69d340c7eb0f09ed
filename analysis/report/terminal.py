"""The headline table and the issues on the terminal, from the same frames as summary.md."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..result import Analysis
from ..result.render import cells, present_headline
from .summary import READING

__all__ = ["print_analysis"]

_COLORS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST = 12
_LEFT = {"run", "baseline", "task", "filter"}


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print the headline, how to read it, errors and warnings (notes only counted), and the report's path."""
    frame = present_headline(analysis.headline)
    titles, rows = cells(frame)
    console.print(escape(analysis.compared), style="italic", highlight=False, soft_wrap=True)
    table = Table()
    for name, title in zip(frame.columns, titles, strict=True):
        widest = max(map(len, title.split()))
        table.add_column(title, justify="left" if name in _LEFT else "right", overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    for name, text in READING.items():
        if name in frame.columns:
            line = text.format(metric=analysis.perplexity_metric).replace("**", "")
            console.print(escape(line), style="dim", highlight=False)
    _print_issues(analysis, console)
    console.print(f"Report: {escape(str(analysis.output))} (start with summary.md)", highlight=False, soft_wrap=True)


def _print_issues(analysis: Analysis, console: Console) -> None:
    serious = sorted(
        (issue for issue in analysis.issues if issue.level != "note"),
        key=lambda issue: issue.level != "error",
    )
    for issue in serious[:_MOST]:
        text = f"{issue.level}: {issue.message} [{issue.file}]"
        console.print(escape(text), style=_COLORS[issue.level], highlight=False, soft_wrap=True)
    more = len(serious) - _MOST
    notes = len(analysis.issues) - len(serious)
    if more > 0 or notes:
        counts = ([f"{more} more issues"] if more > 0 else []) + ([f"{notes} notes"] if notes else [])
        console.print(f"{' and '.join(counts)} in issues.csv", style="dim", highlight=False)

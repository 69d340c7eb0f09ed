"""The headline table and the issues on the terminal, from the same frames as summary.md."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..media import CELL, MESSAGE, for_terminal
from ..result import Analysis
from ..result.render import cells, present_headline
from .summary import READING

__all__ = ["print_analysis", "say"]

_COLORS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST = 12
_LEFT = {"run", "baseline", "task", "filter"}


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print what was compared, the headline, how to read it, errors and warnings (notes only counted), and the path."""
    frame = present_headline(analysis.headline)
    titles, rows = cells(frame)
    say(analysis.title, console, "bold")
    say(analysis.compared, console, "italic")
    table = Table()
    for name, title in zip(frame.columns, titles, strict=True):
        widest = max(map(len, title.split()))
        table.add_column(title, justify="left" if name in _LEFT else "right", overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*(Text(for_terminal(cell, CELL)) for cell in row))
    console.print(table)
    for name, text in READING.items():
        if name in frame.columns:
            line = text.replace("**", "").format(metric=for_terminal(str(analysis.perplexity_metric), CELL))
            console.print(Text(line, style="dim"))
    _print_issues(analysis, console)
    say(f"Report: {analysis.output} (start with summary.md)", console)


def _print_issues(analysis: Analysis, console: Console) -> None:
    serious = sorted(
        (issue for issue in analysis.issues if issue.level != "note"),
        key=lambda issue: issue.level != "error",
    )
    for issue in serious[:_MOST]:
        text = f"{issue.level}: {for_terminal(issue.message, MESSAGE)} [{for_terminal(issue.file, MESSAGE)}]"
        console.print(Text(text, style=_COLORS[issue.level]), soft_wrap=True)
    more = len(serious) - _MOST
    notes = len(analysis.issues) - len(serious)
    if more > 0 or notes:
        counts = ([f"{more} more issues"] if more > 0 else []) + ([f"{notes} notes"] if notes else [])
        say(f"{' and '.join(counts)} in issues.csv", console, "dim")


def say(line: str, console: Console, style: str = "", most: int | None = MESSAGE) -> None:
    """Print a line, of `most` characters if given. Text: rich takes brackets and :names: in strings for its own."""
    console.print(Text(for_terminal(line, most), style=style), soft_wrap=True)

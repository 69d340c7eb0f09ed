"""The headline table and the issues on the terminal, from the same frames as summary.md."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..media import CELL, MESSAGE, for_terminal
from ..result import Analysis
from ..result.render import cells, narrow, present_headline
from ..tables.verdicts.columns import CANT_TELL, CHANGED, SAME
from .summary import READING
from .verdict_page import family_rows, meaning, verdict_lines

__all__ = ["print_analysis", "say"]

_COLORS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST = 12
_MOST_ROWS = 20
_LEFT = {"run", "task", "filter", "measure", "row_verdict"}
_WORDS = {SAME: "bold green", CHANGED: "bold red", CANT_TELL: "bold yellow"}


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print what was compared, the headline, how to read it, errors and warnings (notes only counted), and the path."""
    # The verdicts stand above it already.
    frame = narrow(present_headline(analysis.headline)).drop(columns="verdict", errors="ignore")
    titles, rows = cells(frame)
    say(analysis.title, console, "bold")
    say(analysis.compared, console, "italic")
    _print_verdicts(analysis, console)
    console.print(_table(list(frame.columns), titles, rows))
    for name, text in READING.items():
        if name in frame.columns:
            metric = for_terminal(str(analysis.perplexity_metric), CELL)
            line = text.replace("**", "").format(metric=metric, level=f"{100 * analysis.settings.level:g}")
            console.print(Text(line, style="dim"))
    _print_issues(analysis, console)
    say(f"Report: {analysis.output} (start with summary.md)", console)


def _print_verdicts(analysis: Analysis, console: Console) -> None:
    """A line a run, what the words mean, and the rows that they rest on where they are few."""
    lines = verdict_lines(analysis.tables)
    if not lines:
        return
    wide = max(len(for_terminal(run, CELL)) for run, _, _ in lines)
    for run, word, text in lines:
        name = Text(f"{for_terminal(run, CELL):<{wide}}  ", style="bold")
        console.print(
            name + Text(f"{word:<10}  ", style=_WORDS[word]) + Text(for_terminal(text, MESSAGE)), soft_wrap=True
        )
    for sentence in meaning(analysis.settings, analysis.tables):
        console.print(Text(sentence, style="dim"))
    rows = present_headline(family_rows(analysis.tables).drop(columns=["other_change", "p_equivalence"]))
    if 0 < len(rows) <= _MOST_ROWS:
        console.print(_table(list(rows.columns), *cells(rows)))
    elif len(rows):
        say(f"{len(rows)} rows that verdicts rest on: summary.md", console, "dim")


def _table(names: list[str], titles: list[str], rows: list[list[str]]) -> Table:
    table = Table()
    for name, title in zip(names, titles, strict=True):
        widest = max(map(len, title.split()))
        table.add_column(title, justify="left" if name in _LEFT else "right", overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*(Text(for_terminal(cell, CELL)) for cell in row))
    return table


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

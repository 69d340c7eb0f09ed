"""An examination on the terminal, in a few lines that can be copied."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..media import CELL, MESSAGE, for_terminal
from .doctor import Examination

__all__ = ["print_examination"]

_SAME = ("base model", "lm_eval")
"""Columns that are shown only where runs differ in them: the first line names what all have."""


def print_examination(found: Examination, console: Console) -> None:
    """Print what was found, a row a run, what is missing with what to type, warnings, and the command as it is."""
    _say(found.found, console, "italic")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (shown := _shown(found)):
        table.add_column(name, justify="right" if name == "answers" else "left", overflow="fold")
    for row in found.rows:
        table.add_row(*(Text(for_terminal(row[name], CELL)) for name in shown))
    console.print(table)
    if found.more:
        _say(f"and {found.more} more runs", console, "dim")
    for finding in found.findings:
        advice = f" {finding.advice}{':' if finding.command else '.'}" if finding.advice else ""
        _say(f"missing: {finding.text}.{advice}", console, "red")
        if finding.command:
            _say(f"  {finding.command}", console, "bold")
    for warning in found.warnings:
        _say(f"warning: {warning}", console, "yellow")
    if found.complete:
        _say(f"Nothing is missing; this makes all {found.comparisons} comparisons:", console)
    else:
        _say(f"As it is, this makes {found.comparisons} comparisons and ends with exit code 1:", console)
    _say(f"  {found.command}", console, "bold")


def _shown(found: Examination) -> list[str]:
    return [name for name in found.rows[0] if name not in _SAME or len({row[name] for row in found.rows}) > 1]


def _say(line: str, console: Console, style: str = "") -> None:
    console.print(Text(for_terminal(line, MESSAGE), style=style), soft_wrap=True)

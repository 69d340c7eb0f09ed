"""An examination on the terminal, in a few lines that can be copied."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..media import CELL, for_terminal
from ..result.render import many
from .doctor import Examination
from .terminal import say

__all__ = ["print_examination"]

_SAME = ("base model", "engine", "status", "lm_eval")
"""Columns that are shown only where runs differ in them: the first line names what all have."""


def print_examination(found: Examination, console: Console) -> None:
    """Print what was found, a row a run, what is missing with what to type, warnings, and the command as it is."""
    say(found.found, console, "italic")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (shown := _shown(found)):
        table.add_column(name, justify="right" if name == "answers" else "left", overflow="fold")
    for row in found.rows:
        table.add_row(*(Text(for_terminal(row[name], CELL)) for name in shown))
    console.print(table)
    if found.more:
        say(f"and {many(found.more, 'more run')}", console, "dim")
    for finding in found.findings:
        advice = f" {finding.advice}{':' if finding.command else '.'}" if finding.advice else ""
        say(f"missing: {finding.text}.{advice}", console, "red")
        if finding.command:
            say(f"  {finding.command}", console, "bold", most=None)  # to be copied whole
    for warning in found.warnings:
        say(f"warning: {warning}", console, "yellow")
    if found.complete:
        say(f"Nothing is missing; this makes {many(found.comparisons, 'comparison')}, which is all:", console)
    else:
        made = many(found.comparisons, "comparison")
        say(f"As it is, this makes {made} and ends with exit code {found.exit_code}:", console)
    say(f"  {found.command}", console, "bold", most=None)


def _shown(found: Examination) -> list[str]:
    return [name for name in found.rows[0] if name not in _SAME or len({row[name] for row in found.rows}) > 1]

"""`lm-eval-ext doctor`: what runs hold, what can be compared, and what to type for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from lm_eval_ext.cli.analyze import PIPED, EndsWithExitCodes
from lm_eval_ext.errors import require_text

if TYPE_CHECKING:
    from rich.console import Console

    from lm_eval_ext.analysis import report

__all__ = ["DoctorCommand", "doctor"]

_SAME = ("base model", "lm_eval")
"""Columns that are shown only where runs differ in them: the first line names what all have."""


class DoctorCommand(EndsWithExitCodes):
    """Its help ends with the exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {
        "0": "analyze makes every comparison.",
        "1": "Comparisons are missing; it says which, why, and what to type.",
        "2": "Nothing can be read; the last line says why.",
    }


def doctor(
    runs: Annotated[Path, typer.Argument(help="Folder that lm_eval wrote to, as analyze takes it.")],
    baseline: Annotated[str | None, typer.Option(help="As analyze takes it.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="As analyze takes it. Repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="As analyze takes it. Repeatable.")] = None,
) -> None:
    """Say what runs hold, what each can be compared with, and what to type where something is missing."""
    from rich.console import Console

    from lm_eval_ext.analysis import report

    require_text("RUNS", runs)
    with Console(stderr=True).status("Reading runs"):
        found = report.examine([runs], baseline, allow or (), task or ())
    _print(found, Console() if Console().is_terminal else Console(width=PIPED))
    if not found.complete:
        raise typer.Exit(1)


def _print(found: report.Examination, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    def say(text: str, style: str = "") -> None:
        console.print(escape(text), style=style, highlight=False, soft_wrap=True)

    say(found.found, "italic")
    table = Table(box=None, pad_edge=False, header_style="dim")
    shown = [
        name for name in found.rows[0] if name not in _SAME or len({row[name] for row in found.rows}) > 1 or found.more
    ]
    for name in shown:
        table.add_column(name, justify="right" if name == "answers" else "left", overflow="fold")
    for row in found.rows:
        table.add_row(*(escape(row[name]) for name in shown))
    console.print(table)
    if found.more:
        say(f"and {found.more} more runs", "dim")
    for finding in found.findings:
        say(f"missing: {finding.text}. {finding.advice}{':' if finding.command else '.'}", "red")
        if finding.command:
            say(f"  {finding.command}", "bold")
    for warning in found.warnings:
        say(f"warning: {warning}", "yellow")
    if found.complete:
        say(f"Nothing is missing; this makes all {found.comparisons} comparisons:")
    else:
        say(f"As it is, this makes {found.comparisons} comparisons and ends with exit code 1:")
    say(f"  {found.command}", "bold")

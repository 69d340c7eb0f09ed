"""`lm-eval-ext doctor`: what runs hold, what can be compared, and what to type for the rest."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from lm_eval_ext.cli.analyze import EndsWithExitCodes, console

__all__ = ["DoctorCommand", "doctor"]


class DoctorCommand(EndsWithExitCodes):
    """Its help ends with the exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {
        "0": "analyze makes every comparison.",
        "1": "Comparisons are missing; it says which, why, and what to type.",
        "2": "Nothing can be read; the last line says why.",
    }


def doctor(
    runs: Annotated[list[str], typer.Argument(help="Folders, results files or patterns, as analyze takes them.")],
    baseline: Annotated[str | None, typer.Option(help="As analyze takes it.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="As analyze takes it. Repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="As analyze takes it. Repeatable.")] = None,
    base: Annotated[list[str] | None, typer.Option(help="As analyze takes it. Repeatable.")] = None,
) -> None:
    """Say what runs hold, what each can be compared with, and what to type where something is missing."""
    from rich.console import Console

    from lm_eval_ext.analysis import report

    with Console(stderr=True).status("Reading runs"):
        found = report.examine(runs, baseline, allow or (), task or (), base or ())
    report.print_examination(found, console())
    if not found.complete:
        raise typer.Exit(1)

"""A plan on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..media import CELL, for_terminal
from ..report.terminal import say
from .plan import Plan

__all__ = ["print_plan"]


def print_plan(plan: Plan, console: Console) -> None:
    """Print the sentences, then what each verdict takes with other numbers of items and texts."""
    for sentence in plan.sentences():
        say(sentence, console)
    table = Table(title="What a verdict takes, in one condition")
    for title in ("verdict", "items a template", "texts an item", "templates", "items", "answers"):
        table.add_column(title, justify="left" if title == "verdict" else "right")
    for line in plan.lines:
        if line.templates is None:
            counts = ["over 2,000", "-", "-"]
        else:
            counts = [f"{line.templates:,}", f"{round(line.templates * line.items):,}", f"{line.answers:,}"]
        table.add_row(
            *(for_terminal(cell, CELL) for cell in (line.verdict, f"{line.items:g}", str(line.texts), *counts))
        )
    console.print(table)

"""`lm-eval-ext explain`: what a table of a report holds, and its rows in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lm_eval_ext.media import for_terminal

__all__ = ["explain"]


def explain(
    table: Annotated[str | None, typer.Argument(help="Name of a table; without one all are listed.")] = None,
    report: Annotated[Path | None, typer.Option(help="Report folder, for the table's first rows in words.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 10,
) -> None:
    """Say what a table of a report holds, how to read a row, and its first rows in words."""
    from lm_eval_ext.analysis import report as reports

    lines = reports.listed() if table is None else reports.explain(table, report, rows)
    for line in lines:
        typer.echo(for_terminal(line))

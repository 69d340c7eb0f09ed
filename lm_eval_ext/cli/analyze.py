"""`lm-eval-ext analyze`: compare runs with their baseline and write a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lm_eval_ext.errors import require_text

__all__ = ["analyze"]

_PIPED = 140


def analyze(
    runs: Annotated[Path, typer.Argument(help="Folder that lm_eval wrote to, with results and samples files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Report folder.")] = Path("report"),
    baseline: Annotated[
        str | None, typer.Option(help="Label of the run to compare with, if not the uncompressed one.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="A difference between runs to accept, such as items. Repeatable.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only tasks that match this pattern, such as 'bbq*'. Repeatable.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="A change of a rate within this counts as none (0.05 is five points).")
    ] = 0.05,
    level: Annotated[float, typer.Option(help="Confidence level of intervals and tests.")] = 0.95,
    draws: Annotated[int, typer.Option(help="Random exchanges of a permutation test.")] = 9999,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Compare compressed runs with their baseline, item by item, and write a report.

    Exit codes: 0 all comparisons made; 1 the report is written, but comparisons were refused; 2 nothing
    written, the message says why.
    """
    from rich.console import Console

    from lm_eval_ext.analysis import Settings, report
    from lm_eval_ext.analysis import analyze as run_analysis

    for name, path in (("RUNS", runs), ("--output", output)):
        require_text(name, path)
    settings = Settings(margin=margin, level=level, draws=draws, seed=seed)
    with Console(stderr=True).status("Reading and comparing runs"):
        result = run_analysis(runs, output, baseline=baseline, allow=allow or (), tasks=task or (), settings=settings)
    # A file or a pipe has no width of its own; rich would take 80 columns, which the table does not fit.
    report.print_analysis(result, Console() if Console().is_terminal else Console(width=_PIPED))
    if result.pairing.refusals:
        raise typer.Exit(1)

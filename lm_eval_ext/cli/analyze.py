"""`lm-eval-ext analyze`: compare runs with their baseline and write a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

from lm_eval_ext.analysis import Settings
from lm_eval_ext.errors import UserError, require_text

__all__ = ["AnalyzeCommand", "EndsWithExitCodes", "analyze", "console"]

_PIPED = 140
"""Columns of what is written to a file or a pipe."""
_DEFAULT = Settings()
_EXIT_CODES = {
    "0": "The report is written, and every comparison was made.",
    "1": "The report is written, but comparisons are missing; it names them.",
    "2": "No report is made; the last line says why.",
}


def console() -> Any:
    """A rich console to print on. A file or a pipe has no width of its own, and 80 columns would not do."""
    from rich.console import Console

    return Console() if Console().is_terminal else Console(width=_PIPED)


class EndsWithExitCodes(TyperCommand):
    """A command whose help ends with its exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        super().format_help(ctx, formatter)
        for title, rows in (*self.sections(), ("Exit codes", self.exit_codes)):
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))

    def sections(self) -> list[tuple[str, dict[str, str]]]:
        """What else stands before them: titles, and names with their meaning."""
        return []


class AnalyzeCommand(EndsWithExitCodes):
    """Its help ends with the names that --allow takes, and with the exit codes."""

    exit_codes = _EXIT_CODES

    def sections(self) -> list[tuple[str, dict[str, str]]]:
        """The differences."""
        from lm_eval_ext.analysis import DIFFERENCES

        return [("Differences that --allow takes", DIFFERENCES)]


def analyze(
    runs: Annotated[
        list[str],
        typer.Argument(help="Folders that lm_eval wrote to, results files, or patterns such as 'runs/*'."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Report folder.")] = Path("report"),
    baseline: Annotated[
        str | None, typer.Option(help="Label of the run to compare with, if not the uncompressed one.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Accept this difference between runs; the names are below. Repeatable.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only tasks that match this pattern, such as 'bbq*'. Repeatable.")
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=BASE",
            help="What a checkpoint was made from, such as org/m-AWQ=org/m. MODEL may be a run's label. Repeatable.",
        ),
    ] = None,
    level: Annotated[float, typer.Option(help=Settings.help("level"))] = _DEFAULT.level,
    margin: Annotated[float, typer.Option(help=Settings.help("margin"))] = _DEFAULT.margin,
    reach: Annotated[float, typer.Option(help=Settings.help("reach"))] = _DEFAULT.reach,
    exchanges: Annotated[int, typer.Option(help=Settings.help("exchanges"))] = _DEFAULT.exchanges,
    texts_per_item: Annotated[int, typer.Option(help=Settings.help("texts_per_item"))] = _DEFAULT.texts_per_item,
    seed: Annotated[int, typer.Option(help=Settings.help("seed"))] = _DEFAULT.seed,
    sequential: Annotated[bool, typer.Option("--sequential", help=Settings.help("sequential"))] = _DEFAULT.sequential,
    draws: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compare compressed runs with their baseline, item by item, and write a report."""
    from rich.console import Console

    from lm_eval_ext.analysis import analyze as run_analysis
    from lm_eval_ext.analysis import report

    require_text("--output", output)
    if draws is not None:
        raise UserError(f"--draws has another name now: --exchanges {draws}")
    settings = Settings(
        level=level,
        margin=margin,
        reach=reach,
        exchanges=exchanges,
        texts_per_item=texts_per_item,
        seed=seed,
        sequential=sequential,
    )
    with Console(stderr=True).status("Reading and comparing runs"):
        result = run_analysis(runs, output, baseline, allow or (), task or (), settings=settings, base=base or ())
    report.print_analysis(result, console())
    if not result.complete:
        raise typer.Exit(1)

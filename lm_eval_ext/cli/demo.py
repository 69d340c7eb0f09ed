"""`lm-eval-ext demo` and `lm-eval-ext demo-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lm_eval_ext.media import for_terminal

__all__ = ["demo", "demo_model"]


def demo(
    output: Annotated[Path, typer.Option(help="New folder for the runs and the report.")] = Path("demo-output"),
    verbose: Annotated[bool, typer.Option("--verbose", help="Show everything that lm_eval says.")] = False,
) -> None:
    """Run the main job on a small real model and the packaged items: dense, pruned, quantized; then the report."""
    from lm_eval_ext.demo import run_demo

    report = run_demo(output, verbose=verbose)
    typer.secho(for_terminal(f"Open {report / 'summary.md'}"), bold=True)


def demo_model() -> None:
    """Print the folder of the demonstration model, building it once."""
    from lm_eval_ext.demo import demo_model as build

    typer.echo(for_terminal(str(build())))

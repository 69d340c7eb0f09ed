"""The command `lm-eval-ext`: its subcommands, and how a user's fault is shown."""

from __future__ import annotations

import os
import sys

import typer

import lm_eval_ext
from lm_eval_ext.cli import analyze, demo, recipes, run
from lm_eval_ext.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="lm-eval-ext",
    help="Compress a language model on load, ask it the same items, and say which answers changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run", context_settings=run.PASS_THROUGH, add_help_option=False)(run.run)
app.command("analyze")(analyze.analyze)
app.command("demo")(demo.demo)
app.command("demo-model")(demo.demo_model)
app.add_typer(recipes.app, name="recipes")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lm-eval-ext {lm_eval_ext.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


def _is_users_fault(error: Exception) -> bool:
    """Whether this is a UserError of either package; `analysis` loads pandas, so it isn't imported to find out."""
    if isinstance(error, UserError):
        return True
    loaded = sys.modules.get("analysis.errors")
    return loaded is not None and isinstance(error, loaded.UserError)


def main() -> None:
    """Run the command line.

    A `UserError` of either package ends in one line on stderr and exit code 2. LM_EVAL_EXT_DEBUG=1 shows the
    traceback instead. Any other exception is a fault of ours and keeps its traceback.
    """
    try:
        app()
    except Exception as error:
        if not _is_users_fault(error) or os.environ.get("LM_EVAL_EXT_DEBUG") == "1":
            raise
        sys.stderr.write(f"error: {' '.join(str(error).splitlines())}\n")
        sys.exit(2)

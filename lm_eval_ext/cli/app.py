"""The command `lm-eval-ext`: its subcommands, and how a user's fault is shown."""

from __future__ import annotations

import os
import sys

import typer

import lm_eval_ext
from lm_eval_ext.cli import analyze, cache, compress, demo, doctor, explain, plan, profile, recipes, run
from lm_eval_ext.errors import debugging, give_up_stdout, one_line

__all__ = ["app", "main"]

app = typer.Typer(
    name="lm-eval-ext",
    help="Compress a language model on load, ask it the same items, and say which answers changed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run", context_settings=run.PASS_THROUGH, add_help_option=False)(run.run)
app.command("analyze", cls=analyze.AnalyzeCommand)(analyze.analyze)
app.command("doctor", cls=doctor.DoctorCommand)(doctor.doctor)
app.command("explain")(explain.explain)
app.command("plan", cls=plan.PlanCommand)(plan.plan)
app.command("compress", cls=compress.CompressCommand)(compress.compress)
app.command("profile", cls=profile.ProfileCommand)(profile.profile)
app.command("demo")(demo.demo)
app.command("demo-model")(demo.demo_model)
app.add_typer(recipes.app, name="recipes")
app.add_typer(cache.app, name="cache")


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


def _prepare_streams() -> None:
    """Let no text end a command: what a stream can't encode is written as an escape, and a closed one takes all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Kept open for the process: without it the next file would get this number, and what is printed.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line.

    What a user can act on ends in one line on stderr: a `UserError`, an error of the system and text
    that can't be written with exit code 2, an interrupt with 130, a reader that went away with 1 and no line.
    LM_EVAL_EXT_DEBUG=1 shows the traceback instead. Any other exception is a fault of ours and keeps its traceback.
    """
    _prepare_streams()
    try:
        try:
            app()
        finally:
            # Here rather than when Python ends, so that a full disk is an error and not a note.
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        line = one_line(error)
        if line is None or debugging():
            raise
        if isinstance(error, OSError):
            give_up_stdout()
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        sys.stderr.write(f"error: {line}\n")
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 2)

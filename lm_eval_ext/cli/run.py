"""`lm-eval-ext run`: lm_eval's own command with our model and tasks, where the start-up hook is off."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["PASS_THROUGH", "run"]

# Every argument, options included, belongs to lm_eval.
PASS_THROUGH: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}


def run(context: typer.Context) -> None:
    """Run lm_eval with compressed_hf and our tasks known; all arguments go to lm_eval as they are."""
    from lm_eval.__main__ import cli_evaluate

    from lm_eval_ext import plugin

    arguments = list(context.args)
    if not arguments or arguments[0].startswith("-"):
        arguments = ["run", *arguments]
    plugin.activate(_tasks(arguments) if arguments[0] == "run" else ())
    sys.argv = ["lm_eval", *arguments]
    cli_evaluate()


def _tasks(arguments: Sequence[str]) -> list[str]:
    """Names after --tasks (-t), as lm_eval splits them; empty where it is not given, or a config file may give it."""
    names: list[str] = []
    reading = False
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag in ("--config", "-C"):
            return []
        if flag in ("--tasks", "-t"):
            reading, names = not value, value.split(",") if value else []
        elif argument.startswith("-"):
            reading = False
        elif reading:
            names += argument.split(",")
    return [name for name in names if name]

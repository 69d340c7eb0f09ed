"""`lm-eval-ext profile`: bytes, memory and speed of a compressed model beside the dense one."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from lm_eval_ext.cli.analyze import EndsWithExitCodes, console
from lm_eval_ext.cli.compress import model_arguments
from lm_eval_ext.errors import UserError, require_text
from lm_eval_ext.media import for_json, for_terminal

__all__ = ["ProfileCommand", "profile"]


class ProfileCommand(EndsWithExitCodes):
    """Its help ends with the exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {
        "0": "The table is printed.",
        "2": "Something can't be measured; the last line says why.",
    }


def profile(
    pretrained: Annotated[str, typer.Option(help="Dense model: a folder, or a name on the hub.")],
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe, as compress takes them.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe to compress it with, for the other side.")] = None,
    method: Annotated[str | None, typer.Option(help="Method by name, instead of a recipe.")] = None,
    compressed: Annotated[str | None, typer.Option(help="Checkpoint that is compressed already.")] = None,
    format: Annotated[str, typer.Option(help="As compress takes it, with --recipe.")] = "hf",
    output: Annotated[
        Path | None, typer.Option(help="JSON file for the record, or a folder of runs to put profile_*.json in.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Processes of each model, in turn; fewer than 6 tell of no difference in speed.")
    ] = 6,
    repeats: Annotated[int, typer.Option(help="Prompts of each batch size in a process.")] = 2,
    prompt: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 128,
    new: Annotated[int, typer.Option(help="Tokens generated after each.")] = 16,
    archive: Annotated[bool, typer.Option(help="Compress the files to see how small they get.")] = True,
    dtype: Annotated[str, typer.Option(help="Dtype of both models.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cuda if there is one, else cpu.")] = None,
) -> None:
    """Measure bytes, load time, memory and tokens a second, dense beside compressed, each in a process of its own."""
    from lm_eval_ext.models.profile.measure import Plan
    from lm_eval_ext.models.profile.measure import profile as measure
    from lm_eval_ext.models.profile.table import print_profile

    arguments = model_arguments(keys or (), dtype, device)
    plan = Plan(
        rounds=rounds,
        repeats=repeats,
        prompt=prompt,
        new=new,
        archive=archive,
        # Both sides are loaded alike, whatever says how.
        dtype=str(arguments.get("dtype", "auto")),
        device=arguments.get("device"),
        revision=str(arguments.get("revision", "main")),
        trust_remote_code=bool(arguments.get("trust_remote_code", False)),
    )
    if sum(value is not None for value in (recipe, method, compressed)) > 1:
        raise UserError("--recipe, --method and --compressed each name the other side; give one")
    if keys and recipe is None and method is None:
        raise UserError(f"{keys[0]} is a key of a recipe; give --recipe or --method with it")
    target = None if output is None else _target(output)
    from rich.console import Console

    with ExitStack() as stack:
        status = stack.enter_context(Console(stderr=True).status("Measuring"))
        sides = {"dense": pretrained}
        if recipe is not None or method is not None:
            from lm_eval_ext.models.export.make import export

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lm-eval-ext-profile-")))
            export(pretrained, folder / "made", recipe=recipe, method=method, format=format, arguments=arguments)
            sides["compressed"] = str(folder / "made")
        elif compressed is not None:
            sides["compressed"] = compressed
        record = measure(sides, plan, lambda line: status.update(for_terminal(line)))
    if recipe is not None or method is not None:
        record["sides"][1]["pretrained"] = None  # the folder is gone
    print_profile(record, console())
    if target is not None:
        partial = target.with_name(f".{target.name}.partial")
        partial.write_text(for_json(record, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, target)
        typer.echo(for_terminal(str(target)))


def _target(output: Path) -> Path:
    """The file to write, seen to be writable before anything is measured."""
    require_text("--output", output)
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S")
    target = output / f"profile_{stamp}.json" if output.is_dir() else output
    if target.suffix != ".json":
        raise UserError(f"--output {output}: expected a name that ends in .json, or a folder that is there")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UserError(f"--output {output}: {target.parent} is no folder that can be written")
    return target

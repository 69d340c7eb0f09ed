"""`lm-eval-ext compress`: a compressed checkpoint to give away, checked by loading it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from lm_eval_ext.cli.analyze import EndsWithExitCodes
from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.media import for_terminal

__all__ = ["CompressCommand", "compress", "key_values", "model_arguments"]


class CompressCommand(EndsWithExitCodes):
    """Its help ends with the exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {
        "0": "The checkpoint is written, and loads to the same model.",
        "2": "Nothing is written; the last line says why.",
    }


def compress(
    pretrained: Annotated[str, typer.Option(help="Model: a folder, or a name on the hub.")],
    output: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe or model arguments, as lm_eval takes them."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Packaged recipe, or a YAML file.")] = None,
    method: Annotated[str | None, typer.Option(help="Method by name, instead of a recipe; its keys follow.")] = None,
    format: Annotated[str, typer.Option(help="hf, compressed-tensors, gptq or gguf.")] = "hf",
    dtype: Annotated[str, typer.Option(help="Dtype to load the weights in.")] = "auto",
    device: Annotated[str | None, typer.Option(help="Where to compress: cuda if there is one, else cpu.")] = None,
) -> None:
    """Compress a model and write it: weights, recipe, evidence and a model card.

    The folder appears once everything is written and has been loaded again: the same weights, the same logits.
    """
    if (recipe is None) == (method is None):
        raise UserError("give --recipe or --method, and one of them")
    arguments = model_arguments(keys or (), dtype, device)
    from lm_eval_ext.models.export.make import export

    done = export(pretrained, output, recipe=recipe, method=method, format=format, arguments=arguments)
    evidence = done.evidence
    totals = evidence.totals
    held = [f"{totals.get('matrices', 0)} matrices"]
    if evidence.sparsity is not None:
        held.append(f"{totals['achieved_sparsity']:.2%} zeros")
    if evidence.bits is not None:
        held.append(f"{evidence.bits:g} bits")
    typer.echo(for_terminal(f"{evidence.label} ({evidence.status}): {', '.join(held)}"))
    typer.echo(f"loaded again: the same weights, logits differ by at most {done.logits:.3g}")
    typer.echo(for_terminal(f"{done.folder} ({done.format}, {done.bytes / 1e6:,.1f} MB)"))


def key_values(given: list[str] | tuple[()]) -> dict[str, Any]:
    """`KEY=VALUE` of a command line as lm_eval reads its model arguments: numbers, true and false are what they say.

    Raises:
        UserError: For one without '=', without a name, or that stands twice.
    """
    found: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.isidentifier():
            raise UserError(f"{seen(text)}: expected KEY=VALUE, such as sparsity=0.4")
        if key in found:
            raise UserError(f"{key}= stands twice; give it once")
        from lm_eval.utils import handle_arg_string

        found[key] = handle_arg_string(value)
    return found


def model_arguments(keys: list[str] | tuple[()], dtype: str, device: str | None) -> dict[str, Any]:
    """Keys of a recipe and model arguments, with the two that are options too.

    Raises:
        UserError: As `key_values`; if one of the two stands there twice.
    """
    arguments = key_values(keys)
    for name, value in (("dtype", dtype if dtype != "auto" else None), ("device", device)):
        if value is not None:
            if name in arguments:
                raise UserError(f"--{name} and {name}= both stand there; give one")
            arguments[name] = value
    return arguments

"""`lm-eval-ext cache`: what compressed checkpoints are kept, and how to remove them."""

from __future__ import annotations

import typer

from lm_eval_ext.media import for_terminal

__all__ = ["app"]

app = typer.Typer(help="List the compressed checkpoints that are kept, or remove them.", no_args_is_help=True)


@app.command("list")
def list_kept() -> None:
    """List what is kept, newest first: date (UTC), megabytes, recipe and model, folder."""
    from lm_eval_ext.models.checkpoints.cache import checkpoint_cache
    from lm_eval_ext.models.checkpoints.shelf import entries

    found = entries(checkpoint_cache())
    for entry in found:
        typer.echo(for_terminal(f"{entry.made}  {entry.bytes / 1e6:>10,.1f} MB  {entry.label}  {entry.path}"))
    total = sum(entry.bytes for entry in found)
    typer.echo(for_terminal(f"{len(found)} kept, {total / 1e6:,.1f} MB in {checkpoint_cache()}"))


@app.command("clear")
def clear_kept() -> None:
    """Remove everything that is kept; the next run compresses again."""
    from lm_eval_ext.models.checkpoints.cache import checkpoint_cache
    from lm_eval_ext.models.checkpoints.shelf import clear

    count, size = clear(checkpoint_cache())
    typer.echo(for_terminal(f"{count} removed, {size / 1e6:,.1f} MB in {checkpoint_cache()}"))

"""`lm-eval-ext recipes`: which recipes are packaged, and what is in one."""

from __future__ import annotations

import typer

from lm_eval_ext.errors import UserError

__all__ = ["app"]

app = typer.Typer(help="List the packaged recipes, or show one.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """List the packaged recipes: name, methods in order, description.

    A file that is no valid recipe is named on stderr and ends the command with exit code 2, after the others.
    """
    from lm_eval_ext.models.recipe.files import load_recipe, recipe_names

    rows: list[tuple[str, str, str]] = []
    faults: list[UserError] = []
    for name in recipe_names():
        try:
            recipe = load_recipe(name)
        except UserError as error:
            faults.append(error)
            continue
        rows.append((name, recipe.method, " ".join(recipe.description.split())))
    wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for name, method, description in rows:
        typer.echo(f"{name:<{wide[0]}}  {method:<{wide[1]}}  {description}".rstrip())
    for fault in faults:
        typer.echo(f"error: {fault}", err=True)
    if faults:
        raise typer.Exit(2)


@app.command("show")
def show_recipe(
    name: str = typer.Argument(help="Name of a packaged recipe, or path of a YAML file."),
) -> None:
    """Print a valid recipe as it was written (YAML), to read or to start your own from."""
    from lm_eval_ext.models.recipe.files import load_recipe, recipe_text

    load_recipe(name)
    typer.echo(recipe_text(name).rstrip())

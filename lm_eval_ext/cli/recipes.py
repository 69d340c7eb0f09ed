"""`lm-eval-ext recipes`: which recipes are packaged, and what is in one."""

from __future__ import annotations

import typer

from lm_eval_ext.errors import UserError, one_line
from lm_eval_ext.media import for_terminal

__all__ = ["app"]

app = typer.Typer(help="List the packaged recipes and what they can name, or show one recipe.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """List the packaged recipes: name, methods in order, description.

    Then every method, backend and data set by name, with the package that it comes from.

    A file that is no valid recipe is named on stderr and ends the command with exit code 2, after the others. So is a
    name that two packages offer.
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
        typer.echo(for_terminal(f"{name:<{wide[0]}}  {method:<{wide[1]}}  {description}".rstrip()))
    faults += _list_entries()
    for fault in faults:
        typer.echo(f"error: {one_line(fault)}", err=True)
    if faults:
        raise typer.Exit(2)


def _list_entries() -> list[UserError]:
    """Print every name that a recipe or a task can use, and give back what is wrong with some; loads none of them."""
    from lm_eval_ext.datasets.catalogue import dataset_entries
    from lm_eval_ext.models.backends.registry import backend_entries
    from lm_eval_ext.models.recipe.catalogue import method_entries

    found = [entry for group in (method_entries(), backend_entries(), dataset_entries()) for entry in group.values()]
    wide = [max(len(text) for text in column) for column in ([e.kind for e in found], [e.name for e in found])]
    typer.echo()
    for entry in found:
        owners = " and ".join([entry.package, *entry.rivals])
        typer.echo(for_terminal(f"{entry.kind:<{wide[0]}}  {entry.name:<{wide[1]}}  {owners}"))
    return [entry.clash() for entry in found if entry.rivals]


@app.command("show")
def show_recipe(
    name: str = typer.Argument(help="Name of a packaged recipe, or path of a YAML file."),
) -> None:
    """Print a valid recipe as it was written (YAML), to read or to start your own from."""
    from lm_eval_ext.models.recipe.files import load_recipe, recipe_text

    load_recipe(name)
    for line in recipe_text(name).rstrip().split("\n"):
        typer.echo(for_terminal(line.expandtabs()))

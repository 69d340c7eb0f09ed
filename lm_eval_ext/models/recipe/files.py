"""Recipes as YAML files: the packaged ones by name, any other by its path."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

from lm_eval_ext.errors import UserError, seen, unknown_name
from lm_eval_ext.models.recipe.catalogue import method_names
from lm_eval_ext.models.recipe.plain_yaml import read_yaml
from lm_eval_ext.models.recipe.reading import read_text
from lm_eval_ext.models.recipe.recipe import Recipe, make_recipe

__all__ = ["load_recipe", "recipe_folder", "recipe_names", "recipe_text"]

LARGEST = 65_536
"""Bytes of a recipe that are read; the packaged ones have under a thousand."""

_LONGEST = 1000
# Cyrillic and Greek letters that are drawn like Latin ones.
_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0455\u0501\u03bf\u03b1\u03bd", "aeopcxyisdoav"
)

# A part of a name that says a method and its level: "wanda-50", "rtn-4", "magnitude-2:4".
_LEVEL = re.compile(r"(\w+)-[\d.:]+")


@cache
def recipe_folder() -> Path:
    """Folder of the packaged recipes: inside the installed package, or the repository's own."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _packaged() -> dict[str, Path]:
    return {path.stem: path for path in sorted(recipe_folder().glob("*.yaml"))}


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted."""
    return sorted(_packaged())


def _find(name_or_path: str) -> Path | None:
    """The packaged recipe of that name; None for the path of a file."""
    packaged = _packaged()
    if name_or_path in packaged:
        return packaged[name_or_path]
    if name_or_path.endswith((".yaml", ".yml")):
        return None
    raise unknown_name("recipe", name_or_path, list(packaged))


def recipe_text(name_or_path: str) -> str:
    """The YAML text of a recipe as it was written; raises UserError for a name or file that can't be read."""
    path = _find(name_or_path)
    given = name_or_path if path is None else str(path)
    return read_text(given, "recipe file", LARGEST, "give a path to a YAML file or a packaged name")


def load_recipe(name_or_path: str) -> Recipe:
    """Load a packaged recipe by name, or any recipe by the path of its YAML file.

    Raises:
        UserError: If there is none, it is not valid YAML, it holds an unknown or repeated key or a bad value, or its
            name says another thing than its steps. The message names the recipe or file.
    """
    if not isinstance(name_or_path, str):
        raise UserError(f"recipe must be a packaged name or a path to a YAML file, got {seen(name_or_path)}")
    text, where = recipe_text(name_or_path), f"recipe {seen(name_or_path)}"
    try:
        recipe = make_recipe(read_yaml(text), where)
        if _find(name_or_path) is None:
            _refuse_false_name(recipe)
    except UserError as error:
        raise error if where in str(error) else UserError(f"{where}: {error}") from None
    return recipe


def _refuse_false_name(recipe: Recipe) -> None:
    """Refuse the name of a packaged recipe that does something else, and a label that the steps don't have.

    Tables show the name: a copy of wanda-50 with another sparsity must not go on as wanda-50. Names that a reader can't
    tell from these, by case, kind of dash or a space, are taken for them.
    """
    if not recipe.name.isprintable() or recipe.name != recipe.name.strip() or len(recipe.name) > _LONGEST:
        raise UserError(
            f"the name {seen(recipe.name)} can't stand in a table; give it up to {_LONGEST} characters that can be "
            "seen, without a space at either end"
        )
    kv = [recipe.kv.label] if recipe.kv is not None else []
    does = "+".join([*(step.method + step.level for step in recipe.steps), *kv]) or "none"
    looks = _looks(recipe.name)
    if looks in _packaged():
        packaged = load_recipe(looks)
        if packaged.content != recipe.content:
            like = "" if looks == recipe.name else f", which looks like {seen(looks)}"
            raise UserError(
                f"it is named {seen(recipe.name)}{like}, but the packaged recipe of that name is another one; "
                "give it a name of its own"
            )
        return
    said = [_LEVEL.fullmatch(part) for part in looks.split("+")]
    if looks != does and all(match is not None and match[1] in method_names() for match in said):
        raise UserError(f"it is named {seen(recipe.name)}, but its steps are {does}; give it a name that is true")


def _looks(name: str) -> str:
    """What a name looks like: letters of one alphabet, width and case, one kind of dash, nothing invisible."""
    shown = unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE)
    kinds = [(unicodedata.category(character), character) for character in shown]
    return "".join("-" if kind == "Pd" else character for kind, character in kinds if kind not in {"Cf", "Zs", "Mn"})

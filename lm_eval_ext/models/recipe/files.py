"""Recipes as YAML files: the packaged ones by name, any other by its path."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.recipe.catalogue import method_names
from lm_eval_ext.models.recipe.recipe import Recipe, make_recipe

__all__ = ["load_recipe", "recipe_folder", "recipe_names", "recipe_text"]

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


def _find(name_or_path: str) -> Path:
    packaged = _packaged()
    if name_or_path in packaged:
        return packaged[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise UserError(f"recipe file {name_or_path!r} does not exist; give a path to a YAML file or a packaged name")
    raise unknown_name("recipe", name_or_path, list(packaged))


def recipe_text(name_or_path: str) -> str:
    """The YAML text of a recipe as it was written; raises UserError for a name or file that can't be read."""
    return _read(_find(name_or_path), name_or_path)


def load_recipe(name_or_path: str) -> Recipe:
    """Load a packaged recipe by name, or any recipe by the path of its YAML file.

    Raises:
        UserError: If there is none, it is not valid YAML, it holds an unknown or repeated key or a bad value, or its
            name says another thing than its steps. The message names the recipe or file.
    """
    if not isinstance(name_or_path, str):
        raise UserError(f"recipe must be a packaged name or a path to a YAML file, got {name_or_path!r}")
    path, where = _find(name_or_path), f"recipe {name_or_path!r}"
    try:
        values = yaml.load(_read(path, name_or_path), _OnceLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not readable YAML: {' '.join(str(error).split())}") from None
    try:
        recipe = make_recipe(values, where)
    except UserError as error:
        raise error if where in str(error) else UserError(f"{where}: {error}") from None
    _refuse_false_name(recipe, path, where)
    return recipe


class _OnceLoader(yaml.SafeLoader):
    """YAML without two of its traps: repeated keys (the last wins), and 2:4, a number to base 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | str:
        """A number, or the text of a pattern N:M."""
        return str(node.value) if ":" in node.value else super().construct_yaml_int(node)


_OnceLoader.add_constructor("tag:yaml.org,2002:int", _OnceLoader.construct_number)


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"recipe {name!r} is not readable YAML: {error}") from None
    except OSError as error:
        raise UserError(f"recipe {name!r} can't be read: {error.strerror}") from None


def _refuse_false_name(recipe: Recipe, path: Path, where: str) -> None:
    """Refuse the name of a packaged recipe that does something else, and a label that the steps don't have.

    Tables show the name: a copy of wanda-50 with another sparsity must not go on as wanda-50.
    """
    does = "+".join(step.method + step.level for step in recipe.steps) or "none"
    own = _packaged().get(recipe.name)
    if own is not None and own != path and own.resolve() != path.resolve():
        packaged = load_recipe(recipe.name)
        if (packaged.steps, packaged.calibration, packaged.dtype) != (recipe.steps, recipe.calibration, recipe.dtype):
            raise UserError(
                f"{where} is named {recipe.name!r}, but the packaged recipe of that name is another one; "
                "give it a name of its own"
            )
        return
    said = [_LEVEL.fullmatch(part) for part in recipe.name.split("+")]
    if recipe.name != does and all(match is not None and match[1] in method_names() for match in said):
        raise UserError(f"{where} is named {recipe.name!r}, but its steps are {does}; give it a name that is true")

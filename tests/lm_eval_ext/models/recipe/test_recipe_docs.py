"""The pages of the methods name the packaged recipes, all of them and no others."""

from __future__ import annotations

import re

import pytest

from lm_eval_ext.models.recipe.catalogue import METHODS
from lm_eval_ext.models.recipe.files import load_recipe, recipe_names
from tests.helpers.venvs import ROOT


def expanded(pattern: str) -> set[str]:
    """`wanda-{10,30}` as a shell would expand it."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
    return {pattern} if found is None else {found[1] + part + found[3] for part in found[2].split(",")}


@pytest.mark.parametrize("method", METHODS)
def test_the_page_of_a_method_names_its_recipes(method: str) -> None:
    page = (ROOT / "docs" / "methods" / f"{method}.md").read_text(encoding="utf-8")
    start = page.index("\nRecipes: ")
    names = re.findall(r"`([\w{},-]+)`", page[start : page.index("\n\n", start)])
    written = set().union(*map(expanded, names))
    assert written == {name for name in recipe_names() if load_recipe(name).method == method}

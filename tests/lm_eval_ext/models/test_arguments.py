"""No key of a recipe takes the place of an argument of lm_eval's hf model, and an unknown argument is told."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.arguments import loader_keys, refuse_stolen_keys, refuse_unknown
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.recipe.catalogue import METHODS, method_class
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.models.recipe.resolve import CALIBRATION_KEYS, recipe_keys
from lm_eval_ext.models.recipe.step import LibraryStep
from tests.helpers.packages import write_package

# What HFLM takes by name; `kwargs` goes on to transformers.
SIGNATURE = set(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"}


def test_the_signature_is_the_one_that_is_looked_at() -> None:
    assert {"pretrained", "device", "dtype", "backend", "max_length", "peft", "gguf_file"} <= SIGNATURE
    assert loader_keys() >= SIGNATURE


@pytest.mark.parametrize("name", METHODS)
def test_no_key_of_our_methods_is_an_argument_of_hflm(name: str) -> None:
    assert not set(method_class(name).model_fields) & loader_keys()
    refuse_stolen_keys({name: method_class(name)})


def test_no_key_of_recipe_or_calibration_is_an_argument_of_hflm() -> None:
    assert not recipe_keys() & loader_keys()
    assert not CALIBRATION_KEYS.keys() & loader_keys()
    assert set(CALIBRATION_KEYS.values()) == set(Calibration.model_fields)
    assert not set(LibraryStep.model_fields) & loader_keys()
    # A recipe's dtype is no model argument: the loader's own says which weights there are.
    assert set(Recipe.model_fields) & loader_keys() == {"dtype"}
    assert "dtype" not in recipe_keys()


def test_our_own_arguments_are_none_of_hflm() -> None:
    own = set(inspect.signature(CompressedHFLM.__init__).parameters) - {"self", "kwargs"}
    # Given another default or handed on as they are.
    assert own & SIGNATURE == {"pretrained", "device", "softmax_dtype"}


STOLEN = """
from typing import ClassVar, Literal
from lm_eval_ext.models.native.method import MatrixMethod

class Mine(MatrixMethod):
    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    method: Literal["mine"] = "mine"
    {key}: str = ""

    def apply(self, weight, matrix):
        return weight
"""


@pytest.mark.parametrize("key", ["device", "max_length", "token", "save_compressed", "samples", "recipe"])
def test_a_package_whose_method_takes_an_argument(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"stolen_{key}"
    write_package(
        tmp_path, {"lm_eval_ext.methods": {"mine": f"{module}:Mine"}}, {f"{module}.py": STOLEN.format(key=key)}
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        UserError,
        match=rf"^package toy 0\.1: method 'mine' \({module}:Mine\) has the key {key}, which is a model argument",
    ):
        CompressedHFLM(pretrained="nowhere", method="mine")


def test_an_unknown_argument() -> None:
    with pytest.raises(UserError, match=r"unknown model argument 'max_lenght'. Did you mean 'max_length'\?"):
        refuse_unknown({"max_lenght": 4}, recipe_keys())
    with pytest.raises(UserError, match=r"unknown model argument 'sparsty'. Did you mean 'sparsity'\?"):
        refuse_unknown({"sparsty": 4}, recipe_keys())
    refuse_unknown({"attn_implementation": "eager", "rolling_bos": "once"}, recipe_keys())

"""The KV cache in a recipe: its keys, its names, and what is refused."""

from __future__ import annotations

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.files import load_recipe, recipe_names
from lm_eval_ext.models.recipe.recipe import make_recipe
from lm_eval_ext.models.recipe.resolve import DENSE, resolve


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("kv-")])
def test_inline_keys_are_the_packaged_recipe(name: str) -> None:
    packaged = load_recipe(name)
    assert packaged.kv is not None
    assert resolve(kv=packaged.kv.format) == packaged
    assert resolve(recipe=name) == packaged
    assert packaged.weights == packaged.model_copy(update={"name": "dense", "kv": None})


@pytest.mark.parametrize(
    ("keys", "label", "method", "bits"),
    [
        ({"kv": "int4", "kv_residual": 128}, "kv-int4(residual=128)", "kv", 4),
        ({"kv": "int2", "kv_group_size": 32}, "kv-int2(group_size=32)", "kv", 2),
        ({"kv": "fp8_e5m2"}, "kv-fp8-e5m2", "kv_fp8_e5m2", 8),
        ({"recipe": "rtn-4", "kv": "int8"}, "rtn-4+kv-int8", "rtn+kv_int8", 4),
        ({"recipe": "wanda-50", "kv": "int8"}, "wanda-50+kv-int8", "wanda+kv_int8", None),
        ({"recipe": "kv-int4", "kv_residual": 64}, "kv-int4(residual=64)", "kv", 4),
        ({"recipe": "kv-int4", "kv": "int8"}, "kv-int8", "kv", 8),
        ({"method": "rtn", "bits": 3, "kv": "int2"}, "rtn-3+kv-int2", "rtn+kv_int2", 3),
    ],
)
def test_names(keys: dict[str, object], label: str, method: str, bits: float | None) -> None:
    recipe = resolve(**keys)  # type: ignore[arg-type]
    assert (recipe.label, recipe.method, recipe.bits) == (label, method, bits)
    assert make_recipe(recipe.as_dict(), "again") == recipe
    assert recipe.weights.kv is None
    assert "kv" not in recipe.weights.label


def test_nothing_asked_is_dense() -> None:
    assert resolve() == DENSE
    assert DENSE.weights == DENSE


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kv_residual": 8}, "kv_residual given without kv; add kv=int8, int4, int2, fp8_e4m3 or fp8_e5m2"),
        ({"kv": "int3"}, "kv: format='int3'"),
        ({"kv": 8}, "kv=8: expected int8"),
        ({"kv": "fp8_e4m3", "kv_group_size": 64}, "group_size=64 with fp8_e4m3, which has no groups"),
        ({"kv": "int4", "kv_group_size": 4}, "group_size"),
        ({"kv": "int4", "kv_residual": -1}, "residual"),
    ],
)
def test_refused_in_one_line(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(**keys)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_file_with_a_false_name_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nname: kv-int4\nsteps: []\nkv: {format: int8}\n", encoding="utf-8")
    with pytest.raises(UserError, match="the packaged recipe of that name is another one"):
        load_recipe(str(file))

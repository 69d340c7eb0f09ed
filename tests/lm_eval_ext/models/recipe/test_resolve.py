"""Model arguments to recipes: both forms mean the same, labels tell what differs, the rest is refused."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.files import load_recipe, recipe_names
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.models.recipe.resolve import DENSE, recipe_keys, resolve


def test_nothing_asked_is_the_dense_baseline() -> None:
    assert resolve() == DENSE
    assert resolve(recipe=None, method=None, sparsity=None) == DENSE
    assert resolve(recipe="dense").steps == DENSE.steps == ()


@pytest.mark.parametrize(
    ("name", "inline"),
    [
        ("wanda-50", {"method": "wanda", "sparsity": 0.5, "calibration": "c4", "samples": 128, "seqlen": 2048}),
        ("wanda-2-4", {"method": "wanda", "pattern": "2:4", "seqlen": 2048}),
        ("magnitude-30", {"method": "magnitude", "sparsity": 0.3}),
        ("rath-magnitude-70", {"method": "magnitude", "sparsity": 0.7, "ties": "threshold"}),
        ("rath-random-10", {"method": "random", "sparsity": 0.1, "exact": False, "seed": 42}),
        ("rtn-4", {"method": "rtn", "bits": 4, "group_size": 64}),
        ("rath-q-3", {"method": "mlx_affine", "bits": 3, "group_size": 64, "scope": "mlx_lm"}),
    ],
)
def test_both_forms_mean_the_same(name: str, inline: dict[str, Any]) -> None:
    by_name, by_keys = resolve(recipe=name), resolve(**inline)
    assert by_name.steps == by_keys.steps
    assert by_name.calibration == by_keys.calibration
    assert by_name.as_dict()["steps"] == by_keys.as_dict()["steps"]


def test_a_file_and_a_name_mean_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(load_recipe("wanda-50").as_yaml(), encoding="utf-8")
    assert resolve(recipe=str(file)) == resolve(recipe="wanda-50")


def test_defaults_are_written_out() -> None:
    recipe = resolve(method="wanda", sparsity=0.5)
    assert recipe.calibration == Calibration(source="c4", samples=128, seqlen=None, seed=0, short="error")
    assert recipe.as_dict()["steps"][0]["sequential"] is True


def test_overrides_reach_the_step_and_the_calibration() -> None:
    recipe = resolve(recipe="wanda-50", sparsity=0.3, calibration="demo", samples=4, seed=7)
    assert recipe.sparsity == 0.3
    assert recipe.calibration == Calibration(source="demo", samples=4, seqlen=2048, seed=7)
    assert recipe.source == f"changed from wanda-30 ({load_recipe('wanda-30').source})"
    assert recipe.description == "wanda-30 with calibration=demo, samples=4, seed=7"


def test_override_keeps_the_rest_of_a_step() -> None:
    step = resolve(recipe="rath-wanda-50", sparsity=0.3).as_dict()["steps"][0]
    assert (step["sequential"], step["exclude"], step["sparsity"]) == (False, ["*.o_proj", "*.down_proj"], 0.3)


def test_pipeline_shares_out_its_keys() -> None:
    recipe = resolve(method="random+rtn", sparsity=0.5, seed=3, bits=4)
    assert [step.method for step in recipe.steps] == ["random", "rtn"]
    assert recipe.as_dict()["steps"][0]["seed"] == 3
    assert (recipe.sparsity, recipe.bits, recipe.calibration) == (0.5, 4, None)


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({}, "dense"),
        ({"recipe": "wanda-50"}, "wanda-50"),
        ({"recipe": "wanda-50", "sparsity": 0.5}, "wanda-50"),
        ({"recipe": "wanda-50", "sparsity": 0.3}, "wanda-30"),
        ({"recipe": "wanda-50", "sparsity": 0.35}, "wanda-35(seqlen=2048)"),
        ({"recipe": "wanda-50", "sparsity": 0.3, "seed": 1}, "wanda-30(seed=1)"),
        ({"recipe": "wanda-50", "seed": 1}, "wanda-50(seed=1)"),
        ({"recipe": "wanda-50", "sequential": False}, "wanda-50(sequential=False,seqlen=2048)"),
        ({"recipe": "magnitude-2-4", "pattern": "4:8"}, "magnitude-4-8"),
        ({"recipe": "magnitude-2-4", "pattern": "1:4"}, "magnitude-1:4"),
        ({"recipe": "rtn-4", "bits": 6}, "rtn-6"),
        ({"recipe": "rtn-4", "group_size": 64}, "rtn-4"),
        ({"recipe": "rtn-4", "group_size": 32}, "rtn-4(group_size=32)"),
        ({"recipe": "random-50", "sparsity": 0.45, "seed": 3}, "random-45(seed=3)"),
        ({"recipe": "rath-random-50", "seed": 3}, "rath-random-50(seed=3)"),
        ({"recipe": "rath-wanda-50", "sparsity": 0.3}, "rath-wanda-30"),
        (
            {"recipe": "rath-wanda-50", "sparsity": 0.35},
            "wanda-35(exclude=*.o_proj+*.down_proj,sequential=False,seqlen=2048)",
        ),
        ({"recipe": "rath-q-4", "bits": 5}, "mlx_affine-5(scope=mlx_lm)"),
        ({"recipe": "wanda-50", "calibration": "demo", "samples": 8}, "wanda-50(calibration=demo,samples=8)"),
        ({"recipe": "wanda-50", "calibration": "/data/my.txt"}, "wanda-50(calibration=my.txt)"),
        ({"method": "magnitude", "sparsity": 0.5}, "magnitude-50"),
        ({"method": "magnitude", "sparsity": 0.29}, "magnitude-29"),
        ({"method": "magnitude", "sparsity": 0.125}, "magnitude-12.5"),
        ({"method": "magnitude", "sparsity": 0.0}, "magnitude-0"),
        ({"method": "magnitude", "pattern": "2:4"}, "magnitude-2:4"),
        ({"method": "magnitude", "sparsity": 0.5, "scope": "matrix"}, "magnitude-50"),
        ({"method": "magnitude", "sparsity": 0.5, "scope": "row"}, "magnitude-50(scope=row)"),
        ({"method": "random", "sparsity": 0.5, "seed": 1, "exact": False}, "random-50(exact=False,seed=1)"),
        ({"method": "rtn", "bits": 4}, "rtn-4"),
        ({"method": "rtn", "bits": 4, "group_size": 64}, "rtn-4"),
        ({"method": "rtn", "bits": 4, "group_size": 32}, "rtn-4(group_size=32)"),
        ({"method": "wanda", "sparsity": 0.5, "calibration": "demo", "seed": 2}, "wanda-50(calibration=demo,seed=2)"),
        ({"method": "magnitude+rtn", "sparsity": 0.5, "bits": 4}, "magnitude-50+rtn-4"),
    ],
)
def test_labels(keys: dict[str, Any], label: str) -> None:
    assert resolve(**keys).label == label


PIPELINE = """\
name: wanda-50-then-4bit
steps: [{method: wanda, sparsity: 0.5}, {method: rtn, bits: 4, group_size: 128}]
dtype: float16
"""


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({}, "wanda-50-then-4bit"),
        ({"sparsity": 0.5, "bits": 4}, "wanda-50-then-4bit"),
        ({"sparsity": 0.3}, "wanda-30+rtn-4(group_size=128)"),
        ({"bits": 3}, "wanda-50+rtn-3(group_size=128)"),
        ({"group_size": 64}, "wanda-50+rtn-4"),
        ({"pattern": "2:4", "samples": 8}, "wanda-2:4+rtn-4(group_size=128,samples=8)"),
        ({"samples": 8}, "wanda-50-then-4bit(samples=8)"),
        ({"sparsity": 0.3, "samples": 8}, "wanda-30+rtn-4(group_size=128,samples=8)"),
    ],
)
def test_a_name_of_ones_own_goes_when_a_step_changes(keys: dict[str, Any], label: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PIPELINE, encoding="utf-8")
    recipe = resolve(recipe=str(file), **keys)
    assert recipe.label == label
    assert recipe.dtype == "float16"


def does(recipe: Recipe) -> dict[str, Any]:
    """What a recipe does: steps and calibration. A sparsity beside a pattern says nothing more than the pattern."""
    values = recipe.as_dict()
    steps = [step | {"sparsity": None} if step.get("pattern") else step for step in values["steps"]]
    return {"steps": steps, "calibration": values["calibration"]}


@pytest.mark.parametrize("name", ["wanda-50", "rath-wanda-30", "random-2-4", "rtn-4", "rath-q-3"])
def test_labels_are_apart_where_recipes_are(name: str) -> None:
    known = load_recipe(name)
    values: dict[str, list[object]] = {
        "sparsity": [0.3, 0.5, 0.55], "pattern": ["2:4", "4:8", "1:4"], "bits": [3, 4, 8], "group_size": [32, 64, 128],
        "seed": [0, 1], "sequential": [True, False], "exact": [True, False], "exclude": ["*.o_proj", "*.q_proj"],
        "scope": ["blocks", "mlx_lm", "row", "matrix"], "lm_head": [True], "samples": [8, 128], "short": ["keep"],
        "on_indivisible": ["skip"], "symmetric": [True],
    }  # fmt: skip
    keys = [(key, value) for key, some in values.items() for value in some]
    seen: dict[str, Recipe] = {}
    for changes in [
        {},
        *({k: v} for k, v in keys),
        *({k: v, m: w} for (k, v), (m, w) in combinations(keys, 2) if k != m),
    ]:
        try:
            recipe = resolve(recipe=name, **changes)
        except UserError:
            continue
        before = seen.setdefault(recipe.label, recipe)
        assert does(before) == does(recipe), (changes, recipe.label)
        if recipe.label in recipe_names():
            packaged = load_recipe(recipe.label)
            assert does(packaged) == does(recipe)
    assert seen[known.label] == known
    assert len(seen) > 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"recipe": "wanda-50", "method": "rtn"}, "give recipe='wanda-50' or method='rtn', not both"),
        ({"sparsity": 0.5}, "sparsity given without a method; add method=NAME or recipe=NAME"),
        ({"recipe": "wanda-5"}, "Did you mean 'wanda-50'"),
        ({"method": "wand", "sparsity": 0.5}, "unknown method 'wand'. Did you mean 'wanda'"),
        ({"method": "rtn", "bitz": 4}, "unknown key of rtn 'bitz'. Did you mean 'bits'"),
        ({"method": "rtn", "bits": 4, "sparsity": 0.5}, "unknown key of rtn 'sparsity'"),
        ({"recipe": "magnitude-50", "sparsitty": 0.5}, "unknown key of magnitude 'sparsitty'. Did you mean 'sparsity'"),
        ({"recipe": "dense", "sparsity": 0.5}, "unknown key of the dense model 'sparsity'"),
        ({"method": "magnitude", "sparsity": 0.5, "samples": 3}, "samples given, but magnitude looks at no data"),
        ({"recipe": "rtn-4", "calibration": "demo"}, "calibration given, but rtn looks at no data"),
        ({"recipe": "wanda-30", "pattern": "2:4"}, "pattern 2:4 means sparsity 0.5, not 0.3"),
        ({"method": "wanda", "sparsity": 0.5, "samples": 0}, "samples=0"),
        ({"method": "wanda", "sparsity": 1.5}, "sparsity=1.5: input should be less than 1"),
        ({"method": "magnitude+", "sparsity": 0.5}, "unknown method ''"),
        ({"method": 7}, "unknown method '7'"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(**keys)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_recipe_keys_are_all_fields_of_all_methods() -> None:
    assert recipe_keys() >= {
        "recipe", "method", "sparsity", "pattern", "bits", "group_size", "scope", "ties", "exact", "seed", "sequential",
        "exclude", "lm_head", "embeddings", "calibration", "samples", "seqlen", "short", "on_indivisible",
    }  # fmt: skip
    # None of them may shadow an argument of the model's loader.
    assert not recipe_keys() & {"pretrained", "dtype", "device", "batch_size", "max_length", "revision", "peft"}


def test_label_does_not_depend_on_the_order_of_the_keys() -> None:
    keys = {"sparsity": 0.3, "calibration": "demo", "samples": 16, "seqlen": 256}
    turned = dict(reversed(keys.items()))
    name = "wanda-30(calibration=demo,samples=16,seqlen=256)"
    assert resolve(recipe="wanda-50", **keys).name == resolve(recipe="wanda-50", **turned).name == name
    assert resolve(method="wanda", **keys).name == resolve(method="wanda", **turned).name


def test_a_packaged_name_is_taken_only_with_its_texts_and_its_dtype(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: half\nsteps: [{method: wanda, sparsity: 0.5}]\ncalibration: {source: demo, samples: 8, seqlen: 64}\n",
        encoding="utf-8",
    )
    # Steps of wanda-30, but not its text.
    assert resolve(recipe=str(file), sparsity=0.3).label == "wanda-30(calibration=demo,samples=8,seqlen=64)"
    # Steps and text of rath-wanda-50, which belongs to bfloat16.
    same = resolve(recipe="wanda-50", exclude="*.o_proj+*.down_proj", sequential=False)
    assert does(same) == does(load_recipe("rath-wanda-50"))
    assert same.label == "wanda-50(exclude=*.o_proj+*.down_proj,sequential=False,seqlen=2048)"
    assert same.dtype is None

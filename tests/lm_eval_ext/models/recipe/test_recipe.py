"""Recipes: what the packaged ones say, the YAML round trip, and a message for every fault."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.files import load_recipe, recipe_folder, recipe_names, recipe_text
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe, make_recipe

PRUNERS = ("random", "magnitude", "wanda")
LEVELS = (10, 20, 30, 40, 50, 60, 70)
STUDIED = (10, 30, 50, 70)
# Every packaged recipe, with method, sparsity and bits as its name and the issue of its making say.
PACKAGED: dict[str, tuple[str, float | None, float | None]] = {
    "dense": ("none", None, None),
    **{f"{method}-{level}": (method, level / 100, None) for method in PRUNERS for level in LEVELS},
    **{f"rath-{method}-{level}": (method, level / 100, None) for method in PRUNERS for level in STUDIED},
    **{f"{method}-{pattern}": (method, 0.5, None) for method in PRUNERS for pattern in ("2-4", "4-8")},
    **{f"rtn-{bits}": ("rtn", None, bits) for bits in (2, 3, 4, 5, 6, 7, 8)},
    **{f"mlx-{bits}": ("mlx_affine", None, bits) for bits in (2, 3, 4, 5, 6, 8)},
    **{f"rath-q-{bits}": ("mlx_affine", None, bits) for bits in (3, 4, 6, 8)},
    **{f"gptq-{bits}": ("gptq", None, bits) for bits in (3, 4, 8)},
    **{f"gptqmodel-rtn-{bits}": ("gptqmodel_rtn", None, bits) for bits in (2, 3, 4, 8)},
    **{f"hqq-{bits}": ("hqq", None, bits) for bits in (2, 3, 4, 8)},
    **{f"llmc-w{bits}a16": ("llmc_rtn", None, bits) for bits in (2, 3, 4, 6, 8)},
    **{f"llmc-gptq-w{bits}a16": ("llmc_gptq", None, bits) for bits in (3, 4, 8)},
    **{f"quanto-{bits}": ("quanto", None, bits) for bits in (2, 4, 8)},
    **{f"torchao-{bits}": ("torchao", None, bits) for bits in (3, 4, 8)},
    **{f"{method.replace('_', '-')}-2-4": (method, 0.5, None) for method in ("sparsegpt", "llmc_wanda")},
    **{f"{method.replace('_', '-')}-50": (method, 0.5, None) for method in ("sparsegpt", "llmc_wanda")},
    **{f"kv-int{bits}": ("kv", None, bits) for bits in (2, 4, 8)},
    **{f"kv-fp8-{form}": (f"kv_fp8_{form}", None, 8) for form in ("e4m3", "e5m2")},
    "awq-4": ("awq", None, 4),
    "bnb-8": ("bitsandbytes", None, 8),
    "bnb-fp4": ("bitsandbytes", None, 4),
    "bnb-nf4": ("bitsandbytes", None, 4),
    "fp8": ("fp8", None, 8),
    "llmc-awq-w4a16": ("llmc_awq", None, 4),
    "llmc-gptq-w8a8": ("llmc_gptq", None, 8),
    "llmc-w8a8": ("llmc_rtn", None, 8),
    "owl-70": ("llmc_wanda", 0.7, None),
    "smoothquant-gptq-w8a8": ("smoothquant+llmc_gptq", None, 8),
    "smoothquant-w8a8": ("smoothquant+llmc_rtn", None, 8),
    "spinquant-w4a16": ("spinquant+llmc_rtn", None, 4),
    "wanda-50-gptq-4": ("wanda+gptq", 0.5, 4),
    # PostTrainingBiasBench's five formats.
    "ptbb-awq-w4a16": ("awq", None, 4),
    "ptbb-gptq-w4a16": ("gptq", None, 4),
    "ptbb-rtn-w4a16": ("llmc_rtn", None, 4),
    "ptbb-rtn-w8a16": ("llmc_rtn", None, 8),
    "ptbb-smoothquant-rtn-w4a16": ("smoothquant+llmc_rtn", None, 4),
}


def test_these_recipes_are_packaged_and_no_others() -> None:
    assert set(PACKAGED) == set(recipe_names())


@pytest.mark.parametrize(("prefix", "method"), [("rtn", "rtn"), ("mlx", "mlx_affine")])
def test_every_number_of_bits_that_a_method_takes_is_packaged(prefix: str, method: str) -> None:
    taken = set()
    for bits in range(1, 17):
        with contextlib.suppress(UserError):
            make_step({"method": method, "bits": bits})
            taken.add(f"{prefix}-{bits}")
    assert taken == {name for name in recipe_names() if name.startswith(f"{prefix}-")}


def test_descriptions_say_the_level_of_the_name() -> None:
    for name, (_, sparsity, bits) in PACKAGED.items():
        description = load_recipe(name).description
        if bits is not None:
            assert re.search(rf"\b{bits}(-bit| bits)\b", description), name
        elif sparsity is not None and name[-4:-3] != "-" and not name.endswith(("2-4", "4-8")):
            assert f"{100 * sparsity:g} %" in description, name


@pytest.mark.parametrize("name", PACKAGED)
def test_name_tells_what_is_asked(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.method, recipe.sparsity, recipe.bits) == PACKAGED[name]


@pytest.mark.parametrize("name", recipe_names())
def test_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.source
    copy = tmp_path / "copy.yaml"
    copy.write_text(recipe.as_yaml(), encoding="utf-8")
    again = load_recipe(str(copy))
    assert again == recipe
    assert again.as_yaml() == recipe.as_yaml()
    assert [type(step) for step in again.steps] == [type(step) for step in recipe.steps]
    assert within(yaml.safe_load(recipe_text(name)), recipe.as_dict())


def within(part: object, whole: object) -> bool:
    """Whether everything that `part` says is in `whole` as well."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(within, part, whole))
    return part == whole


def test_wanda_recipes_are_the_published_setting() -> None:
    # Sun et al. 2024: 128 sequences of 2,048 tokens of C4, statistics behind the pruned blocks.
    recipe = load_recipe("wanda-50")
    assert recipe.calibration == Calibration(source="c4", samples=128, seqlen=2048, seed=0)
    assert recipe.as_dict()["steps"] == [
        {"method": "wanda", "lm_head": False, "embeddings": False, "exclude": [], "allow_regrowth": False,
         "sparsity": 0.5, "pattern": None, "sequential": True}
    ]  # fmt: skip


def test_the_studies_recipes_belong_to_bfloat16() -> None:
    # Both studies converted their models with mlx_lm in bfloat16 (checkpoints *-bf16); ours bind to no dtype.
    assert {name for name in recipe_names() if load_recipe(name).dtype == "bfloat16"} == {
        name for name in PACKAGED if name.startswith("rath-")
    }
    assert {load_recipe(name).dtype for name in PACKAGED if not name.startswith("rath-")} == {None}


def test_another_dtype_than_the_recipes_is_a_line() -> None:
    recipe = load_recipe("rath-q-4")
    line = recipe.dtype_warning("float32")
    assert line is not None
    assert "\n" not in line
    for part in ("rath-q-4", "arXiv 2605.15208", "these are float32", "dtype=bfloat16"):
        assert part in line
    assert recipe.dtype_warning("bfloat16") is None
    assert load_recipe("mlx-4").dtype_warning("float16") is None


def test_rath_wanda_carries_the_deviations_of_the_study() -> None:
    step = load_recipe("rath-wanda-70").as_dict()["steps"][0]
    assert step["sequential"] is False
    assert step["exclude"] == ["*.o_proj", "*.down_proj"]


def test_pipeline_names_and_levels() -> None:
    recipe = make_recipe(
        {"name": "p", "steps": [{"method": "magnitude", "sparsity": 0.3}, {"method": "rtn", "bits": 4}]}, "test"
    )
    assert recipe.method == "magnitude+rtn"
    assert (recipe.sparsity, recipe.bits) == (0.3, 4)
    assert not recipe.needs_calibration
    assert recipe.label == "p"


def test_dense_has_no_step() -> None:
    recipe = load_recipe("dense")
    assert (recipe.steps, recipe.method, recipe.calibration) == ((), "none", None)


def test_recipes_and_steps_are_frozen() -> None:
    recipe = load_recipe("magnitude-50")
    with pytest.raises(ValidationError):
        recipe.name = "other"  # type: ignore[misc]  (the assignment is what is tested)
    with pytest.raises(ValidationError):
        recipe.steps[0].lm_head = True  # type: ignore[misc]  (the assignment is what is tested)


def wanda(**keys: Any) -> dict[str, Any]:
    return {"version": 1, "name": "x", "steps": [{"method": "wanda", "sparsity": 0.5} | keys]}


BAD_RECIPES: dict[str, tuple[Any, str]] = {
    "unknown key of the recipe": ({"name": "x", "step": []}, "unknown key of test 'step'. Did you mean 'steps'"),
    "unknown key of a step": (wanda(sparsty=0.3), "unknown key of method wanda 'sparsty'. Did you mean 'sparsity'"),
    "unknown key of the calibration": (
        wanda() | {"calibration": {"sample": 3}},
        "unknown key of calibration 'sample'. Did you mean 'samples'",
    ),
    "unknown method": ({"name": "x", "steps": [{"method": "wandaa"}]}, "unknown method 'wandaa'. Did you mean 'wanda'"),
    "method is no name": ({"name": "x", "steps": [{"method": 3}]}, "method must be a name, got 3"),
    "key of another method": (
        {"name": "x", "steps": [{"method": "magnitude", "sparsity": 0.5, "sequential": False}]},
        "unknown key of method magnitude 'sequential'",
    ),
    "empty name": ({"name": "", "steps": []}, "name=''"),
    "a dtype that is none": (wanda() | {"dtype": "bf16"}, "dtype='bf16': input should be 'bfloat16'"),
    "another version": (wanda() | {"version": 2}, "version=2"),
    "no name": ({"steps": []}, "name is missing"),
    "not a mapping": (["wanda"], "a recipe is a mapping with version, name and steps, got list"),
    "steps is no list": ({"name": "x", "steps": "wanda"}, "steps: got 'wanda', expected a list"),
    "a step without a method": ({"name": "x", "steps": [{"sparsity": 0.5}]}, "a step must be a mapping with a method"),
    "a step that is a string": (
        {"name": "x", "steps": ["wanda"]},
        "a step must be a mapping with a method, got 'wanda'",
    ),
    "sparsity of one": (wanda(sparsity=1), "sparsity=1: input should be less than 1"),
    "sparsity below zero": (wanda(sparsity=-0.1), "sparsity=-0.1: input should be greater than or equal to 0"),
    "sparsity in percent": (wanda(sparsity=50), "sparsity=50: input should be less than 1"),
    "sparsity not a number": (wanda(sparsity=float("nan")), "sparsity=nan"),
    "sparsity in words": (wanda(sparsity="half"), "sparsity: got 'half', expected a number, without quotes"),
    "sparsity left out": (
        {"name": "x", "steps": [{"method": "random"}]},
        "method random needs sparsity (in [0, 1)) or pattern",
    ),
    "pattern that keeps all": (wanda(sparsity=None, pattern="4:4"), "pattern '4:4': expected N:M with 0 < N < M"),
    "pattern that keeps none": (wanda(sparsity=None, pattern="0:4"), "pattern '0:4': expected N:M with 0 < N < M"),
    "pattern without a colon": (wanda(sparsity=None, pattern="24"), "pattern '24': expected N:M"),
    "pattern of letters": (wanda(sparsity=None, pattern="a:b"), "pattern 'a:b': expected N:M"),
    "pattern against sparsity": (wanda(sparsity=0.3, pattern="2:4"), "pattern 2:4 means sparsity 0.5, not 0.3"),
    "embeddings for wanda": (wanda(embeddings=True), "wanda ranks by input activations"),
    "pattern and Bernoulli": (
        {"name": "x", "steps": [{"method": "random", "pattern": "2:4", "exact": False}]},
        "a pattern is exact by its nature",
    ),
    "pattern and scope": (
        {"name": "x", "steps": [{"method": "magnitude", "pattern": "2:4", "scope": "row"}]},
        "a pattern fixes which weights compete",
    ),
    "rows and a threshold": (
        {"name": "x", "steps": [{"method": "magnitude", "sparsity": 0.5, "scope": "row", "ties": "threshold"}]},
        "scope=row always prunes an exact count",
    ),
    "unknown scope": (
        {"name": "x", "steps": [{"method": "magnitude", "sparsity": 0.5, "scope": "model"}]},
        "scope='model'",
    ),
    "negative seed": ({"name": "x", "steps": [{"method": "random", "sparsity": 0.5, "seed": -1}]}, "seed=-1"),
    "no samples": (wanda() | {"calibration": {"samples": 0}}, "samples=0"),
    "one token": (wanda() | {"calibration": {"seqlen": 1}}, "seqlen=1"),
    "unknown way with short text": (wanda() | {"calibration": {"short": "pad"}}, "short='pad'"),
    "calibration that nothing looks at": (
        {"name": "x", "steps": [{"method": "magnitude", "sparsity": 0.5}], "calibration": {"source": "demo"}},
        "recipe 'x' sets a calibration, but none of its methods looks at data",
    ),
}


@pytest.mark.parametrize("fault", BAD_RECIPES)
def test_faults_end_in_one_line(fault: str) -> None:
    values, message = BAD_RECIPES[fault]
    with pytest.raises(UserError) as error:
        make_recipe(values, "test")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_fault_of_a_step_is_told_at_once() -> None:
    with pytest.raises(UserError, match=r"sparsity=2.*sequential: got 'maybe', expected true or false"):
        make_step({"method": "wanda", "sparsity": 2, "sequential": "maybe"})


def test_unknown_recipe_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'wanda-5O'\. Did you mean 'wanda-50'"):
        load_recipe("wanda-5O")


def test_recipe_must_be_a_name() -> None:
    with pytest.raises(UserError, match="packaged name or a path to a YAML file, got 4"):
        load_recipe(4)  # type: ignore[arg-type]  (what a command line may hand over)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recipe file '.*none\.yaml' does not exist"):
        load_recipe(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nsteps: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken.yaml': line 2: not readable YAML") as error:
        load_recipe(str(broken))
    assert "\n" not in str(error.value)
    broken.write_text("# nothing but a remark\n", encoding="utf-8")
    with pytest.raises(UserError, match="a recipe is a mapping"):
        load_recipe(str(broken))


SPARSE = "steps: [{method: magnitude, sparsity: 0.7}]\n"
BAD_FILES = {
    "unknown method": ("name: x\nsteps: [{method: wandb, sparsity: 0.5}]\n", "unknown method 'wandb'"),
    "unknown key of a step": ("name: x\nsteps: [{method: rtn, bitz: 4}]\n", "unknown key of method rtn 'bitz'"),
    "bad value of a step": ("name: x\nsteps: [{method: rtn, bits: 9}]\n", "method rtn: bits: got 9"),
    "key given twice": ("name: x\nsteps: [{method: rtn, bits: 4, bits: 3}]\n", "key 'bits' stands twice"),
    "key of the recipe given twice": ("name: x\nname: y\nsteps: []\n", "key 'name' stands twice"),
    "packaged name": (f"name: magnitude-50\n{SPARSE}", "the packaged recipe of that name is another one"),
    "name of the baseline": (f"name: dense\n{SPARSE}", "the packaged recipe of that name is another one"),
    "packaged name, other text": (
        "name: wanda-50\nsteps: [{method: wanda, sparsity: 0.5}]\ncalibration: {source: demo}\n",
        "the packaged recipe of that name is another one",
    ),
    "label of another level": (f"name: magnitude-55\n{SPARSE}", "its steps are magnitude-70"),
    "label of another method": (f"name: random-75\n{SPARSE}", "its steps are magnitude-70"),
    "label of more steps": (f"name: magnitude-70+rtn-4\n{SPARSE}", "its steps are magnitude-70"),
    "label of no steps": ("name: rtn-1\nsteps: []\n", "its steps are none"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_is_named_in_one_line(fault: str, tmp_path: Path) -> None:
    text, message = BAD_FILES[fault]
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_recipe(str(file))
    assert message in str(error.value)
    assert str(error.value).count(str(file)) == 1
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("magnitude-70", [{"method": "magnitude", "sparsity": 0.7}]),  # the packaged one, word for word
        ("half of it", [{"method": "magnitude", "sparsity": 0.7}]),  # free text is the user's own
        ("magnitude-55", [{"method": "magnitude", "sparsity": 0.55}]),
        ("magnitude-2:4+rtn-4", [{"method": "magnitude", "pattern": "2:4"}, {"method": "rtn", "bits": 4}]),
        ("step-70", [{"method": "magnitude", "sparsity": 0.55}]),
    ],
)
def test_true_names_load(name: str, steps: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"name": name, "steps": steps}), encoding="utf-8")
    assert load_recipe(str(file)).name == name


def test_a_pattern_needs_no_quotes(tmp_path: Path) -> None:
    # YAML 1.1 reads 2:4 as the number 2 * 60 + 4.
    assert yaml.safe_load("2:4") == 124
    file = tmp_path / "mine.yaml"
    file.write_text("name: x\nsteps: [{method: magnitude, pattern: 2:4}, {method: rtn, bits: 4}]\n", encoding="utf-8")
    recipe = load_recipe(str(file))
    assert (recipe.as_dict()["steps"][0]["pattern"], recipe.bits) == ("2:4", 4)


def test_a_folder_with_a_recipes_name_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(UserError, match=r"x.yaml' is a folder; give a file"):
        load_recipe(str(tmp_path / "x.yaml"))


def test_text_is_the_file_as_written() -> None:
    assert recipe_text("wanda-2-4") == (recipe_folder() / "wanda-2-4.yaml").read_text(encoding="utf-8")


def test_exclude_takes_one_string() -> None:
    # A command line has no lists: patterns are joined by '+', as methods are.
    step = make_step({"method": "wanda", "sparsity": 0.5, "exclude": "*.o_proj+*.down_proj"})
    assert step == make_step({"method": "wanda", "sparsity": 0.5, "exclude": ["*.o_proj", "*.down_proj"]})


@pytest.mark.parametrize("module", ["native.methods.wanda", "recipe.resolve"])
def test_imports_stay_light(module: str) -> None:
    code = (
        f"import sys, lm_eval_ext.models.{module}; "
        "print([name for name in ('torch', 'transformers', 'datasets', 'lm_eval') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recipe_in_code_equals_the_one_in_yaml() -> None:
    step = make_step({"method": "rtn", "bits": 3, "granularity": "channel"})
    recipe = Recipe(name="r", steps=(step,))
    assert make_recipe(yaml.safe_load(recipe.as_yaml()), "test") == recipe

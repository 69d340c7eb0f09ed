"""What is one method: the resolved steps decide, and each variant has a name of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.compare.variants import base_method, method_names, variant_of
from analysis.logs import ItemStore, Logs, read_logs
from analysis.tables.transitions.table import transitions
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.answers import items_frame, run_table
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, sha, write_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    with ItemStore(tmp_path / "items.parquet") as opened:
        yield opened


def read(folder: Path, store: ItemStore, *runs: dict[str, Any]) -> Logs:
    """Runs with the evidence that these model arguments give, as they are logged; `found` is the calibration used."""
    for number, given in enumerate(runs):
        found, base = given.pop("found", {}), given.pop("base", "org/base")
        recipe = resolve(**given)
        calibration = None
        if recipe.needs_calibration:
            calibration = recipe.as_dict()["calibration"] or {"source": "c4", "samples": 128, "seed": 0}
            calibration = calibration | {"seqlen": calibration.get("seqlen") or 2048, "token_hash": str(number)} | found
        record = evidence(
            recipe.label,
            method=recipe.method,
            sparsity=recipe.sparsity,
            bits=recipe.bits,
            recipe=recipe.as_dict(),
            kv=recipe.as_dict()["kv"],
            calibration=calibration,
            base={"pretrained": base, "revision": None},
            weights_hash_before=sha(base),
        )
        arguments = {"pretrained": base, **given}
        write_run(folder, number, {"a": Task([choice_line(0, 0)])}, record, config={"model_args": arguments})
    return read_logs(folder, store)


SAME = [
    ("wanda", [{"recipe": "wanda-50"}, {"recipe": "wanda-30"}, {"recipe": "wanda-50", "seed": 3}]),
    ("wanda", [{"recipe": "wanda-50"}, {"method": "wanda", "sparsity": 0.35}]),  # seqlen came out as 2,048
    ("wanda (seqlen=2048)", [{"recipe": "wanda-50", "sparsity": 0.35}]),
    ("wanda (rath)", [{"recipe": "rath-wanda-50"}, {"recipe": "rath-wanda-10"}]),
    ("wanda (rath)", [{"recipe": "rath-wanda-50"}, {"recipe": "rath-wanda-50", "sparsity": 0.35}]),
    ("wanda (rath, samples=8)", [{"recipe": "rath-wanda-50", "samples": 8, "seed": s} for s in (0, 1)]),
    (
        "wanda (calibration=demo, samples=8)",
        [{"recipe": f"wanda-{n}", "calibration": "demo", "samples": 8} for n in (30, 50)],
    ),
    ("wanda 2:4", [{"recipe": "wanda-2-4"}, {"method": "wanda", "pattern": "2:4", "seqlen": 2048}]),
    ("magnitude", [{"recipe": "magnitude-50"}, {"method": "magnitude", "sparsity": 0.125}]),
    ("random", [{"recipe": "random-50"}, {"recipe": "random-50", "seed": 7}]),
    ("random (rath)", [{"recipe": "rath-random-50"}, {"recipe": "rath-random-50", "seed": 7}]),
    ("rtn", [{"recipe": "rtn-4"}, {"recipe": "rtn-8"}, {"method": "rtn", "bits": 3}]),
    ("rtn (group_size=32)", [{"recipe": "rtn-4", "group_size": 32}, {"method": "rtn", "bits": 3, "group_size": 32}]),
    ("mlx_affine", [{"recipe": "mlx-4"}, {"recipe": "mlx-2"}, {"method": "mlx_affine", "bits": 8}]),
    ("mlx_affine (rath-q)", [{"recipe": "rath-q-4"}, {"recipe": "rath-q-8"}]),
    ("magnitude+rtn", [{"method": "magnitude+rtn", "sparsity": 0.5, "bits": 4}]),
    ("magnitude 2:4+rtn (group_size=32)", [{"method": "magnitude+rtn", "pattern": "2:4", "bits": 4, "group_size": 32}]),
    (
        "wanda (exclude=*.o_proj+*.q_proj)+rtn (exclude=*.o_proj+*.q_proj, group_size=32)",
        [{"method": "wanda+rtn", "sparsity": 0.5, "bits": 4, "exclude": "*.o_proj+*.q_proj", "group_size": 32}],
    ),
    ("none", [{"recipe": "dense"}]),
    ("kv", [{"kv": "int8"}, {"kv": "int4"}, {"recipe": "dense", "kv": "int2"}]),
    ("kv (residual=128)", [{"kv": "int8", "kv_residual": 128}, {"kv": "int2", "kv_residual": 128}]),
    ("kv_fp8_e4m3", [{"kv": "fp8_e4m3"}]),
    ("rtn+kv_int8", [{"recipe": "rtn-4", "kv": "int8"}, {"recipe": "rtn-3", "kv": "int8"}]),
    (
        "rtn (group_size=32)+kv_int4 (residual=64)",
        [{"recipe": "rtn-4", "group_size": 32, "kv": "int4", "kv_residual": 64}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "runs"), SAME, ids=[f"{name} {len(runs)}" for name, runs in SAME])
def test_one_method_at_several_doses_and_seeds(
    name: str, runs: list[dict[str, Any]], tmp_path: Path, store: ItemStore
) -> None:
    logs = read(tmp_path / "runs", store, *map(dict, runs))
    assert set(method_names(logs.runs).values()) == {name}
    assert len({variant_of(run) for run in logs.runs.values()}) == 1


APART = [
    [{"recipe": "wanda-50"}, {"recipe": "rath-wanda-50"}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-50", "samples": 64}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-50", "seqlen": 512}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-50", "calibration": "demo"}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-50", "exclude": "*.q_proj"}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-50", "lm_head": True}],
    [{"recipe": "wanda-50"}, {"recipe": "wanda-2-4"}, {"recipe": "wanda-4-8"}],
    [
        {"recipe": "rtn-4"},
        {"recipe": "rtn-4", "group_size": 32},
        {"method": "rtn", "bits": 4, "granularity": "channel"},
    ],
    [{"recipe": "rtn-4"}, {"recipe": "rtn-4", "symmetric": True}, {"recipe": "mlx-4"}, {"recipe": "rath-q-4"}],
    [{"recipe": "magnitude-50"}, {"recipe": "rath-magnitude-50"}, {"recipe": "magnitude-50", "scope": "row"}],
    [{"recipe": "random-50"}, {"recipe": "rath-random-50"}],
    [{"kv": "int8"}, {"kv": "int8", "kv_group_size": 32}, {"kv": "fp8_e4m3"}, {"kv": "fp8_e5m2"}],
    [{"recipe": "rtn-4"}, {"recipe": "rtn-4", "kv": "int8"}, {"recipe": "rtn-4", "kv": "int4"}],
]


@pytest.mark.parametrize("runs", APART, ids=lambda runs: str(runs[-1]))
def test_whatever_else_differs_is_another_method(runs: list[dict[str, Any]], tmp_path: Path, store: ItemStore) -> None:
    logs = read(tmp_path / "runs", store, *map(dict, runs))
    names = method_names(logs.runs)
    assert len(set(names.values())) == len(runs), names
    assert len({variant_of(run) for run in logs.runs.values()}) == len(runs)


def own(folder: Path, name: str, step: str, rest: str = "") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(f"name: {name}\nsteps: [{step}]\n{rest}", encoding="utf-8")
    return str(path)


def test_the_steps_decide_and_not_the_name(tmp_path: Path, store: ItemStore) -> None:
    def mine(*given: str) -> str:
        return own(tmp_path / "mine", *given)

    prune, other = "{method: magnitude, sparsity: %s}", "{method: magnitude, sparsity: 0.4, scope: row}"
    logs = read(
        tmp_path / "runs", store,
        {"recipe": mine("half", prune % 0.5)},  # one method with the packaged ones
        {"recipe": "magnitude-30"},
        {"recipe": mine("step-40", other)},
        {"recipe": mine("step-60", other.replace("0.4", "0.6"))},
        {"recipe": mine("step-70", prune % 0.7, "dtype: float16")},  # the name of another's, for another thing
    )  # fmt: skip
    names = method_names(logs.runs)
    assert names["half"] == names["magnitude-30"] == "magnitude"
    assert names["step-40"] == names["step-60"]
    assert len({names["half"], names["step-40"], names["step-70"]}) == 3
    assert names["step-70"].startswith("magnitude (step) #")
    assert base_method(names["step-70"]) == "magnitude"
    assert json.loads(variant_of(logs.runs["step-70"]) or "") == {
        "steps": [{"method": "magnitude", "scope": "matrix", "ties": "exact"}],
        "dtype": "float16",
    }


def test_names_of_one_base_model_leave_another_alone(tmp_path: Path, store: ItemStore) -> None:
    # The longest text that a model takes decides seqlen where nobody gave one: two models, one name.
    logs = read(
        tmp_path / "runs", store,
        {"method": "wanda", "sparsity": 0.5, "found": {"seqlen": 512}},
        {"method": "wanda", "sparsity": 0.3, "found": {"seqlen": 1024}, "base": "org/other"},
    )  # fmt: skip
    assert len({run.base_model for run in logs.runs.values()}) == 2
    assert list(method_names(logs.runs).values()) == ["wanda", "wanda"]


@pytest.mark.parametrize("name", ["wanda (rath)", "wanda 2:4", "wanda 2:4 (samples=8)", "wanda", "wanda (x) #3f2a91"])
def test_the_method_of_a_variant(name: str) -> None:
    assert base_method(name) == "wanda"
    assert base_method(f"{name}+rtn (group_size=32)") == "wanda+rtn"


STEPS: list[object] = [4, [3], [{}], [{"method": "x"}]]


@pytest.mark.parametrize("recipe", [None, {}, {"name": 3}, *({"steps": steps} for steps in STEPS)], ids=str)
def test_logs_without_a_recipe_are_as_before(recipe: object, tmp_path: Path, store: ItemStore) -> None:
    write_run(tmp_path / "runs", 1, {"a": Task([choice_line(0, 0)])})
    write_run(tmp_path / "runs", 2, {"a": Task([choice_line(0, 0)])}, evidence("wanda-50", recipe=recipe))
    write_run(tmp_path / "runs", 3, {"a": Task([choice_line(0, 0)])}, evidence("d", **DENSE), config={"model": "x"})
    runs = read_logs(tmp_path / "runs", store).runs
    assert method_names(runs) == {"dense": "none", "wanda-50": "wanda", "d": "none"}
    assert {variant_of(run) for run in runs.values()} == {None}


def answers(run: str, letters: str) -> list[dict[str, Any]]:
    roles = {"s": "stereotype", "a": "anti_stereotype", "k": "unknown"}
    return [{"run": run, "item": f"i{n}", "role": roles[letter]} for n, letter in enumerate(letters)]


def test_a_mean_over_methods_counts_each_once_and_no_variant_with_its_like() -> None:
    # New bias at 50 %: random 0 of 2 and 1 of 2, mean 0.25; magnitude 2 of 2. The mean over both is 0.625.
    common = {"baseline": "a", "sparsity": 0.5}
    runs = run_table(
        {"run": "a"},
        {"run": "r1", "method": "random", **common},
        {"run": "r2", "method": "random", **common},
        {"run": "m", "method": "magnitude", **common},
    )
    rows = answers("a", "ka") + answers("r1", "kk") + answers("r2", "sk") + answers("m", "ss")

    def means(runs: pd.DataFrame) -> pd.DataFrame:
        table = transitions(items_frame([row for row in rows if row["run"] in set(runs["run"])]), runs)
        kept = table["summary"].eq("mean_over_methods") & table["subset"].eq("all") & table["category"].eq("all")
        return table[kept & table["transition"].eq("new_bias")]

    (found,) = means(runs).to_dict("records")
    assert (found["rate"], found["n_runs"], found["methods"]) == (0.625, 3, "magnitude, random")
    # Seeds of one method alone are no several methods.
    assert means(runs[runs["run"] != "m"]).empty
    # Two variants of magnitude: which of them belongs to the mean, nothing says.
    again = run_table({"run": "r2", "method": "magnitude (rath)", **common})
    assert means(pd.concat([runs[runs["run"] != "r2"], again], ignore_index=True)).empty

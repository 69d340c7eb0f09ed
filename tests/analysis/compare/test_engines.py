"""Runs of other engines: what makes them incomparable, and what is the compression that is studied."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import Pairing, pair_runs
from analysis.logs import ItemStore, read_logs
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run


def task(shift: int = 0) -> dict[str, Task]:
    return {"t": Task([choice_line(i, (i + shift) % 3) for i in range(6)])}


def served(model: str = "vllm", **arguments: Any) -> dict[str, Any]:
    """The configuration of a stock run: other models than hf log no dtype, and lm_eval no version but its own."""
    return {"model": model, "model_args": {"pretrained": "org/base", **arguments}, "model_dtype": None}


def paired(folder: Path, *allow: str, named: str | None = None, bases: tuple[str, ...] = ()) -> Pairing:
    with ItemStore(folder / "items.parquet") as store:
        logs = read_logs(folder / "runs", store, bases=bases)
        return pair_runs(logs, choose_baselines(logs.runs, named), allow)


def names(found: Pairing) -> list[str]:
    return [difference.name for refusal in found.refusals for difference in refusal.differences]


def test_a_quantized_checkpoint_in_vllm_beside_hf_names_engine_and_cache(tmp_path: Path) -> None:
    arguments = {"pretrained": "org/m-AWQ", "quantization": "awq", "kv_cache_dtype": "fp8"}
    write_run(tmp_path / "runs", 1, task(), config=served("hf", pretrained="org/m", dtype="float32"))
    write_run(tmp_path / "runs", 2, task(1), config=served(**arguments))
    found = paired(tmp_path, bases=("m-AWQ=m",))
    (refusal,) = found.refusals
    assert (refusal.run, names(found)) == ("m-AWQ(unverified awq kv-fp8)", ["engine", "kv_cache"])
    assert "engine (vllm against transformers (hf) 5.17.0); kv_cache (fp8 against plain)" in refusal.message
    assert refusal.message.endswith("--allow engine --allow kv_cache")
    (pair,) = paired(tmp_path, "engine", "kv_cache", bases=("m-AWQ=m",)).pairs
    assert [difference.name for difference in pair.accepted] == ["engine", "kv_cache"]
    assert names(paired(tmp_path, "engine", bases=("m-AWQ=m",))) == ["kv_cache"]


@pytest.mark.parametrize(
    ("base", "run", "refused"),
    [
        # The form of the weights is what is studied.
        ({}, {"quantization": "fp8"}, []),
        ({}, {"load_format": "bitsandbytes", "quantization": "bitsandbytes"}, []),
        # A cache alone is too; beside weights that nobody measured it has to be accepted.
        ({}, {"kv_cache_dtype": "fp8"}, []),
        ({}, {"kv_cache_dtype": "fp8", "quantization": "fp8"}, ["kv_cache"]),
        ({"dtype": "bfloat16"}, {"quantization": "fp8", "dtype": "float16"}, ["scoring_dtype"]),
        # Two things at once: each is named.
        ({}, {"quantization": "fp8", "tensor_parallel_size": 2}, ["parallel"]),
        ({}, {"quantization": "fp8", "data_parallel_size": 2, "pipeline_parallel_size": 2}, []),
        ({"batch_invariant": False}, {"quantization": "fp8", "batch_invariant": True}, ["batch_invariant"]),
        ({}, {"quantization": "fp8", "batch_invariant": True}, []),  # one side does not tell
    ],
)
def test_what_is_studied_is_no_difference(
    base: dict[str, Any], run: dict[str, Any], refused: list[str], tmp_path: Path
) -> None:
    write_run(tmp_path / "runs", 1, task(), config=served(**base))
    write_run(tmp_path / "runs", 2, task(1), config=served(**run))
    found = paired(tmp_path)
    assert names(found) == refused
    assert len(paired(tmp_path, *refused).pairs) == 1


def test_a_baseline_with_a_quantized_cache_is_never_silent(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(), config=served(kv_cache_dtype="fp8"))
    write_run(tmp_path / "runs", 2, task(1), config=served(quantization="fp8"))
    assert (paired(tmp_path).pairs, paired(tmp_path).refusals) == ([], [])
    assert names(paired(tmp_path, named="base(unverified kv-fp8)")) == ["kv_cache"]


def test_a_cache_that_evidence_proves_is_studied_beside_anything(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(1), evidence("rtn-4", kv={"bits": 8, "format": "int8"}))
    (pair,) = paired(tmp_path).pairs
    assert (pair.run, pair.accepted) == ("rtn-4+kv-int8", ())


def test_hf_and_compressed_hf_are_one_engine_whatever_version(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(), config=served("hf", dtype="float32"), transformers_version="4.57")
    write_run(tmp_path / "runs", 2, task(1), evidence("rtn-4"))
    found = paired(tmp_path)
    assert (len(found.pairs), found.refusals) == (1, [])
    assert "transformers_version" in {issue.kind for issue in found.issues}


def test_each_run_is_compared_with_the_plain_run_of_its_own_engine(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(), config=served())
    write_run(tmp_path / "runs", 3, task(1), evidence("rtn-4"))
    write_run(tmp_path / "runs", 4, task(1), config=served(quantization="fp8"))
    assert {pair.run: pair.baseline for pair in paired(tmp_path).pairs} == {
        "rtn-4": "dense#1",
        "base(unverified fp8)": "dense#2",
    }


def test_of_reruns_that_of_the_runs_own_batch_size_is_the_baseline(tmp_path: Path) -> None:
    for number, size in enumerate((1, 8, 16)):
        write_run(tmp_path / "runs", number, task(), evidence("dense", **DENSE), config={"batch_size": size})
    write_run(tmp_path / "runs", 9, task(1), evidence("rtn-4"), config={"batch_size": 16})
    found = paired(tmp_path)
    assert {pair.run: pair.baseline for pair in found.pairs} == {"rtn-4": "dense#3"}
    assert not any(issue.level == "error" for issue in found.issues)


def test_no_order_of_arguments_makes_a_quantized_run_a_baseline(tmp_path: Path) -> None:
    arguments = [("pretrained", "org/base"), ("dtype", "auto"), ("quantization", "gptq"), ("max_model_len", "2048")]
    for seed in range(4):
        random.Random(seed).shuffle(arguments)
        folder = tmp_path / str(seed)
        told = ",".join(f"{name}={value}" for name, value in arguments)
        write_run(folder / "runs", 1, task(), config=served() | {"model_args": told})
        write_run(folder / "runs", 2, task(1), evidence("rtn-4"))
        assert (paired(folder).pairs, paired(folder).refusals) == ([], [])

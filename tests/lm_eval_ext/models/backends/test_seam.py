"""A backend that hands back a checkpoint: loaded as any other, and believed in nothing that the weights don't show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.packages import write_toy_backend
from tests.helpers.shared import ROOT
from tests.helpers.tiny import write_tiny
from tests.helpers.venvs import LM_EVAL

O_PROJ = "model.layers.1.self_attn.o_proj.weight"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama"))


@pytest.fixture(autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_toy_backend(tmp_path_factory.mktemp("site"))
    monkeypatch.syspath_prepend(folder)
    return folder


def load(llama: str, **arguments: Any) -> CompressedHFLM:
    return CompressedHFLM(pretrained=llama, device="cpu", **arguments)


def evidence(llama: str, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = load(llama, **arguments).get_model_info()["compression"]
    return found


def test_evidence_is_measured_on_what_was_loaded(llama: str, own_cache: Path) -> None:
    model = load(llama, method="toy_prune", sparsity=0.5)
    found = model.get_model_info()["compression"]
    assert (found["label"], found["method"], found["backend"]) == ("toy_prune-50", "toy_prune", "toy")
    assert (found["status"], found["sparsity"], found["bits"]) == ("proved", 0.5, None)
    assert found["claim"]["sparsity"] == 0.5
    assert Path(found["loaded"]).parent == own_cache / "checkpoints"
    assert found["base"]["pretrained"] == llama
    assert found["weights_hash_before"] is None
    # By hand, from the file that was loaded: half of each row of 14 matrices.
    saved = load_file(Path(found["loaded"]) / "model.safetensors")
    names = [name for name, tensor in saved.items() if ".layers." in name and tensor.ndim == 2]
    assert len(names) == 14
    by_hand = {name: int((saved[name] == 0).sum()) for name in names}
    assert {record["name"]: record["zeros"] for record in found["matrices"]} == by_hand
    assert found["totals"]["achieved_sparsity"] == 0.5
    loaded = dict(model._model.named_parameters())
    assert all(torch.equal(loaded[name], saved[name]) for name in names)


def test_bits_are_counted(llama: str) -> None:
    found = evidence(llama, method="toy_round", bits=4)
    assert (found["status"], found["sparsity"], found["bits"]) == ("proved", None, 4.0)
    assert all(record["groups"] == record["shape"][0] for record in found["matrices"])


def test_both_steps_of_one_backend(llama: str) -> None:
    found = evidence(llama, method="toy_prune+toy_round", sparsity=0.5, bits=2)
    assert (found["label"], found["status"]) == ("toy_prune-50+toy_round-2", "proved")
    assert found["bits"] == 2.0
    # Rounding makes zeros of small weights too: the share found is stated, not the one asked.
    assert found["sparsity"] == pytest.approx(found["totals"]["achieved_sparsity"])
    assert found["sparsity"] > 0.505


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"method": "toy_prune", "sparsity": 0.5, "options": {"idle": [O_PROJ]}},
            rf"toy_prune-50.* by toy is not what was asked: \d\d\.\d+% of the weights are zeros, asked 50\.0000%; "
            rf"least in {O_PROJ}; it claims 50\.0000% zeros, the weights have 47\.2222%$",
        ),
        (
            {"method": "toy_prune", "sparsity": 0.5, "options": {"say": 0.6}},
            r"it claims 60\.0000% zeros, the weights have 50\.0000%$",
        ),
        (
            {"method": "toy_round", "bits": 3, "options": {"finer": 1}},
            r"\d+ of \d+ groups of weights don't have the form of toy_round-3 \(model\.layers\.0.* and 11 more",
        ),
        ({"method": "toy_round", "bits": 4, "options": {"say": 3}}, r"it claims 3 bits, asked 4$"),
        (
            {"method": "toy_prune", "sparsity": 0.5, "options": {"crash": True}},
            r"toy_script.py ended with code 1: RuntimeError: the toy broke",
        ),
        (
            {"method": "toy_round+rtn", "bits": 4},
            r"toy_round leaves packed weights, which no later step takes; put it last$",
        ),
    ],
)
def test_what_is_not_as_asked_or_claimed_is_an_error(arguments: dict[str, Any], line: str, llama: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        load(llama, **arguments)
    assert "\n" not in str(caught.value)


def test_a_stage_of_ours_behind_theirs(llama: str) -> None:
    found = evidence(llama, method="toy_prune+rtn", sparsity=0.5, bits=4)
    assert (found["status"], found["backend"], found["method"]) == ("proved", "toy+native", "toy_prune+rtn")
    assert [(s["backend"], s["label"], s["sparsity"], s["bits"]) for s in found["stages"]] == [
        ("toy", "toy_prune-50", 0.5, None),
        ("native", "rtn-4", None, 4.0),
    ]
    # 0 is a level of rtn: all zeros stay. Their share is the one found at the end.
    zeros = {record["name"]: record["zeros"] for record in found["matrices"] if record["method"] == "rtn"}
    sizes = [r["shape"][0] * r["shape"][1] for r in found["matrices"] if r["method"] == "rtn"]
    assert found["sparsity"] == sum(zeros.values()) / sum(sizes)
    assert 0.5 <= found["sparsity"] < 0.51
    assert found["bits"] == 4.0
    assert Path(found["loaded"]).parent.name == "checkpoints"


def test_a_stage_of_theirs_behind_ours(llama: str, own_cache: Path) -> None:
    found = evidence(llama, method="random+toy_round", sparsity=0.5, bits=8)
    assert (found["status"], found["backend"], found["bits"]) == ("proved", "native+toy", 8.0)
    assert [(s["backend"], s["label"], s["sparsity"]) for s in found["stages"]] == [("native", "random-50", 0.5)]
    # The checkpoint of the stage is kept, with its recipe and evidence.
    kept = [
        folder for folder in (own_cache / "checkpoints").iterdir() if (folder / "compression_recipe.yaml").is_file()
    ]
    assert len(kept) == 1
    again = evidence(llama, method="random+toy_round", sparsity=0.5, bits=8)
    assert again["stages"] == found["stages"]
    assert again["weights_hash_after"] == found["weights_hash_after"]


def test_a_stage_that_is_not_as_asked_ends_the_run(llama: str) -> None:
    with pytest.raises(UserError, match=r"toy_prune-50 by toy is not what was asked: it claims 60\.0000% zeros"):
        load(llama, method="toy_prune+rtn", sparsity=0.5, bits=4, options={"say": 0.6})


def test_what_a_backend_left_alone_is_listed(llama: str) -> None:
    found = evidence(llama, method="toy_prune", sparsity=0.5, options={"admit": O_PROJ})
    assert {"name": O_PROJ, "reason": "toy: too small to matter", "method": "toy_prune"} in found["skipped"]
    assert found["totals"]["matrices"] == 13


def test_a_form_that_nobody_can_look_at_is_unverified(llama: str, caplog: pytest.LogCaptureFixture) -> None:
    found = evidence(llama, method="toy_round", bits=4, options={"mute": True})
    assert found["label"] == "toy_round-4(options=mute:True)(unverified)"
    assert (found["status"], found["bits"]) == ("unverified", None)
    assert len(found["doubts"]) == 1
    assert found["doubts"][0].startswith("toy_round says nothing of how its values can be counted (model.layers.0")
    assert "is unverified: toy_round says nothing" in caplog.text


def test_a_loaded_model_has_no_files(llama: str) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llama)
    with pytest.raises(UserError, match="backend toy needs the folder or name of a model, got a loaded LlamaFor"):
        CompressedHFLM(pretrained=model, tokenizer=llama, method="toy_prune", sparsity=0.5)


@pytest.mark.slow
def test_through_the_command(llama: str, toy: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("version: 1\nname: mine\nsteps:\n  - {method: toy_prune, sparsity: 0.25, options: {note: 1}}\n")
    command = [LM_EVAL, "--model", "compressed_hf", "--model_args"]
    job = ["--tasks", "bbq_itemlevel_demo", "--limit", "4", "--log_samples", "--output_path", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, *command, f"pretrained={llama},recipe={recipe}", "--device", "cpu", *job],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{toy}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = (tmp_path / "runs").rglob("results_*.json")
    found = json.loads(results.read_text())["config"]["compression"]
    assert (found["label"], found["status"], found["sparsity"]) == ("mine", "proved", 0.25)
    assert found["recipe"]["steps"][0]["options"] == {"note": 1}
    (samples,) = (tmp_path / "runs").rglob("samples_*.jsonl")
    assert len(samples.read_text().splitlines()) == 4

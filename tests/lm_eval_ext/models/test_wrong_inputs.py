"""What a user gets wrong, and the one line that says so. None of these touches a weight."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.recipe.catalogue import method_class
from tests.helpers.tiny import write_tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny("llama", folder / "llama")
    write_tiny("gpt2", folder / "gpt2")
    (folder / "empty.txt").write_text("  \n")
    (folder / "short.txt").write_text("The ferry leaves at noon.")
    (folder / "two.jsonl").write_text('{"text": "The ferry leaves at noon and the bakery closes at one."}\n' * 2)
    (folder / "broken.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (folder / "occupied").mkdir()
    (folder / "occupied" / "model.bin").write_text("x")
    (folder / "recipe.yaml").write_text(
        "version: 1\nname: mine\nsteps:\n  - method: rtn\n    bits: 4\n    groupsize: 32\n"
    )
    (folder / "list.yaml").write_text("- rtn\n")
    return folder


WANDA = {"method": "wanda", "sparsity": 0.5}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("unknown recipe", {"recipe": "wanda50"}, r"unknown recipe 'wanda50'. Did you mean 'wanda-50'\?"),
    ("recipe file that is not there", {"recipe": "no.yaml"}, r"recipe file 'no.yaml' does not exist"),
    (
        "recipe file with a bad key",
        {"recipe": "{}/recipe.yaml"},
        r"unknown key of method rtn 'groupsize'. Did you mean 'group_size'\?",
    ),
    (
        "recipe file that is a list",
        {"recipe": "{}/list.yaml"},
        r"a recipe is a mapping with version, name and steps, got list",
    ),
    ("unknown method", {"method": "wnda", "sparsity": 0.5}, r"unknown method 'wnda'. Did you mean 'wanda'\?"),
    (
        "recipe and method",
        {"recipe": "rtn-4", "method": "rtn"},
        r"give recipe='rtn-4' or method='rtn', not both",
    ),
    ("keys without a method", {"bits": 4}, r"bits given without a method; add method=NAME or recipe=NAME"),
    (
        "misspelt key",
        {"method": "rtn", "bits": 4, "groupsize": 32},
        r"unknown model argument 'groupsize'. Did you mean 'group_size'\?",
    ),
    (
        "key of another method",
        {"method": "rtn", "bits": 4, "pattern": "2:4"},
        r"unknown key of rtn 'pattern'",
    ),
    ("too many bits", {"method": "rtn", "bits": 9}, r"bits: got 9, expected a whole number from 2 to 8"),
    ("too few bits", {"method": "rtn", "bits": 1}, r"bits: got 1, expected a whole number from 2 to 8"),
    ("bits that mlx has not", {"method": "mlx_affine", "bits": 7}, r"bits: got 7"),
    ("no bits", {"method": "rtn"}, r"bits is missing"),
    ("all weights", {"method": "magnitude", "sparsity": 1.0}, r"sparsity=1.0: input should be less than 1"),
    (
        "negative sparsity",
        {"method": "random", "sparsity": -0.1},
        r"sparsity=-0.1: input should be greater than or equal to 0",
    ),
    (
        "percent for a share",
        {"method": "magnitude", "sparsity": 50},
        r"sparsity=50: input should be less than 1",
    ),
    ("no sparsity", {"method": "wanda"}, r"needs sparsity \(in \[0, 1\)\) or pattern"),
    (
        "pattern the wrong way",
        {"method": "magnitude", "pattern": "4:2"},
        r"pattern '4:2': expected N:M with 0 < N < M",
    ),
    (
        "pattern against sparsity",
        {**WANDA, "sparsity": 0.7, "pattern": "2:4"},
        r"pattern 2:4 means sparsity 0.5, not 0.7",
    ),
    (
        "pattern that does not divide",
        {"method": "magnitude", "pattern": "3:5"},
        r"pattern 3:5 needs columns that 5 divides; 14 matrices",
    ),
    (
        "group that does not divide",
        {"method": "rtn", "bits": 4, "group_size": 48},
        r"group_size=48 does not divide the columns of 14 of 14",
    ),
    (
        "calibration without need",
        {"recipe": "rtn-4", "calibration": "demo"},
        r"calibration given, but rtn looks at no data",
    ),
    (
        "calibration of no kind",
        {**WANDA, "calibration": "pile"},
        r"calibration='pile': expected c4, wikitext, demo, or the path",
    ),
    (
        "calibration file not there",
        {**WANDA, "calibration": "no.txt"},
        r"calibration file 'no.txt' does not exist",
    ),
    (
        "empty calibration",
        {**WANDA, "calibration": "{}/empty.txt"},
        r"empty.txt' is empty; give a file with text",
    ),
    (
        "short calibration",
        {**WANDA, "calibration": "{}/short.txt", "seqlen": 64},
        r"fewer than one sample of seqlen=64",
    ),
    (
        "too few documents",
        {**WANDA, "calibration": "{}/two.jsonl", "samples": 3, "seqlen": 4},
        r"2 of 2 documents have 4 tokens, 3 asked",
    ),
    ("broken calibration", {**WANDA, "calibration": "{}/broken.jsonl"}, r"broken.jsonl', line 2: not JSON"),
    (
        "calibration from the hub, offline",
        {**WANDA, "calibration": "c4"},
        r"c4 can't be had from the hub .*calibration=FILE.txt, FILE.jsonl or demo",
    ),
    (
        "samples longer than the model",
        {**WANDA, "calibration": "demo", "seqlen": 513},
        r"seqlen=513 exceeds the model's 512 positions",
    ),
    (
        "head without its embedding",
        {"model": "gpt2", "recipe": "magnitude-50", "lm_head": True},
        r"lm_head.* shares its storage|wte.* shares|shares its storage with",
    ),
    (
        "wanda on embeddings",
        {
            "model": "gpt2",
            **WANDA,
            "calibration": "demo",
            "samples": 1,
            "seqlen": 8,
            "embeddings": True,
            "lm_head": True,
        },
        r"wanda ranks by input activations",
    ),
    (
        "occupied folder",
        {"recipe": "rtn-4", "save_compressed": "{}/occupied"},
        r"occupied exists already; give a new folder",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_wrong_input_is_one_clear_line(models: Path, arguments: dict[str, Any], message: str) -> None:
    arguments = {k: v.replace("{}", str(models)) if isinstance(v, str) else v for k, v in arguments.items()}
    folder = models / str(arguments.pop("model", "llama"))
    with pytest.raises(UserError, match=message) as caught:
        CompressedHFLM(pretrained=str(folder), device="cpu", **arguments)
    assert "\n" not in str(caught.value)


def test_missing_library_is_named_with_its_install_line(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_class("rtn"), "modules", ("no_such_library",))
    monkeypatch.setattr(method_class("rtn"), "extra", "gptqmodel")
    with pytest.raises(UserError, match=r"method rtn needs no_such_library.*pip install 'lm-eval-ext\[gptqmodel\]'"):
        CompressedHFLM(pretrained=str(models / "llama"), device="cpu", recipe="rtn-4")


def test_offloaded_weights_are_refused(models: Path, tmp_path: Path) -> None:
    from accelerate import disk_offload

    from lm_eval_ext.models.recipe.resolve import resolve
    from lm_eval_ext.models.targets.find import find_targets
    from tests.helpers.tiny import tiny_model

    model = tiny_model("llama")
    disk_offload(model, offload_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"is offloaded \(on the meta device\).*parallelize=True"):
        find_targets(model, resolve(recipe="magnitude-50").steps[0])


def test_the_stock_command_shows_one_line_and_no_traceback(models: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "lm_eval",
        "--model",
        "compressed_hf",
        "--tasks",
        "bbq_itemlevel_demo",
        "--device",
        "cpu",
    ]
    line += ["--model_args", f"pretrained={models / 'llama'},method=rtn,bits=40"]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (
        done.stderr.rstrip().splitlines()[-1] == "error: method rtn: bits: got 40, expected a whole number from 2 to 8"
    )

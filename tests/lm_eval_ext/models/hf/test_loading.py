"""Folders and names that hold no model: one line each, before anything is computed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.hf.loading import load_fault
from tests.helpers.tiny import write_tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama")


def message(**arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        CompressedHFLM(device="cpu", **arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("key", ["pretrained", "peft", "delta", "tokenizer"])
@pytest.mark.parametrize(
    "path", ["/nope", "./nope", "../nope", "models/of/mine", "nope/", "~/nope", "C:\\models\\nope"]
)
def test_a_folder_that_is_not_there(key: str, path: str, whole: Path) -> None:
    arguments = {"pretrained": str(whole)} | {key: path}
    # Never the hub's words ("Repo id must use alphanumeric chars"): nobody meant the hub.
    reason = "~ is not expanded here" if path.startswith("~") else "there is no such folder"
    assert message(**arguments).startswith(f"{key}={path}: {reason};")


def test_no_model_given() -> None:
    for arguments in ({}, {"pretrained": ""}, {"pretrained": " "}):
        assert message(**arguments).startswith("no model given; add --model_args pretrained=")


def test_a_file_is_no_folder(whole: Path) -> None:
    assert "config.json is a file; name the folder that it lies in" in message(pretrained=str(whole / "config.json"))


def test_a_name_that_neither_the_hub_nor_the_disk_has() -> None:
    line = message(pretrained="nobody/no-such-model")
    assert line.startswith("the model nobody/no-such-model can't be loaded as asked: ")
    assert line.endswith("; and there is no folder of this name here")


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    # Under LC_ALL=C an accent arrives as a lone surrogate, which no results file can hold.
    assert "set PYTHONUTF8=1" in message(pretrained=f"{tmp_path}/mod\udce8le")


def removed(*patterns: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return change


def cut(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def narrower(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))


def written(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(text) and None


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no configuration": (removed("config.json"), "holds no config.json, so it is no model"),
    "no weights": (removed("*.safetensors"), "no file named model.safetensors"),
    "no tokenizer": (removed("tokenizer*"), "the folder holds no tokenizer: copy its files there"),
    "weights cut short": (cut, "damaged or cut short: copy or download it again"),
    "weights of zero bytes": (
        lambda f: (f / "model.safetensors").write_bytes(b"") and None,
        "can't be loaded as asked",
    ),
    "configuration of other sizes": (narrower, "can't be loaded as asked"),
    "configuration cut short": (written("{"), "is not a valid JSON file"),
    "configuration of another kind": (written("[]"), "can't be loaded as asked"),
    "unknown architecture": (written('{"model_type": "nonesuch"}'), "`nonesuch`"),
    "no architecture": (written("{}"), "model_type"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_named_with_its_damage(damage: str, whole: Path, tmp_path: Path) -> None:
    change, expected = DAMAGE[damage]
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    change(folder)
    line = message(pretrained=str(folder))
    assert str(folder) in line
    assert expected in line
    assert len(line) < 600


def test_a_faulty_dtype_is_a_line(whole: Path) -> None:
    assert "bf17" in message(pretrained=str(whole), dtype="bf17")


def test_a_users_fault_is_not_wrapped() -> None:
    fault = UserError("as it was")
    assert load_fault(fault, "x") is fault


def test_long_words_are_cut_and_lines_joined() -> None:
    line = str(load_fault(OSError("first line.\n\n" + "word " * 200), object()))
    assert line.startswith("the model object can't be loaded as asked: first line. word word")
    assert line.endswith("word ...")
    assert len(line) < 400
    assert str(load_fault(ValueError(), object())).endswith("as asked: ValueError")

"""Exports load to the same model, in a form that others read, with a card; or nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lm_eval_ext.cli.compress import key_values
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.export import make
from lm_eval_ext.models.export.make import export
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.files import load_recipe
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.tiny import tiny_model

CPU = {"device": "cpu"}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_plain_checkpoint_with_recipe_evidence_and_card(
    tiny_checkpoint: Path, tokenizer: Any, text_file: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    keys = {"sparsity": 0.5, "calibration": str(text_file), "samples": 2, "seqlen": 16}
    done = export(str(tiny_checkpoint), tmp_path / "out", method="wanda", arguments=keys | CPU)
    plain = tiny_model("llama")
    compress_(plain, tokenizer, resolve(method="wanda", **keys))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in plain.state_dict().items())
    assert done.logits == 0
    assert files(tmp_path) == ["out"]
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    evidence = json.loads((tmp_path / "out/compression_evidence.json").read_text())
    assert evidence["weights_hash_after"] == weights_hash(again)
    assert load_recipe(str(tmp_path / "out/compression_recipe.yaml")).steps[0].method == "wanda"
    card = (tmp_path / "out/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["tags"] == ["lm-eval-ext", "compressed", "wanda"]
    # A folder of this disk is no name on the hub, and the license is the base's.
    assert "base_model" not in front
    assert "license" not in front
    assert str(tiny_checkpoint) not in card
    assert "| zeros in them | 50.0000% |" in card
    assert evidence["weights_hash_after"] in card


@pytest.mark.parametrize(
    "keys",
    [
        {"bits": 4, "group_size": 32},
        {"bits": 3, "group_size": 16, "symmetric": True},
        {"bits": 8, "granularity": "channel"},
        {"bits": 5, "granularity": "channel", "symmetric": True},
    ],
    ids=str,
)
def test_packed_weights_are_the_ones_that_were_scored(
    keys: dict[str, Any], tiny_checkpoint: Path, tokenizer: Any, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    done = export(
        str(tiny_checkpoint), tmp_path / "out", method="rtn", format="compressed-tensors", arguments=keys | CPU
    )
    plain = tiny_model("llama")
    compress_(plain, tokenizer, resolve(method="rtn", **keys))
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", quantization_config=CompressedTensorsConfig(dequantize=True)
    )
    for name, value in plain.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert done.logits < 1e-5
    assert files(tmp_path) == ["out"]
    config = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert config["format"] == "pack-quantized"
    assert config["config_groups"]["group_0"]["weights"]["num_bits"] == keys["bits"]


def test_a_packed_export_is_known_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    keys = {"bits": 4, "group_size": 32}
    export(str(tiny_checkpoint), tmp_path / "out", method="rtn", format="compressed-tensors", arguments=keys | CPU)
    again = CompressedHFLM(pretrained=str(tmp_path / "out"), **CPU)._evidence
    assert (again.status, again.label, again.bits) == ("proved", "rtn-4(group_size=32)", 4)
    assert again.origin == {"base_model": str(tiny_checkpoint), "told_by": "recipe"}


REFUSED = [
    ({"recipe": "wanda-50", "format": "compressed-tensors"}, "can't hold wanda-50 exactly: it holds one step of rtn"),
    ({"recipe": "rtn-4", "format": "compressed-tensors", "arguments": {"embeddings": True}}, "the embedding and the"),
    ({"method": "rtn", "format": "compressed-tensors", "arguments": {"bits": 4, "granularity": "tensor"}}, "one scale"),
    ({"recipe": "rtn-4", "format": "gptq"}, "keeps scales in float16, which can't hold rtn-4 exactly"),
    ({"recipe": "rtn-4", "format": "gguf"}, "gguf is not written yet"),
    ({"recipe": "rtn-4", "format": "hff"}, r"unknown format \(--format\) 'hff'. Did you mean 'hf'"),
    ({"recipe": "rtn-4", "arguments": {"save_compressed": "x"}}, "the folder is --output"),
    ({"recipe": "rtn-4", "arguments": {"kv": "int8"}}, "no checkpoint holds that; leave kv out"),
    ({"recipe": "rtn-44"}, "unknown recipe 'rtn-44'"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED, ids=[line[:20] for _, line in REFUSED])
def test_what_can_t_be_held_is_refused_before_a_model_is_loaded(
    arguments: dict[str, Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=line) as caught:
        export("there/is-no-such-model", tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []


def test_scales_of_bfloat16_are_refused_and_nothing_is_left(tiny_checkpoint: Path, tmp_path: Path) -> None:
    keys = {"bits": 4, "group_size": 32, "dtype": "bfloat16"} | CPU
    with pytest.raises(UserError, match="give --dtype float32, or use --format hf"):
        export(str(tiny_checkpoint), tmp_path / "out", method="rtn", format="compressed-tensors", arguments=keys)
    assert files(tmp_path) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(UserError, match=r"--output .*out exists already"):
        export("there/is-no-such-model", tmp_path / "out", recipe="dense")
    assert files(tmp_path / "out") == ["mine"]


def test_a_checkpoint_that_loads_to_other_weights_is_not_kept(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = make.save_checkpoint

    def spoil(model: Any, tokenizer: Any, folder: Path, recipe: Any, evidence: Any) -> Path:
        path = save(model, tokenizer, folder, recipe, evidence)
        file = path / "model.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-2] ^= 1
        file.write_bytes(raw)
        return path

    monkeypatch.setattr(make, "save_checkpoint", spoil)
    with pytest.raises(UserError, match="--format hf: the weights that were written are not those in memory; nothing"):
        export(str(tiny_checkpoint), tmp_path / "out", recipe="magnitude-50", arguments=CPU)
    assert files(tmp_path) == []


def test_keys_of_a_command_line() -> None:
    assert key_values(["bits=4", "symmetric=true", "group_size=32", "exclude=*.o_proj"]) == {
        "bits": 4,
        "symmetric": True,
        "group_size": 32,
        "exclude": "*.o_proj",
    }
    for wrong in ("bits", "=4", "a b=3"):
        with pytest.raises(UserError, match="expected KEY=VALUE"):
            key_values([wrong])
    with pytest.raises(UserError, match="bits= stands twice"):
        key_values(["bits=4", "bits=3"])

"""Checkpoints in a packed format that can't be loaded here: one line that says why, before the load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.hf import unloadable
from tests.helpers.tiny import write_tiny

CPU = torch.device("cpu")


def line(config: dict[str, Any], device: torch.device = CPU) -> str:
    with pytest.raises(UserError) as caught:
        unloadable.refuse_unloadable(config, device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def said(method: str, **more: Any) -> dict[str, Any]:
    return {"model_type": "llama", "quantization_config": {"quant_method": method, **more}}


def test_hqq_through_the_whole_model(tmp_path: Path) -> None:
    write_tiny("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | said("hqq")))
    with pytest.raises(UserError, match=r"quantized by hqq, which transformers 5\.\d+\.\d+ does not load"):
        CompressedHFLM(pretrained=str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (said("vptq"), "the checkpoint is quantized by vptq, which needs vptq: pip install vptq"),
        (said("aqlm"), "the checkpoint is quantized by aqlm, which needs aqlm: pip install aqlm"),
        (
            said("fbgemm_fp8"),
            "the checkpoint is quantized by fbgemm_fp8, which runs on a GPU alone; this run is on cpu",
        ),
    ],
)
def test_packages_and_devices(config: dict[str, Any], message: str) -> None:
    assert line(config) == message


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors", "torchao", "quanto"])
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(unloadable, "_found", lambda module: False)
    assert f"the checkpoint is quantized by {method}, which needs " in line(said(method, bits=4))


def test_gptq() -> None:
    pytest.importorskip("gptqmodel")
    assert line(said("gptq", bits=6)).startswith("the checkpoint is GPTQ of bits=6; transformers loads 2, 3, 4 and 8")
    for kind in ("gpt2", "phi3"):
        told = line(said("gptq", bits=4) | {"model_type": kind})
        assert told.startswith(f"transformers can't load a GPTQ checkpoint of {kind}")
        assert "gptqmodel=True" in told
        unloadable.refuse_unloadable(said("gptq", bits=4) | {"model_type": kind}, CPU, by_gptqmodel=True)
    unloadable.refuse_unloadable(said("gptq", bits=4), CPU)


def test_asymmetric_words_of_compressed_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("compressed_tensors")
    config = said("compressed-tensors", format="pack-quantized", config_groups={"g": {"weights": {"symmetric": False}}})
    monkeypatch.setattr(unloadable, "_version", lambda package: "5.17.0")
    unloadable.refuse_unloadable(config, CPU)
    monkeypatch.setattr(unloadable, "_version", lambda package: "5.24.0")
    assert line(config).startswith("transformers 5.24.0 can't load asymmetric pack-quantized weights")


def test_what_is_not_quantized() -> None:
    for config in ({}, {"quantization_config": None}, {"quantization_config": {"group_size": 64, "bits": 4}}):
        unloadable.refuse_unloadable(config, CPU)

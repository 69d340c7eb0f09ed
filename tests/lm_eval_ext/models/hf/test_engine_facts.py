"""What results say of the engine that computed them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.packed import write_fp8


def test_a_plain_model(llama: Path) -> None:
    facts = CompressedHFLM(pretrained=str(llama), device="cpu", dtype="bfloat16").get_model_info()["engine"]
    assert facts == {
        "name": "compressed_hf",
        "version": f"lm-eval-ext {version('lm-eval-ext')}, transformers {version('transformers')}, "
        f"torch {version('torch')}",
        "dtype": "bfloat16",
        "quantization": None,
        "kv_cache": None,
        "parallel": None,
        "batch_invariant": None,
        "seeds": "own",
        "threads": torch.get_num_threads(),
    }


def test_packed_weights_that_are_used_as_they_are(llama: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        llama, quantization_config=BitsAndBytesConfig(load_in_8bit=True), dtype=torch.bfloat16
    )
    facts = CompressedHFLM(pretrained=model, tokenizer=str(llama)).get_model_info()["engine"]
    assert facts["quantization"] == "bitsandbytes-8(activation_bits=8)"


def test_weights_that_are_dequantized_on_load(tmp_path: Path) -> None:
    write_fp8(tmp_path)
    info = CompressedHFLM(pretrained=str(tmp_path), device="cpu").get_model_info()
    # The engine runs on plain weights, and the evidence says what they were.
    assert info["engine"]["quantization"] is None
    assert info["compression"]["label"] == "fp8-8(group_size=64,kind=float8_e4m3fn)"
    assert (info["compression"]["status"], info["compression"]["schema_version"]) == ("measured", 4)

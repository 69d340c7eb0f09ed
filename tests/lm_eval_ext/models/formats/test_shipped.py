"""Checkpoints that came compressed, loaded by the real transformers: what their evidence says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.formats.modules import packed_matrices
from tests.helpers.packed import WIDE, Packed, words, write_awq, write_fp8, write_gptq
from tests.helpers.tiny import tiny_tokenizer, write_tiny

NAME = "model.layers.1.mlp.down_proj.weight"


def run(folder: Path, **options: Any) -> tuple[CompressedHFLM, Evidence]:
    model = CompressedHFLM(pretrained=str(folder), device="cpu", **options)
    return model, model._evidence


def record(evidence: Evidence, name: str = NAME) -> dict[str, Any]:
    return next(entry for entry in evidence.matrices if entry["name"] == name)


@pytest.fixture(scope="module")
def bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("llama", tmp_path_factory.mktemp("plain"), dtype=torch.bfloat16, **WIDE)


def rows(weight: Tensor) -> Tensor:
    """Share of each row's error that rounding to the nearest of 256 levels between -max and max may make."""
    return weight.abs().amax(1, keepdim=True) / 127 / 2


# -- bitsandbytes


def test_bitsandbytes_8bit(bfloat16: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    pytest.importorskip("bitsandbytes")
    plain = AutoModelForCausalLM.from_pretrained(bfloat16).state_dict()[NAME].float()
    model = AutoModelForCausalLM.from_pretrained(
        bfloat16, quantization_config=BitsAndBytesConfig(load_in_8bit=True), dtype=torch.bfloat16
    )
    matrix = {matrix.name: matrix for matrix in packed_matrices(model)}[NAME]
    # By the definition of int8 rows: code * absmax / 127 is within half a step of the weight (float16 rounds besides).
    assert bool(((matrix.read().values - plain).abs() <= 1.05 * rows(plain)).all())
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    _, evidence = run(tmp_path)
    assert (evidence.label, evidence.method, evidence.status) == (
        "bitsandbytes-8(activation_bits=8)",
        "bitsandbytes",
        "measured",
    )
    found = record(evidence)
    assert (found["bits"], found["symmetric"], found["group_size"]) == (8, True, None)
    # A row of 256 codes and one float32: 8 + 32 / 256.
    assert found["bits_per_weight"] == 8.125
    assert 128 < found["levels"] <= 255
    assert evidence.canary["kernels_compared"] == 14
    assert {entry["name"] for entry in evidence.skipped} == {"lm_head.weight", "model.embed_tokens.weight"}


@pytest.mark.parametrize(("kind", "nested"), [("nf4", False), ("fp4", True)])
def test_bitsandbytes_4bit(bfloat16: Path, tmp_path: Path, kind: str, nested: bool) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested)
    model = AutoModelForCausalLM.from_pretrained(bfloat16, quantization_config=config, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    weight = model.get_parameter(NAME)
    theirs = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state).float()
    matrix = {matrix.name: matrix for matrix in packed_matrices(model)}[NAME]
    # Theirs is rounded to bfloat16.
    torch.testing.assert_close(matrix.read().values, theirs, rtol=2**-8, atol=1e-6)
    _, evidence = run(tmp_path)
    assert evidence.label == f"bitsandbytes-4(group_size=64,kind={kind})"
    assert (evidence.status, evidence.bits) == ("measured", 4)
    found = record(evidence)
    assert 8 < found["levels"] <= 16
    # 128 x 256 weights are 512 blocks of 64: a float32 each, or a byte each and two float32 for the bytes.
    extra = (512 * 8 + 2 * 32) / (128 * 256) if nested else 32 / 64
    assert found["bits_per_weight"] == 4 + extra


# -- torchao and quanto


@pytest.mark.parametrize("kind", ["int4", "int8", "float8"])
def test_torchao(bfloat16: Path, tmp_path: Path, kind: str) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import AutoModelForCausalLM, TorchAoConfig

    config = {
        "int4": lambda: quantization.IntxWeightOnlyConfig(
            torch.int4, quantization.PerGroup(64), quantization.MappingType.ASYMMETRIC
        ),
        "int8": quantization.Int8WeightOnlyConfig,
        "float8": quantization.Float8WeightOnlyConfig,
    }[kind]()
    model = AutoModelForCausalLM.from_pretrained(bfloat16, quantization_config=TorchAoConfig(config))
    theirs = model.get_parameter(NAME).dequantize().float()
    matrix = {matrix.name: matrix for matrix in packed_matrices(model)}[NAME]
    torch.testing.assert_close(matrix.read().values, theirs, rtol=2**-7, atol=1e-6)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    _, evidence = run(tmp_path)
    assert evidence.status == "measured"
    assert (
        evidence.label
        == {
            "int4": "torchao-4(group_size=64)",
            "int8": "torchao-8",
            "float8": "torchao-8(kind=float8_e4m3fn)",
        }[kind]
    )
    found = record(evidence)
    # int4: a bfloat16 scale and a zero point of 4 bits a group of 64. The others: a float32 a row of 256.
    assert found["bits_per_weight"] == {"int4": 4 + 20 / 64, "int8": 8.125, "float8": 8.125}[kind]


# Quanto compiles its unpacking at its first use: a minute and a half.
@pytest.mark.parametrize(
    "kind", ["int8", "float8", *(pytest.param(k, marks=pytest.mark.slow) for k in ("int4", "int2"))]
)
def test_quanto(bfloat16: Path, kind: str) -> None:
    pytest.importorskip("optimum.quanto")
    from transformers import AutoModelForCausalLM, QuantoConfig

    model = AutoModelForCausalLM.from_pretrained(bfloat16, quantization_config=QuantoConfig(weights=kind))
    evidence = CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer())._evidence
    bits = {"int8": 8, "int4": 4, "int2": 2, "float8": 8}[kind]
    assert (evidence.status, evidence.method, evidence.bits) == ("measured", "quanto", bits)
    assert record(evidence)["levels"] <= 2**bits


# -- FP8, which a CPU dequantizes on load


def test_fp8_is_read_from_the_files_where_it_is_dequantized_on_load(tmp_path: Path) -> None:
    packed = write_fp8(tmp_path, block=64)
    model, evidence = run(tmp_path)
    assert (evidence.label, evidence.status) == ("fp8-8(group_size=64,kind=float8_e4m3fn)", "measured")
    found = record(evidence)
    # 128 x 256 weights are 8 blocks of 64 x 64, a float32 each.
    assert found["bits_per_weight"] == 8 + 8 * 32 / (128 * 256)
    # Transformers rounds the product to bfloat16.
    weight = model.model.get_parameter(NAME).float()
    torch.testing.assert_close(weight, packed.weights[NAME], rtol=2**-7, atol=1e-6)
    assert evidence.bits == 8


def test_fp8_that_loads_as_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval_ext.errors import UserError
    from lm_eval_ext.models.hf import shipped

    write_fp8(tmp_path, block=64)
    whole = shipped.read_fp8

    def doubled(*args: Any) -> Any:
        expected = whole(*args)
        return replace(expected, values=lambda: ((name, 2 * values) for name, values in expected.values()))

    monkeypatch.setattr(shipped, "read_fp8", doubled)
    with pytest.raises(UserError, match=r"14 matrices were loaded as something else than the files hold: model\.l"):
        run(tmp_path)


# -- GPTQ and AWQ


@pytest.fixture(scope="module")
def gptq(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Packed]:
    pytest.importorskip("gptqmodel")
    pytest.importorskip("optimum")
    made = tmp_path_factory.mktemp("gptq")
    return {
        "symmetric": write_gptq(made / "symmetric"),
        "asymmetric": write_gptq(made / "asymmetric", size=32, symmetric=False),
        "three": write_gptq(made / "three", bits=3),
        "awq": write_awq(made / "awq"),
    }


@pytest.mark.parametrize(
    ("which", "label", "per_weight"),
    [
        # A scale of 16 bits and a zero point of the code's width a group.
        ("symmetric", "gptq-4(group_size=64)", 4 + 20 / 64),
        ("asymmetric", "gptq-4(group_size=32,symmetric=False)", 4 + 20 / 32),
        ("three", "gptq-3(group_size=64)", 3 + 19 / 64),
        ("awq", "awq-4(group_size=64)", 4 + 20 / 64),
    ],
)
def test_gptq_and_awq(gptq: dict[str, Packed], which: str, label: str, per_weight: float) -> None:
    packed = gptq[which]
    _, evidence = run(packed.folder, dtype="bfloat16" if which != "three" else "float16")
    assert (evidence.label, evidence.status, evidence.doubts) == (label, "measured", [])
    found = record(evidence)
    assert found["bits_per_weight"] == pytest.approx(per_weight)
    # The values were computed where the checkpoint was written, from its codes.
    assert found["zeros"] == int((packed.weights[NAME] == 0).sum())
    assert evidence.canary["kernels_compared"] == 14
    assert evidence.canary["kernels_off_by"] < 0.01


MAKE = """
import sys
from gptqmodel import GPTQModel, QuantizeConfig
from gptqmodel.quantization.config import RTNConfig
source, target = sys.argv[1:]
model = GPTQModel.load(source, RTNConfig(bits=4, group_size=64), device="cpu")
model.quantize(calibration=None)
model.save(target)
"""


@pytest.mark.slow
def test_a_checkpoint_that_gptqmodel_made(bfloat16: Path, tmp_path: Path) -> None:
    pytest.importorskip("gptqmodel")
    pytest.importorskip("optimum")
    environment = os.environ | {"GPTQMODEL_CPU_WORKERS": "2", "MAX_JOBS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(bfloat16), str(tmp_path / "made")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _, evidence = run(tmp_path / "made", dtype="bfloat16")
    assert (evidence.label, evidence.status, evidence.doubts) == ("gptq-4(group_size=64)", "measured", [])
    assert record(evidence)["levels"] in (15, 16)
    assert evidence.canary["kernels_off_by"] < 0.01
    _, evidence = run(tmp_path / "made", gptqmodel=True)
    assert (evidence.label, evidence.status) == ("gptq-4(group_size=64)", "measured")


def test_a_wrong_kernel_is_refused(gptq: dict[str, Packed]) -> None:
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    from lm_eval_ext.errors import UserError

    model = pytest.MonkeyPatch()
    honest = TorchLinear.forward
    model.setattr(TorchLinear, "forward", lambda self, given: -honest(self, given))
    try:
        with pytest.raises(UserError, match=r"14 of 14 packed matrices compute something else .* off by 200%"):
            run(gptq["three"].folder, dtype="float16")
    finally:
        model.undo()


# -- compressed-tensors


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_words_are_unpacked_as_compressed_tensors_packs_them(bits: int) -> None:
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    from lm_eval_ext.models.formats.words import unpack

    codes = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (6, 96), generator=torch.Generator().manual_seed(bits))
    packed = helpers.pack_to_int32(codes.to(torch.int8), bits)
    assert torch.equal(unpack(packed, bits, 96).long() - 2 ** (bits - 1), codes)
    assert torch.equal(unpack(words(codes + 2 ** (bits - 1), bits), bits), unpack(packed, bits, 96))


SCHEMES: dict[str, dict[str, Any]] = {
    "w4a16": {"scheme": "W4A16"},
    "asymmetric": {
        "config_groups": {
            "g": {
                "targets": ["Linear"],
                "weights": {"num_bits": 3, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64},
            }
        }
    },
    "w8a8": {"scheme": "W8A8"},
    "fp8": {"scheme": "FP8_DYNAMIC"},
}


@pytest.fixture(scope="module")
def compressed(bfloat16: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint a scheme, and the weights that each one stands for by llm-compressor itself."""
    pytest.importorskip("llmcompressor", reason="llm-compressor is an extra")
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoModelForCausalLM

    made = tmp_path_factory.mktemp("ct")
    for name, how in SCHEMES.items():
        model = AutoModelForCausalLM.from_pretrained(bfloat16)
        model = oneshot(model=model, recipe=QuantizationModifier(targets="Linear", ignore=["lm_head"], **how))
        model.save_pretrained(made / name, save_compressed=True)
        tiny_tokenizer().save_pretrained(made / name)
    return {name: made / name for name in SCHEMES}


@pytest.mark.parametrize(
    ("which", "label", "per_weight"),
    [
        ("w4a16", "compressed_tensors-4(group_size=128)", 4 + 16 / 128),
        ("asymmetric", "compressed_tensors-3(group_size=64,symmetric=False)", 3 + 19 / 64),
        ("w8a8", "compressed_tensors-8(activation_bits=8)", 8 + 16 / 256),
        ("fp8", "compressed_tensors-8(kind=float8_e4m3fn,activation_bits=8)", 8 + 16 / 256),
    ],
)
def test_compressed_tensors(compressed: dict[str, Path], which: str, label: str, per_weight: float) -> None:
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    _, evidence = run(compressed[which])
    assert (evidence.label, evidence.status, evidence.doubts) == (label, "measured", [])
    found = record(evidence)
    assert found["bits_per_weight"] == pytest.approx(per_weight)
    model = AutoModelForCausalLM.from_pretrained(compressed[which])
    ours = {matrix.name: matrix for matrix in packed_matrices(model)}[NAME].read().values
    theirs = AutoModelForCausalLM.from_pretrained(
        compressed[which], quantization_config=CompressedTensorsConfig(dequantize=True)
    ).get_parameter(NAME)
    torch.testing.assert_close(ours, theirs.float(), rtol=2**-7, atol=1e-6)


def test_compressed_tensors_that_is_not_packed(bfloat16: Path, compressed: dict[str, Path]) -> None:
    """Plain weights with a scheme, rounded at each use: as llm-compressor leaves a model in memory."""
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bfloat16)
    model = oneshot(model=model, recipe=QuantizationModifier(targets="Linear", ignore=["lm_head"], scheme="W4A16"))
    evidence = CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer())._evidence
    assert (evidence.label, evidence.status) == ("compressed_tensors-4(group_size=128)", "measured")
    # The same codes as where they are packed.
    packed = CompressedHFLM(pretrained=str(compressed["w4a16"]), device="cpu")._evidence
    assert [(r["name"], r["zeros"], r["levels"]) for r in evidence.matrices] == [
        (r["name"], r["zeros"], r["levels"]) for r in packed.matrices
    ]

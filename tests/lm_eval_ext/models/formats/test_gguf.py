"""GGUF: types and values of a real file, held against what transformers made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.dequantized import Expected, check_loaded
from lm_eval_ext.models.formats.gguf_file import read_gguf
from tests.helpers.tiny import tiny_model

gguf: Any = pytest.importorskip("gguf")

KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q8_0")


def write_gguf(path: Path, kinds: tuple[str, ...]) -> Any:
    """The decoder maps of a tiny Llama in turn in some types, with the names that llama.cpp gives them; no header."""
    model = tiny_model("llama", hidden_size=64, intermediate_size=128)
    writer = gguf.GGUFWriter(str(path), "llama")
    names = {"q_proj": "attn_q", "o_proj": "attn_output", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    for layer, block in enumerate(model.model.layers):
        for kind, (theirs, ours) in zip(kinds, names.items(), strict=True):
            part = block.self_attn if "attn" in ours else block.mlp
            weight = getattr(part, theirs).weight
            made = gguf.GGMLQuantizationType[kind]
            data = gguf.quants.quantize(weight.detach().numpy(), made)
            writer.add_tensor(f"blk.{layer}.{ours}.weight", data, raw_dtype=made)
            weight.data = torch.from_numpy(gguf.quants.dequantize(data, made).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def test_types_and_values(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", KINDS)
    expected = read_gguf(tmp_path / "m.gguf")
    forms = {form.name: form for form in expected.came.forms}
    assert len(forms) == 8
    # By the types' layout: blocks of 32 with a scale (and a minimum) of 16 bits.
    for name, kind, bits, per_weight in (
        ("self_attn.q_proj", "Q4_0", 4, 4.5),
        ("self_attn.o_proj", "Q4_1", 4, 5.0),
        ("mlp.up_proj", "Q5_0", 5, 5.5),
        ("mlp.down_proj", "Q8_0", 8, 8.5),
    ):
        form = forms[f"model.layers.1.{name}.weight"]
        assert (form.kind, form.bits, form.bits_per_weight, form.group_size) == (kind, bits, per_weight, 32)
        assert form.levels is not None
        assert form.levels <= min(32, 2**bits)
    assert expected.came.doubts == []
    check_loaded(model, expected)
    assert expected.came.doubts == []


def test_rows_may_be_in_another_order(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", KINDS)
    weight = model.model.layers[0].self_attn.q_proj.weight
    weight.data = weight.data[torch.randperm(64)]
    expected = read_gguf(tmp_path / "m.gguf")
    check_loaded(model, expected)
    assert expected.came.doubts == []


def test_weights_of_another_sign_have_the_same_size(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", KINDS)
    model.model.layers[0].self_attn.q_proj.weight.data *= -1
    with pytest.raises(UserError, match=r"1 matrices were loaded as something else .*0\.self_attn\.q_proj"):
        check_loaded(model, read_gguf(tmp_path / "m.gguf"))


def test_what_was_loaded_as_something_else(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", KINDS)
    model.model.layers[0].self_attn.q_proj.weight.data *= 1.02
    model.model.layers[1].mlp.up_proj.weight.data.abs_()
    message = r"2 matrices were loaded as something else .*0\.self_attn\.q_proj\.weight, model"
    with pytest.raises(UserError, match=message):
        check_loaded(model, read_gguf(tmp_path / "m.gguf"))


def test_matrices_that_have_another_name_are_not_compared(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", KINDS)
    whole = read_gguf(tmp_path / "m.gguf")

    def renamed() -> Iterator[tuple[str, torch.Tensor]]:
        for name, values in whole.values():
            yield name.replace("layers.0.self_attn.q_proj", "layers.0.fused"), values

    expected: Expected = replace(whole, values=renamed)
    check_loaded(model, expected)
    assert expected.came.doubts[0].startswith("1 packed matrices of the files have another name or shape in the model")


def test_more_values_than_the_type_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "m.gguf", KINDS)
    honest = gguf.quants.dequantize
    noise = torch.Generator().manual_seed(0)

    def noisy(data: Any, kind: Any) -> Any:
        values = honest(data, kind)
        return values + 1e-3 * torch.randn(values.shape, generator=noise).numpy()

    monkeypatch.setattr(gguf.quants, "dequantize", noisy)
    doubts = read_gguf(tmp_path / "m.gguf").came.doubts
    assert "model.layers.0.self_attn.q_proj.weight is Q4_0, and some of its groups have 32 values" in doubts


@pytest.mark.slow
def test_smollm2_by_its_gguf_file() -> None:
    from lm_eval_ext.demo.model import GGUF, require_source
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    try:
        source = require_source()
    except UserError as error:
        pytest.skip(str(error))
    found = CompressedHFLM(pretrained=str(source), gguf_file=GGUF, device="cpu", dtype="float32")._evidence
    # One in eight of its down projections is Q6_K or Q5: llama.cpp's recipe; all of them are in the evidence.
    assert (found.status, found.method) == ("measured", "gguf")
    assert found.doubts == []
    assert found.label.startswith("gguf-4")
    assert found.base["gguf_file"] == GGUF

"""Checkpoints that save_compressed wrote: known by the hash of their weights, and believed in nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.evidence.record import Evidence
from tests.helpers.tiny import write_tiny


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Evidence]:
    source = write_tiny("llama", tmp_path / "source", dtype=torch.bfloat16)
    made = CompressedHFLM(
        pretrained=str(source), device="cpu", recipe="magnitude-50", save_compressed=str(tmp_path / "made")
    )
    return tmp_path / "made", made._evidence


def again(folder: Path, **options: Any) -> Evidence:
    return CompressedHFLM(pretrained=str(folder), device="cpu", **options)._evidence


def test_what_was_saved_is_known_again(saved: tuple[Path, Evidence]) -> None:
    folder, made = saved
    found = again(folder)
    for key in ("label", "method", "sparsity", "bits", "recipe", "base", "weights_hash_before", "weights_hash_after"):
        assert getattr(found, key) == getattr(made, key), key
    assert (found.status, found.doubts, found.loaded) == ("proved", [], str(folder))
    assert found.origin == {"base_model": made.base["pretrained"], "told_by": "recipe"}
    assert len(found.matrices) == 14


def test_a_wider_dtype_holds_the_same_weights(saved: tuple[Path, Evidence]) -> None:
    found = again(saved[0], dtype="float32")
    assert (found.label, found.status, found.dtype) == ("magnitude-50", "proved", "float32")
    assert found.weights_hash_after != saved[1].weights_hash_after


def test_other_weights_beside_the_recipe(saved: tuple[Path, Evidence]) -> None:
    from safetensors.torch import load_file, save_file

    folder, made = saved
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = again(folder)
    assert (found.label, found.status, found.method) == ("sparse-50(unverified)", "unverified", "sparse")
    assert len(found.doubts) == 1
    assert found.doubts[0].startswith(
        "the recipe beside the weights (magnitude-50) is of other weights: their hash is "
    )
    assert made.weights_hash_after[:12] in found.doubts[0]


def test_a_narrower_dtype_is_another_model(tmp_path: Path) -> None:
    source = write_tiny("llama", tmp_path / "source")
    CompressedHFLM(pretrained=str(source), device="cpu", recipe="magnitude-50", save_compressed=str(tmp_path / "made"))
    found = again(tmp_path / "made", dtype="bfloat16")
    assert found.status == "unverified"
    assert found.doubts[0].endswith("load them with dtype=float32")


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"label": 3}'])
def test_evidence_that_can_not_be_read(saved: tuple[Path, Evidence], text: str) -> None:
    (saved[0] / "compression_evidence.json").write_text(text)
    found = again(saved[0])
    assert (found.label, found.status) == ("sparse-50(unverified)", "unverified")
    assert "can't be read" in found.doubts[0]


def test_the_evidence_is_not_believed_about_the_hash(saved: tuple[Path, Evidence]) -> None:
    folder, _ = saved
    record = json.loads((folder / "compression_evidence.json").read_text())
    record["weights_hash_after"] = "0" * 64
    (folder / "compression_evidence.json").write_text(json.dumps(record))
    assert again(folder).status == "unverified"

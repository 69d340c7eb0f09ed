"""Plain floats that somebody compressed: told from a model as training left it, whatever its size and dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.formats.plain import look, values_a_group
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.resolve import DENSE
from tests.helpers.tiny import tiny_model, tiny_tokenizer, write_tiny

WIDE = {"hidden_size": 128, "intermediate_size": 256}


def normal(rows: int, cols: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed)).mul(0.02).to(dtype)


def after(step: dict[str, Any], **changes: Any) -> Evidence:
    """A tiny model compressed by us, and then looked at as if it had come so."""
    model = tiny_model("llama", **(WIDE | changes))
    compress_(model, tiny_tokenizer(), Recipe(name="made", steps=(make_step(step),)))
    return compress_(model, tiny_tokenizer(), DENSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (256, 4096), (64, 11008)])
def test_trained_weights_stay_dense(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    for seed in range(20):
        assert values_a_group(normal(*shape, dtype, seed)) is None
    assert look([("w", normal(*shape, dtype))]) is None


def test_a_pruned_matrix_is_not_one_of_few_values() -> None:
    weight = normal(64, 128)
    weight[torch.rand(64, 128, generator=torch.Generator().manual_seed(1)) < 0.8] = 0
    assert values_a_group(weight) is None


@pytest.mark.parametrize(("bits", "size"), [(2, 32), (3, 64), (4, 32), (4, 64), (4, 128), (5, 64), (5, 128), (6, 128)])
@pytest.mark.parametrize("method", ["rtn", "mlx_affine"])
def test_values_of_a_group(bits: int, size: int, method: str) -> None:
    found = after({"method": method, "bits": bits, "group_size": size})
    assert (found.status, found.method, found.bits) == ("measured", "few_levels", bits)
    assert found.label.startswith(f"few_levels-{bits}(group_size={size}") or (size == 128 and bits < 6)
    assert {record["group_size"] for record in found.matrices} <= {size, None}
    assert found.weights_hash_before is None


def test_eight_bits_in_groups_can_not_be_told() -> None:
    assert after({"method": "rtn", "bits": 8, "group_size": 64}).label == "dense"


@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_sparse(method: str) -> None:
    found = after({"method": method, "sparsity": 0.5})
    assert (found.label, found.method, found.status, found.bits) == ("sparse-50", "sparse", "measured", None)
    assert found.sparsity == pytest.approx(0.5, abs=0.001)
    assert found.totals["decoder_bits_per_weight"] is None
    assert found.totals["achieved_sparsity"] == found.sparsity


def test_two_of_four() -> None:
    found = after({"method": "magnitude", "sparsity": 0.5, "pattern": "2:4"})
    assert found.label == "sparse-50(pattern=2:4)"
    assert found.reading is not None
    assert found.reading["pattern"] == "2:4"


def test_a_few_zeros_are_chance() -> None:
    model = tiny_model("llama", **WIDE)
    for layer in model.model.layers:
        layer.mlp.up_proj.weight.data[:, 0] = 0  # 1 of 128 inputs of one map in seven
    found = compress_(model, tiny_tokenizer(), DENSE)
    assert (found.label, found.status, found.origin) == ("dense", "dense", None)


def test_the_owner_calls_it_the_original(tmp_path: Path) -> None:
    from lm_eval_ext.models.checkpoints.write import save_checkpoint
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    model = tiny_model("llama", **WIDE)
    made = compress_(model, tiny_tokenizer(), Recipe(name="made", steps=(make_step({"method": "rtn", "bits": 4}),)))
    save_checkpoint(model, tiny_tokenizer(), tmp_path / "c", Recipe(name="made", steps=()), made)
    for name in ("compression_recipe.yaml", "compression_evidence.json"):
        (tmp_path / "c" / name).unlink()
    folder = str(tmp_path / "c")
    assert CompressedHFLM(pretrained=folder, device="cpu")._evidence.label.startswith("few_levels-4")
    (tmp_path / "c" / "compression_original.txt").write_text("no finer one is at hand")
    found = CompressedHFLM(pretrained=folder, device="cpu")._evidence
    assert (found.label, found.status) == ("dense", "dense")
    assert "look compressed (few_levels-4" in found.doubts[0]


def test_no_mark_is_needed_where_weights_are_whole(tmp_path: Path) -> None:
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    write_tiny("gpt2", tmp_path)
    found = CompressedHFLM(pretrained=str(tmp_path), device="cpu")._evidence
    assert (found.label, found.doubts, found.weights_hash_before) == ("dense", [], found.weights_hash_after)

"""What a compression comes to over all matrices of the decoder, with the shapes of the tiny models counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lm_eval_ext.models.evidence.whole import decoder_totals
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.tiny import tiny_model, tiny_tokenizer

# Two blocks of q 64 x 64, k and v 32 x 64, o 64 x 64, gate and up 128 x 64, down 64 x 128.
BLOCK = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64
DOWN = 64 * 128


def totals(family: str = "llama", **keys: Any) -> dict[str, Any]:
    return compress_(tiny_model(family), tiny_tokenizer(), resolve(**keys)).totals


def test_what_is_left_alone_counts() -> None:
    found = totals(method="magnitude", sparsity=0.5, exclude="*.down_proj")
    assert (found["matrices"], found["parameters"]) == (12, 2 * (BLOCK - DOWN))
    assert (found["decoder_matrices"], found["decoder_parameters"]) == (14, 2 * BLOCK)
    assert found["achieved_sparsity"] == 0.5
    assert found["decoder_sparsity"] == pytest.approx(0.5 * (BLOCK - DOWN) / BLOCK)
    assert found["decoder_bits_per_weight"] is None


def test_the_ends_of_the_model_are_no_part_of_its_decoder() -> None:
    found = totals(method="rtn", bits=4, embeddings=True, lm_head=True, exclude="*.down_proj")
    assert found["matrices"] == 14
    assert found["bits_per_weight"] == 4 + 20 / 64
    mixed = ((BLOCK - DOWN) * (4 + 20 / 64) + DOWN * 32) / BLOCK
    assert found["decoder_bits_per_weight"] == pytest.approx(mixed)
    assert found["decoder_matrices"] == 14


def test_what_two_steps_do_is_counted_at_the_end() -> None:
    found = totals(method="magnitude+rtn", sparsity=0.5, bits=8)
    assert found["decoder_sparsity"] == found["achieved_sparsity"] >= 0.5
    assert found["decoder_bits_per_weight"] == found["bits_per_weight"] == 8 + 24 / 64


def test_experts_count_one_by_one_and_routers_do_not() -> None:
    whole = totals("mixtral", method="magnitude", sparsity=0.5)
    assert whole["decoder_matrices"] == whole["matrices"]
    assert whole["decoder_sparsity"] == whole["achieved_sparsity"] == 0.5
    part = totals("mixtral", method="magnitude", sparsity=0.5, exclude="*.self_attn")
    assert part["decoder_parameters"] == whole["parameters"]
    assert part["decoder_sparsity"] == pytest.approx(0.5 * part["parameters"] / whole["parameters"])


def test_nothing_compressed_is_nothing_to_say() -> None:
    assert totals(recipe="dense") == {"matrices": 0, "parameters": 0}
    model = tiny_model("llama")
    record = {"name": "model.layers.0.mlp.up_proj.weight"}
    assert decoder_totals(model, [record])["decoder_sparsity"] == 0.0
    model.model.layers[0].mlp.up_proj.to("meta")
    assert decoder_totals(model, [record]) == {}

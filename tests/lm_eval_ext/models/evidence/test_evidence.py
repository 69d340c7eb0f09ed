"""Evidence: hashes that tell of values alone, totals by hand, and a canary that notices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import CANARY, canary_logits, compare_canary
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import totals
from tests.helpers.ends import ended_tokenizer
from tests.helpers.tiny import FAMILIES, tiny_model, tiny_tokenizer


class Pair(nn.Module):
    """Two weights, entered in one order or the other."""

    def __init__(self, order: str, values: dict[str, torch.Tensor], *, tied: bool = False) -> None:
        super().__init__()
        for name in order:
            self.register_parameter(name, nn.Parameter(values[name].clone()))
        if tied:
            self.b = self.a


def pair() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(3, 5, generator=generator) for name in "ab"}


def test_order_and_layout_do_not_change_the_hash() -> None:
    model = Pair("ab", pair())
    assert weights_hash(Pair("ba", pair())) == weights_hash(model)
    model.a.data = model.a.data.t().contiguous().t()
    assert not model.a.is_contiguous()
    assert weights_hash(model) == weights_hash(Pair("ab", pair()))


def test_tying_does_not_change_the_hash() -> None:
    values = pair()
    values["b"] = values["a"]
    assert weights_hash(Pair("ab", values)) == weights_hash(Pair("ab", values, tied=True))
    tied = tiny_model("llama", tie_word_embeddings=True)
    untied = tiny_model("llama")
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    untied.load_state_dict(tied.state_dict())
    assert untied.lm_head.weight is not untied.model.embed_tokens.weight
    assert weights_hash(untied) == weights_hash(tied)


def test_one_bit_changes_the_hash() -> None:
    reference = weights_hash(Pair("ab", pair()))
    for position in range(15):
        for bit in (0, 31):
            model = Pair("ab", pair())
            model.b.data.reshape(-1).view(torch.int32)[position] ^= torch.tensor(
                1 << bit if bit < 31 else -(2**31), dtype=torch.int32
            )
            assert weights_hash(model) != reference


def test_name_dtype_and_shape_change_the_hash() -> None:
    values = pair()
    reference = weights_hash(Pair("ab", values))
    assert weights_hash(Pair("ab", {"a": values["b"], "b": values["a"]})) != reference
    assert weights_hash(Pair("ab", {"a": values["a"], "b": values["b"].reshape(5, 3)})) != reference
    assert weights_hash(Pair("ab", {name: value.double() for name, value in values.items()})) != reference
    # The same bytes in both.
    dtypes = (torch.float16, torch.bfloat16)
    assert len({weights_hash(Pair("a", {"a": torch.zeros(2, 4, dtype=dtype)})) for dtype in dtypes}) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_counts(family: str) -> None:
    model = tiny_model(family)
    hashes = {weights_hash(model)}
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.data.reshape(-1)[-1] += 1
        hashes.add(weights_hash(model))
    assert len(hashes) == len(parameters) + 1


def test_saved_buffers_count() -> None:
    hashes = set()
    for value in (0.0, 1.0):
        model = Pair("ab", pair())
        model.register_buffer("kept", torch.tensor(value))
        model.register_buffer("left", torch.tensor(value), persistent=False)
        hashes.add(weights_hash(model))
    assert len(hashes) == 2
    model = Pair("ab", pair())
    model.register_buffer("left", torch.tensor(3.0), persistent=False)
    assert weights_hash(model) == weights_hash(Pair("ab", pair()))


def test_offloaded_weights_have_no_hash() -> None:
    model = Pair("ab", pair())
    model.b = nn.Parameter(torch.empty(3, 5, device="meta"))
    with pytest.raises(UserError, match="b is offloaded"):
        weights_hash(model)


def record(name: str, rows: int, cols: int, zeros: int, width: int = 2, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [rows, cols], "zeros": zeros, "bytes": rows * cols * width, **more}


def test_totals_of_a_pruned_model_by_hand() -> None:
    # 10 x 8 with 40 zeros and 4 x 5 with 5 zeros: 45 of 100. Pruned weights keep their bytes.
    assert totals([record("a", 10, 8, 40), record("b", 4, 5, 5)]) == {
        "matrices": 2,
        "parameters": 100,
        "achieved_sparsity": 0.45,
        "bits_per_weight": None,
        "bytes_before": 200,
        "bytes_after": 200,
    }


def test_totals_of_a_quantized_model_by_hand() -> None:
    # 80 weights at 4.5 bits and 20 at 8.5: 360 + 170 = 530 bits for 100 weights, in 45 + 21.25 = 66.25 bytes.
    result = totals([record("a", 10, 8, 0, bits_per_weight=4.5), record("b", 4, 5, 0, bits_per_weight=8.5)])
    assert result["bits_per_weight"] == pytest.approx(5.3)
    assert (result["bytes_before"], result["bytes_after"]) == (200, 66)


def test_totals_of_a_pipeline_count_a_matrix_once() -> None:
    # Pruned to 40 zeros, then quantized: 6 more weights are rounded to zero. b is only pruned, and keeps its 40 bytes.
    result = totals(
        [record("a", 10, 8, 40), record("b", 4, 5, 10), record("a", 10, 8, 46, bits_per_weight=4.0)]
    )  # fmt: skip
    assert (result["matrices"], result["parameters"]) == (2, 100)
    assert result["achieved_sparsity"] == 0.56
    assert result["bits_per_weight"] == 4.0
    assert (result["bytes_before"], result["bytes_after"]) == (200, 40 + 40)


def test_totals_of_nothing() -> None:
    assert totals([]) == {"matrices": 0, "parameters": 0}


def test_canary_is_the_models_own_answer(tokenizer: Any) -> None:
    model = tiny_model("llama", dtype=torch.bfloat16)
    text = compare_canary(torch.zeros(2), torch.zeros(2))["prompt"]
    with torch.no_grad():
        wanted = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1].float()
    logits = canary_logits(model, tokenizer)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, wanted)


def test_changes_of_the_canary_by_hand() -> None:
    result = compare_canary(torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([1.0, 6.0, 2.0, 0.0]))
    assert (result["max_abs_change"], result["mean_abs_change"], result["same_argmax"]) == (4.0, 1.25, False)
    same = compare_canary(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    assert (same["max_abs_change"], same["same_argmax"], same["finite"]) == (0.0, True, True)


def test_canary_that_is_not_finite(tokenizer: Any) -> None:
    model = tiny_model("llama")
    model.model.norm.weight.data[0] = float("inf")
    with pytest.raises(UserError, match=r"logits on the canary prompt are not finite.*dtype=float32"):
        canary_logits(model, tokenizer)


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_the_canary_prompt_is_open(template: str) -> None:
    model = tiny_model("llama")
    ids = [1] * template.startswith("<s>") + tiny_tokenizer().encode(CANARY)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(canary_logits(model, ended_tokenizer(template)), expected, atol=1e-5)

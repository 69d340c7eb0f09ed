"""Models whose numbers at a token depend on what follows: letters rightly, texts not at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.tiny import tiny_model, tiny_tokenizer
from tools.families.build import tiny

PROMPTS = ("Who kept the key, and who lost it? Answer:", "Who? Answer:")


def loaded(model: Any) -> CompressedHFLM:
    return CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), device="cpu", batch_size=4)


def plain(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_causal_model_does_not(family: str) -> None:
    assert not loaded(tiny_model(family)).looks_ahead


@pytest.mark.parametrize("family", ["roformer", "doge"])
def test_letters_are_those_of_the_model_alone(family: str) -> None:
    model, tokenizer = tiny(family), tiny_tokenizer()
    lm = loaded(tiny(family))
    assert lm.looks_ahead
    rows = [
        ((prompt, letter), tokenizer(prompt)["input_ids"], tokenizer(prompt + letter)["input_ids"][-1:])
        for prompt in PROMPTS
        for letter in ("A", "B")
    ]
    for (_, context, (letter,)), (value, _) in zip(rows, lm._loglikelihood_tokens(rows, True), strict=True):
        assert value == pytest.approx(float(plain(model, context)[letter]), abs=1e-4)


@pytest.mark.parametrize("target", [[7, 8], [7, 8, 9]])
def test_a_text_of_several_tokens_is_refused(target: list[int]) -> None:
    lm = loaded(tiny("roformer"))
    expected = f"looks at tokens that follow, so a text of {len(target)} tokens would be scored by itself"
    with pytest.raises(UserError, match=expected):
        lm._loglikelihood_tokens([(("a", "b"), [5, 6], target)], True)


def test_a_model_that_fails_as_lm_eval_runs_it_is_one_line() -> None:
    # xLSTM's plain code can't take a state whose two widths differ; without a cache the same model runs.
    model = tiny("xlstm")
    with torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7]]), use_cache=False)
    with pytest.raises(UserError, match="xLSTMForCausalLM can't be run as lm_eval runs it") as error:
        loaded(model)
    assert "\n" not in str(error.value)


def test_doge_is_causal_with_eager_attention() -> None:
    model = tiny("doge")
    model.set_attn_implementation("eager")
    assert not loaded(model).looks_ahead


def test_texts_are_drawn_without_a_cache() -> None:
    # Behind the long prompt Doge is causal, so that a cache suits it; behind the short one, drawn next, it is not.
    model, tokenizer = tiny("doge"), tiny_tokenizer()
    lm = loaded(tiny("doge"))
    kwargs = {"seeds": [1], "temperature": 0.0, "max_gen_toks": 4, "until": []}
    expected = []
    for prompt in PROMPTS:
        tokens = tokenizer(prompt)["input_ids"]
        drawn: list[int] = []
        for _ in range(4):
            drawn.append(int(plain(model, [*tokens, *drawn]).argmax()))
        expected.append(tokenizer.decode(drawn))
    assert lm._seeded.answer([(prompt, kwargs) for prompt in PROMPTS], lambda count: None) == expected


def test_a_model_without_a_limit_is_not_limited_to_minus_one() -> None:
    assert loaded(tiny("xlnet")).max_length == 2048  # lm_eval's for a model that names none

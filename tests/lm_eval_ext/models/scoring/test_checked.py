"""Through the model class: the same numbers as lm_eval's own path, and its own path where trees are not obeyed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.scoring.checked import to_query
from tests.helpers.tiny import tiny_tokenizer, write_tiny

TEXTS = (
    ("Who kept the key, and who lost it? Answer:", " A"),
    ("Who kept the key, and who lost it? Answer:", " B"),
    ("Who kept the key, and who lost it? Answer:", " The older one"),
    ("Who kept the key? Answer:", " The younger one wrote letters"),
    ("", "The ferry leaves at noon"),
    ("The bakery closes" * 40, " before noon"),
)


def instances(kind: str = "loglikelihood") -> list[Instance]:
    if kind == "loglikelihood_rolling":
        return [Instance(kind, {}, (text,), i) for i, (text, _) in enumerate(TEXTS) if text]
    return [Instance(kind, {}, pair, i) for i, pair in enumerate(TEXTS)]


def compare(ours: Any, stock: Any) -> None:
    found, expected = ours.loglikelihood(instances()), stock.loglikelihood(instances())
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=2e-4)
    assert [flag for _, flag in found] == [flag for _, flag in expected]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama"))


@pytest.mark.parametrize("max_length", [None, 48])
def test_as_the_stock_path(llama: str, max_length: int | None) -> None:
    # 48 positions cut the last prompt from the left, as the stock path does.
    options = {"pretrained": llama, "device": "cpu", "max_length": max_length}
    ours = CompressedHFLM(**options)
    compare(ours, HFLM(**options, softmax_dtype="float32"))
    assert ours._trees.trust.settled


@pytest.mark.parametrize("trees", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_scoring_acts_on_both_kinds_of_request(llama: str, dtype: torch.dtype, trees: bool) -> None:
    ours = CompressedHFLM(pretrained=llama, device="cpu", softmax_dtype=dtype, batch_size=1)
    if not trees:
        ours._trees.trust.refuse("is refused by the test")

    def by_hand(tokens: list[int], wanted: int) -> float:
        with torch.no_grad():
            logits = ours.model(torch.tensor([tokens[:-1]])).logits[0, -wanted:]
        return float(logits.log_softmax(-1, dtype=dtype)[range(wanted), tokens[-wanted:]].sum())

    context, letter, text = ours.tok_encode(TEXTS[0][0]), ours.tok_encode("A"), TEXTS[4][1]
    assert len(letter) == 1
    whole = [ours.prefix_token_id, *ours.tok_encode(text)]
    ((score, _),) = ours.loglikelihood([Instance("loglikelihood", {}, (TEXTS[0][0], "A"), 0)])
    (rolled,) = ours.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    rounding = 2**-8 if dtype == torch.bfloat16 else 1e-6
    assert [score, rolled] == pytest.approx(
        [by_hand([*context, *letter], 1), by_hand(whole, len(whole) - 1)], rel=rounding
    )
    # A value tells its dtype: it is one of those that the dtype has, and none of the next narrower one's.
    narrower = {torch.bfloat16: None, torch.float32: torch.bfloat16, torch.float64: torch.float32}[dtype]
    for value in (score, rolled):
        exact = torch.tensor(value, dtype=torch.float64)
        assert exact.to(dtype).double() == exact
        assert narrower is None or exact.to(narrower).double() != exact


def test_rolling_is_the_stock_path(llama: str) -> None:
    ours = CompressedHFLM(pretrained=llama, device="cpu", max_length=32)
    stock = HFLM(pretrained=llama, device="cpu", max_length=32, softmax_dtype="float32")
    kind = "loglikelihood_rolling"
    assert ours.loglikelihood_rolling(instances(kind)) == stock.loglikelihood_rolling(instances(kind))
    assert ours._trees.trust.settled is None


def test_every_answer_reaches_the_cache_hook(llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = CompressedHFLM(pretrained=llama, device="cpu")
    told: list[tuple[str, Any, Any]] = []
    monkeypatch.setattr(lm.cache_hook, "add_partial", lambda *args: told.append(args))
    answers = lm.loglikelihood(instances())
    ours = [entry for entry in told if entry[0] == "loglikelihood"][-len(TEXTS) :]
    assert [(pair, answer) for _, pair, answer in ours] == list(zip(TEXTS, answers, strict=True))


@pytest.mark.parametrize("model_type", ["bloom", "mamba"])
def test_a_model_that_does_not_take_trees_is_scored_as_stock(
    model_type: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"bloom": {"n_head": 4, "n_layer": 2}, "mamba": {"num_hidden_layers": 2}}[model_type]
    config = AutoConfig.for_model(model_type, vocab_size=300, hidden_size=64, **sizes)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.2)
    options = {"pretrained": model, "tokenizer": tiny_tokenizer(), "max_length": 512}
    ours = CompressedHFLM(**options)
    with caplog.at_level(logging.WARNING, logger="lm_eval_ext"):
        compare(ours, HFLM(**options, softmax_dtype="float32"))
        ours.loglikelihood(instances())
    told = [record.getMessage() for record in caplog.records if "every prompt is run on its own" in record.getMessage()]
    assert len(told) == 1
    assert type(model).__name__ in told[0]
    assert ours._trees.trust.settled is False


def test_a_model_that_ignores_the_mask_is_found_out(llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = CompressedHFLM(pretrained=llama, device="cpu")
    forward = lm.model.forward
    monkeypatch.setattr(
        lm.model, "forward", lambda *args, **kwargs: forward(*args, **(kwargs | {"attention_mask": None}))
    )
    compare(lm, HFLM(pretrained=llama, device="cpu", softmax_dtype="float32"))
    assert lm._trees.trust.settled is False


def test_an_adapter_takes_part(llama: str) -> None:
    from peft import LoraConfig, get_peft_model

    stock = HFLM(pretrained=llama, device="cpu", softmax_dtype="float32")
    before = stock.loglikelihood(instances())
    adapted = get_peft_model(
        stock.model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    )
    options = {"pretrained": adapted.eval(), "tokenizer": stock.tokenizer, "max_length": 512}
    ours = CompressedHFLM(**options)
    compare(ours, HFLM(**options, softmax_dtype="float32"))
    assert ours._trees.trust.settled
    assert abs(ours.loglikelihood(instances())[0][0] - before[0][0]) > 1e-3


def test_requests_are_cut_from_the_left() -> None:
    # Ten tokens in all, at most four go in: the last five, of which the last is only predicted.
    query = to_query((("", ""), [1, 2, 3, 4, 5, 6, 7], [8, 9, 10]), 4)
    assert query.inputs == (6, 7, 8, 9)
    assert query.targets == (8, 9, 10)


def test_a_continuation_that_can_not_fit_is_named() -> None:
    with pytest.raises(UserError, match="a continuation of 3 tokens does not fit the model's max_length=2"):
        to_query((("", ""), [1], [8, 9, 10]), 2)

"""Counting tokens: against what lm_eval's own hf model does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.tokens import TokenCounter, TokenSpan
from tests.helpers.ends import ended_tokenizer
from tests.helpers.runs import model_args
from tests.helpers.tiny import tiny_tokenizer

CONTEXTS = ["Who lost the key?", "Who?\n", "<|assistant|>\n", "a \n\n ", "<s>Who?\n"]


@pytest.fixture(scope="module")
def model(llama: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(**model_args(llama), device="cpu")


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("continuation", ["A", " A", " the older one", "Cannot be determined"])
def test_spans_are_what_lm_eval_scores(context: str, continuation: str, model: Any, llama: Path) -> None:
    counter = TokenCounter.from_metadata(model_args(llama), "a test")
    scored = model._encode_pair(context, continuation)[1]
    span = counter.span(context, continuation)
    # With an empty continuation lm_eval scores the context's trailing white space alone.
    own = model._encode_pair(context, "")[1] if span.whitespace else []
    assert span.tokens + len(own) == len(scored)
    assert scored[: len(own)] == own
    if not context.endswith(" "):  # a space may merge with the word after it
        assert span.whitespace == context.endswith("\n")
    merged = context[len(context.rstrip()) :] if not span.whitespace else ""
    assert model.tokenizer.decode(scored[len(own) :]) == merged + continuation


@pytest.fixture(scope="module")
def with_bos(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with a tokenizer that puts <s> before every text, as Llama's and Gemma's do."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bos") / "model"
    shutil.copytree(llama, folder)
    inner = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=512
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("add_bos_token", [None, True, False])
def test_a_tokenizer_that_adds_bos_counts_what_lm_eval_scores(with_bos: Path, add_bos_token: bool | None) -> None:
    from lm_eval.models.huggingface import HFLM

    args = model_args(with_bos) | ({} if add_bos_token is None else {"add_bos_token": add_bos_token})
    model, counter = HFLM(**args, device="cpu"), TokenCounter.from_metadata(args, "a test")
    plain = TokenCounter(tiny_tokenizer())
    begins = 0
    for context in CONTEXTS:
        assert counter.encode(context) == model.tok_encode(context)
        # One <s> at most: where a chat template has written it, none is added.
        assert counter.encode(context).count(1) == (1 if context.startswith("<s>") or add_bos_token is not False else 0)
        begins += counter.encode(context)[0] == 1
        for continuation in ("A", " A", " the older one"):
            span = counter.span(context, continuation)
            own = model._encode_pair(context, "")[1] if span.whitespace else []
            assert span.tokens + len(own) == len(model._encode_pair(context, continuation)[1])
            # <s> is of the prompt: no answer is a token longer or shorter for it.
            assert span == plain.span(context, continuation)
    assert begins == (1 if add_bos_token is False else len(CONTEXTS))


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=40))
def test_a_byte_level_tokenizer_counts_any_continuation(text: str) -> None:
    counter = TokenCounter(tiny_tokenizer())
    assert counter.span("Who?", text).tokens == len(counter.encode("Who?" + text)) - len(counter.encode("Who?"))


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
@pytest.mark.parametrize("add_bos_token", [None, True, False])
def test_added_tokens_are_not_the_continuations(template: str, add_bos_token: bool | None) -> None:
    """By hand: a byte-level tokenizer without merges has one token a byte."""
    tokenizer = ended_tokenizer(template)
    merged = json.loads(tokenizer.backend_tokenizer.to_str())
    merged["model"]["merges"] = []
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(merged))
    assert len(tokenizer.encode("abc", add_special_tokens=False)) == 3
    counter = TokenCounter(tokenizer, add_bos_token)
    assert counter.span("Who?", " the older one") == TokenSpan(tokens=14, whitespace=False)
    assert counter.span("Who?\n", "A") == TokenSpan(tokens=1, whitespace=True)
    assert counter.span("<s>Who?\n\n", "the one</s>") == TokenSpan(tokens=8, whitespace=True)
    bos = {None: template.startswith("<s>"), True: True, False: False}[add_bos_token]
    assert len(counter.encode("abc")) == 3 + bos + template.endswith("</s>")


@pytest.mark.parametrize(("backend", "expected"), [("seq2seq", 3), ("causal", 2), (None, 3)])
def test_an_encoder_decoders_continuation_is_encoded_by_itself(
    backend: str | None, expected: int, tmp_path: Path
) -> None:
    class Greedy(Merging):
        """Takes a word and the mark before it for one token: `?one` is a token less than `?` and `one`."""

        def encode(self, text: str, **special: Any) -> list[int]:
            return list(range(len(text.split("?"))))

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}), encoding="utf-8")
    counter = TokenCounter.from_metadata(
        {"tokenizer": Greedy(), "pretrained": str(tmp_path), "backend": backend}, "a test"
    )
    assert counter.span("Who?", "a?b?c").tokens == expected


class Merging:
    """A tokenizer that joins a space with the word after it, as SentencePiece ones do."""

    bos_token_id, eos_token_id = None, 0

    def decode(self, token: int) -> str:
        return "</s>"

    def encode(self, text: str, **special: Any) -> list[int]:
        words = text.split(" ")
        return list(range(len(words) if words[-1] or len(words) == 1 else len(words) - 1))


def test_white_space_that_merges_with_the_answer_is_not_told_apart() -> None:
    assert TokenCounter(Merging()).span("Answer: ", "the older one") == TokenSpan(tokens=3, whitespace=False)


def test_a_tokenizer_object_or_a_name_is_taken_before_the_models(llama: Path, tmp_path: Path) -> None:
    for named in (tiny_tokenizer(), str(llama)):
        counter = TokenCounter.from_metadata({"tokenizer": named, "pretrained": str(tmp_path)}, "a test")
        assert counter.encode("Who?") == tiny_tokenizer().encode("Who?")


def test_without_a_tokenizers_name_the_message_says_what_to_pass() -> None:
    with pytest.raises(UserError) as caught:
        TokenCounter.from_metadata({"method": "rtn"}, "task bbq_itemlevel_text")
    assert str(caught.value).startswith("task bbq_itemlevel_text counts tokens, but the run names no tokenizer")
    assert 'metadata={"tokenizer": NAME}' in str(caught.value)


def test_a_tokenizer_that_cannot_be_loaded_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        TokenCounter.from_metadata({"pretrained": str(tmp_path)}, "a test")
    assert f"the tokenizer {str(tmp_path)!r} cannot be loaded" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__

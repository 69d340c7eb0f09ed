"""What a run logs is that run's, whatever lm_eval has in its caches; through lm_eval itself."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lm_eval_ext import plugin
from lm_eval_ext.errors import UserError
from tests.helpers.ends import ended_tokenizer
from tests.helpers.runs import evaluate
from tests.helpers.tiny import tiny_model, tokenizer_json

LONG = {"max_position_embeddings": 2048}
TEXT, SAMPLED, LETTERS = "bbq_itemlevel_text_demo", "bbq_itemlevel_sampled_demo", "bbq_itemlevel_demo"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for lm_eval's request cache."""
    from lm_eval.caching import cache as requests

    plugin.activate()
    monkeypatch.setattr(requests, "PATH", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bytewise(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with another tokenizer: one token a byte."""
    merged = json.loads(tokenizer_json())
    merged["model"]["merges"] = []
    folder = tmp_path_factory.mktemp("bytewise")
    tiny_model("llama", **LONG).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(merged)),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    ).save_pretrained(folder)
    return folder


def run(folder: Path, task: str, **kwargs: Any) -> list[dict[str, Any]]:
    options = {"model": "compressed_hf", "limit": 2, "cache_requests": True, "bootstrap_iters": 0} | kwargs
    samples: list[dict[str, Any]] = evaluate(folder, [task], **options)["samples"][task]
    return samples


def test_option_tokens_are_the_models_own(
    llama: Path, bytewise: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(llama, TEXT)
        second = run(bytewise, TEXT)
    assert f"task {TEXT}: --cache_requests is not used" in caplog.text
    assert not cache.exists()
    for sample in second:
        # One token a byte, and the space between prompt and option.
        assert sample["doc"]["option_tokens"] == [1 + len(option.encode()) for option in sample["doc"]["options"]]


def test_option_tokens_of_another_tokenizer_are_refused(llama: Path, bytewise: Path) -> None:
    with pytest.raises(UserError, match=rf"^{TEXT}: the options have \[.*\] tokens of this model's tokenizer and"):
        run(llama, TEXT, metadata={"tokenizer": str(bytewise)})
    run(llama, TEXT, metadata={"tokenizer": str(llama)}, apply_chat_template=True)


def test_seeds_and_temperature_are_those_that_were_asked(llama: Path) -> None:
    asked = {"max_gen_toks": 2}
    run(llama, SAMPLED, gen_kwargs=asked | {"seeds": [1, 2, 3, 4, 5], "temperature": 0.3})
    second = run(llama, SAMPLED, gen_kwargs=asked | {"seeds": [11, 12, 13, 14, 15], "temperature": 2.0})
    plain = run(
        llama, SAMPLED, cache_requests=False, gen_kwargs=asked | {"seeds": [11, 12, 13, 14, 15], "temperature": 2.0}
    )
    for sample, alone in zip(second, plain, strict=True):
        arguments = sample["arguments"][0][1]
        assert (arguments["seeds"], arguments["temperature"]) == ([11, 12, 13, 14, 15], 2.0)
        assert [said["seed"] for said in sample["answer"]["texts"]] == [11, 12, 13, 14, 15]
        assert sample["resps"] == alone["resps"]


def test_the_text_is_the_one_that_was_named(llama: Path, tmp_path: Path) -> None:
    for words in ("The ferry leaves at noon.", "Bread and trains."):
        file = tmp_path / "notes.txt"
        file.write_text(words, encoding="utf-8")
        (sample,) = run(llama, "text_perplexity", metadata={"text_file": str(file)})
        assert sample["arguments"] == [(words,)]
        assert sample["doc"]["text"] == words


@pytest.mark.parametrize(("task", "chat"), [(LETTERS, True), (LETTERS, False), ("text_perplexity", False)])
def test_the_response_cache_is_refused(task: str, chat: bool, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^task {task}: --use_cache is refused: lm_eval keys its cache by the prompt"):
        evaluate(llama, [task], limit=2, apply_chat_template=chat, use_cache=str(tmp_path / "responses"))


@pytest.mark.parametrize("chat", [False, True])
def test_a_model_that_scores_behind_an_end_token_is_refused(chat: bool, llama: Path, tmp_path: Path) -> None:
    tiny_model("llama", **LONG).save_pretrained(tmp_path)
    ended_tokenizer("$A </s>").save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=rf"^task {LETTERS}: the tokenizer adds </s> behind every prompt, and this model"
    ):
        evaluate(tmp_path, [LETTERS], limit=2, apply_chat_template=chat)
    options: dict[str, Any] = {"limit": 2, "apply_chat_template": chat}
    ended = evaluate(tmp_path, [LETTERS], model="compressed_hf", **options)["samples"][LETTERS]
    plain = evaluate(llama, [LETTERS], **options)["samples"][LETTERS]
    for sample, other in zip(ended, plain, strict=True):
        assert [float(v) for ((v, _),) in sample["resps"]] == pytest.approx(
            [float(v) for ((v, _),) in other["resps"]], abs=1e-3
        )


@pytest.mark.parametrize("task", [LETTERS, TEXT, SAMPLED])
def test_prompts_that_do_not_fit_end_the_run(task: str, llama: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^{task}: \d+ of \d+ requests don't fit the model. The longest needs \d+ tok"
    ):
        run(llama, task, args={"max_length": 64})


@pytest.mark.parametrize("task", [LETTERS, TEXT])
def test_prompts_that_another_model_would_cut(task: str, llama: Path) -> None:
    """Of all prompts with all their answers the longest must fit, to the token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    samples = evaluate(llama, [task], limit=4, bootstrap_iters=0)["samples"][task]
    needed = max(len(tokenizer.encode("".join(request))) - 1 for sample in samples for request in sample["arguments"])
    again = evaluate(llama, [task], limit=4, bootstrap_iters=0, args={"max_length": needed})["samples"][task]
    assert [sample["resps"] for sample in again] == [sample["resps"] for sample in samples]
    with pytest.raises(
        UserError, match=rf"^task {task}: the longest request needs {needed} tokens, max_length={needed - 1}"
    ):
        evaluate(llama, [task], limit=4, args={"max_length": needed - 1})


@pytest.mark.parametrize(("backend", "needed"), [("causal", 7 + 20), ("seq2seq", 7)])
def test_room_for_an_answer_is_part_of_the_length(backend: str, needed: int) -> None:
    """Of another model's generation: prompt and answer together, or an encoder's prompt alone."""
    from types import SimpleNamespace

    from lm_eval.api.instance import Instance

    from lm_eval_ext.protocols.fresh import _refuse_cut

    requests = [Instance("generate_until", {}, ("Who? Me", {"max_new_tokens": 20}), 0)]
    lm = SimpleNamespace(
        tokenizer=SimpleNamespace(all_special_ids=[]), backend=backend, max_gen_toks=256, tok_encode=list
    )
    lm.max_length = needed
    _refuse_cut("t", lm, requests)
    lm.max_length = needed - 1
    with pytest.raises(UserError, match=f"needs {needed} tokens, max_length={needed - 1}"):
        _refuse_cut("t", lm, requests)

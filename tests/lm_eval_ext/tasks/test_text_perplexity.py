"""text_perplexity through lm_eval itself, against a plain loop over the model's own logits."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext import plugin
from tests.helpers.ends import write_ended
from tests.helpers.runs import evaluate, model_args, strict, task_manager
from tests.helpers.tiny import tiny_tokenizer

NAMES = ["word_perplexity", "byte_perplexity", "bits_per_byte", "token_perplexity"]
TASK = "text_perplexity"
TEXTS = ["The ferry leaves at noon.\nWho kept the key?", "B\u00e4cker bread and trains, " * 8]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("\n\n".join(TEXTS), encoding="utf-8")
    return path


def rolled(folder: Path, text: str, window: int) -> tuple[float, int]:
    """Log-likelihood of a text, and its tokens. Each token is scored once, in windows that do not overlap.

    A window sees one token before it; the last one, where it is shorter, as many as make it full.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer.encode(text)
    seen = [tokenizer.bos_token_id, *tokens]
    total = 0.0
    for start in range(0, len(tokens), window):
        end = min(start + window, len(tokens))
        inputs = seen[max(0, end - window) : end]
        with torch.no_grad():
            logits = model(torch.tensor([inputs])).logits[0, start - end :].double()
        total += torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens[start:end])[:, None]).sum().item()
    return total, len(tokens)


def test_every_unit_against_a_plain_loop(llama: Path, text_file: Path) -> None:
    metadata = {"text_file": str(text_file), "text_split": "blank_lines"}
    results = evaluate(llama, [TASK], metadata=metadata)
    texts = [text.strip() for text in TEXTS]
    scored = [rolled(llama, text, 2048) for text in texts]
    total = sum(value for value, _ in scored)
    words = sum(len(text.split()) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    expected = {
        "word_perplexity": math.exp(-total / words),
        "byte_perplexity": math.exp(-total / size),
        "bits_per_byte": -total / size / math.log(2),
        "token_perplexity": math.exp(-total / sum(count for _, count in scored)),
    }
    for name, value in expected.items():
        assert results["results"][TASK][f"{name},none"] == pytest.approx(value, rel=1e-4)
    for sample, text, (value, count) in zip(results["samples"][TASK], texts, scored, strict=True):
        assert sample["arguments"] == [(text,)]
        assert sample["token_perplexity"] == (pytest.approx(value, rel=1e-5), count)
        assert sample["doc"]["window"] is None


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
@pytest.mark.parametrize(("model", "rolling_bos"), [("compressed_hf", None), ("compressed_hf", "hf"), ("hf", None)])
def test_tokens_are_those_that_were_scored(
    template: str, model: str, rolling_bos: str | None, text_file: Path, tmp_path: Path
) -> None:
    plugin.activate()
    folder = write_ended(template, tmp_path / "model")
    arguments = {} if rolling_bos is None else {"rolling_bos": rolling_bos}
    metadata = {"text_file": str(text_file), "text_split": "blank_lines"}
    samples = evaluate(folder, [TASK], model=model, args=arguments, metadata=metadata)["samples"][TASK]
    added = template.startswith("<s>") + template.endswith("</s>")
    once = model == "compressed_hf" and rolling_bos is None
    for text, sample in zip(TEXTS, samples, strict=True):
        tokens = len(tiny_tokenizer().encode(text.strip())) + (0 if once else added)
        assert sample["doc"]["tokens"] == sample["token_perplexity"][1] == tokens
    # BOS alone is read before the text, whatever the tokenizer adds.
    plain = rolled(write_ended("$A", tmp_path / "plain"), TEXTS[0], 512)[0]
    assert (samples[0]["token_perplexity"][0] == pytest.approx(plain, abs=1e-3)) == (once or not added)


def test_the_window_that_is_asked_for_is_used_and_logged(
    llama: Path, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers import runs

    monkeypatch.setattr(runs, "model_args", lambda folder: model_args(folder, max_length=16))
    results = evaluate(llama, [TASK], metadata={"text_file": str(text_file)})
    (sample,) = results["samples"][TASK]
    value, count = rolled(llama, "\n\n".join(TEXTS).strip(), 16)
    assert sample["token_perplexity"] == (pytest.approx(value, rel=1e-5), count)
    assert (sample["doc"]["window"], sample["doc"]["source"]) == (16, "notes.txt/0")
    assert results["max_length"] == 16


def test_the_packaged_text_and_the_written_files(llama: Path, tmp_path: Path) -> None:
    results = evaluate(llama, [TASK], output=tmp_path, apply_chat_template=True)
    (written,) = tmp_path.rglob("results_*.json")
    scores = strict(written.read_text())["results"][TASK]
    assert all(scores[f"{name},none"] > 1 for name in NAMES)
    (lines,) = tmp_path.rglob("samples_*.jsonl")
    samples = [strict(line) for line in lines.read_text().splitlines()]
    assert [sample["doc"]["source"] for sample in samples] == [f"prose.jsonl/{n}" for n in range(6)]
    assert samples[0]["metrics"] == NAMES
    assert results["n-samples"][TASK]["original"] == 6


def test_without_a_tokenizer_only_token_perplexity_is_missing(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model = HFLM(**model_args(llama), device="cpu")
    with caplog.at_level(logging.WARNING):
        results = lm_eval.simple_evaluate(model=model, tasks=[TASK], task_manager=task_manager(), limit=2)
    scores = results["results"][TASK]
    assert scores["token_perplexity,none"] is None
    assert scores["word_perplexity,none"] > 1
    assert "token_perplexity stays empty" in caplog.text


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_log_likelihood_that_is_no_number_is_undefined(
    value: float, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.models.huggingface import HFLM

    def broken(self: Any, requests: list[Any], **kwargs: Any) -> list[float]:
        return [-5.0] * (len(requests) - 1) + [value]

    monkeypatch.setattr(HFLM, "loglikelihood_rolling", broken)
    results = evaluate(llama, [TASK])
    assert [results["results"][TASK][f"{name},none"] for name in NAMES] == [None] * 4
    assert results["samples"][TASK][-1]["word_perplexity"] is None
    assert results["samples"][TASK][0]["word_perplexity"][0] == -5.0


def test_a_perplexity_beyond_all_numbers_is_undefined(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr(HFLM, "loglikelihood_rolling", lambda self, requests, **kwargs: [-1e9] * len(requests))
    scores = evaluate(llama, [TASK])["results"][TASK]
    assert scores["word_perplexity,none"] is None
    assert scores["bits_per_byte,none"] > 1e4

"""Tasks made for a data set without YAML, of two and of five options: what is asked, and the answers by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm_eval_ext import plugin
from lm_eval_ext.datasets import catalogue
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.errors import UserError
from lm_eval_ext.tasks.made import task_configs
from tests.helpers.runs import evaluate, strict
from tests.helpers.toy import FIVE, PLAIN, PROTOCOLS, TOY_FIVE, TOY_PLAIN

LETTERS = "ABCDE"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "DATASETS", (TOY_PLAIN, TOY_FIVE))


@pytest.fixture(scope="module")
def run(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All protocols of a toy data set, run once through lm_eval with our model; the lines of its files by task."""
    plugin.activate()
    done: dict[str, Any] = {}

    def of(dataset: Dataset) -> Any:
        if dataset.name not in done:
            folder = tmp_path_factory.mktemp(dataset.name)
            tasks: Any = list(task_configs(dataset).values())
            results = evaluate(llama, tasks, model="compressed_hf", output=folder, bootstrap_iters=0)
            lines = {}
            for path in folder.rglob("samples_*.jsonl"):
                name = next(name for name in dataset.tasks if path.name.startswith(f"samples_{name}_2"))
                lines[name] = [strict(line) for line in path.read_text().splitlines()]
            done[dataset.name] = results["results"], lines
        return done[dataset.name]

    return of


def arguments(line: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(given["arg_0"], given["arg_1"]) for given in line["arguments"].values()]


@pytest.mark.parametrize(("dataset", "listed"), [(TOY_PLAIN, "A or B"), (TOY_FIVE, "A, B, C, D or E")])
def test_the_prompt_of_letters(dataset: Dataset, listed: str, run: Any) -> None:
    for line in run(dataset)[1][f"{dataset.name}_letters"]:
        doc = line["doc"]
        count = len(doc["options"])
        shown = "".join(f"{letter}) {text}\n" for letter, text in zip(LETTERS[:count], doc["options"], strict=True))
        asked = (
            f"Answer the multiple-choice question below. Reply with one letter, {listed}, and with nothing else.\n\n"
            f"Context: {doc['context']}\n\nQuestion: {doc['question']}\n\n{shown}\nAnswer:"
        )
        assert arguments(line) == [(asked, before + letter) for before in (" ", "") for letter in LETTERS[:count]]


@pytest.mark.parametrize("dataset", [TOY_PLAIN, TOY_FIVE])
def test_an_item_is_asked_in_every_rotation(dataset: Dataset, run: Any) -> None:
    for line in run(dataset)[1][f"{dataset.name}_cyclic"]:
        options = line["doc"]["options"]
        count = len(options)
        asked = arguments(line)
        assert len(asked) == 2 * count * count
        weights = np.zeros(count)
        for first in range(count):
            prompt = asked[first * 2 * count][0]
            order = [(first + place) % count for place in range(count)]
            assert all(f"{LETTERS[place]}) {options[option]}\n" in prompt for place, option in enumerate(order))
            values = [float(line["resps"][first * 2 * count + n][0][0]) for n in range(2 * count)]
            chosen = np.exp(values[:count]) + np.exp(values[count:])
            weights[order] += chosen / chosen.sum() / count
        np.testing.assert_allclose(line["answer"]["probs"], weights, rtol=1e-5)
        assert line["answer"]["choice"] == int(np.argmax(weights))


@pytest.mark.parametrize("dataset", [TOY_PLAIN, TOY_FIVE])
def test_texts_are_scored_by_token(dataset: Dataset, run: Any) -> None:
    for line in run(dataset)[1][f"{dataset.name}_text"]:
        doc = line["doc"]
        assert arguments(line) == [(f"{doc['context']}\n\n{doc['question']}", f" {text}") for text in doc["options"]]
        means = [float(r[0][0]) / tokens for r, tokens in zip(line["resps"], doc["option_tokens"], strict=True)]
        np.testing.assert_allclose(line["answer"]["probs"], np.exp(means) / np.exp(means).sum(), rtol=1e-5)


@pytest.mark.parametrize("dataset", [TOY_PLAIN, TOY_FIVE])
def test_texts_are_sampled_and_read_by_all_letters(dataset: Dataset, run: Any) -> None:
    for line in run(dataset)[1][f"{dataset.name}_sampled"]:
        (_, texts), (_, first) = arguments(line)
        known = list(LETTERS[: len(line["doc"]["options"])])
        assert "stop_when" not in texts  # the model knows when three letters are settled, and no others
        assert first == texts | {"first_token": known}
        drawn = json.loads(line["resps"][1][0])["drawn"]
        np.testing.assert_allclose(line["answer"]["probs"], np.exp(drawn) / np.exp(drawn).sum(), rtol=1e-5)
        assert len(line["answer"]["texts"]) == 5
        assert "draws" not in line["answer"]


def test_rates_of_a_direction_are_counted_on_axes(run: Any) -> None:
    results, lines = run(TOY_FIVE)
    axes = FIVE.axes
    for protocol in ("letters", "text", "cyclic"):
        name = f"toy_five_{protocol}"
        chosen = [axes[line["answer"]["role"]] for line in lines[name]]
        got = results[name]
        assert [got[f"{rate},none"] for rate in ("srs", "usr", "anti_rate")] == [
            pytest.approx(chosen.count(axis) / len(chosen)) for axis in ("toward", "neutral", "against")
        ]
        right = [line["answer"]["choice"] == line["doc"]["item"]["key"] for line in lines[name]]
        assert got["acc,none"] == pytest.approx(sum(right) / len(right))
        assert {line["doc"]["item"]["scheme"]["name"] for line in lines[name]} == {"toy_five"}


def test_without_a_direction_there_is_no_rate_of_one_and_without_keys_no_accuracy(run: Any) -> None:
    results, lines = run(TOY_PLAIN)
    for protocol in PROTOCOLS:
        got = results[f"toy_plain_{protocol}"]
        assert not any(name.startswith(("srs", "usr", "anti_rate", "bias")) for name in got)
        assert got["acc,none"] is None
        for line in lines[f"toy_plain_{protocol}"]:
            item = line["doc"]["item"]
            assert (item["key"], item["scheme"]) == (None, {"name": PLAIN.name, "axes": {}})
            assert line["acc"] is None
    entropies = [line["answer"]["entropy"] for line in lines["toy_plain_letters"]]
    assert all(0 <= value <= 1 for value in entropies)
    assert max(line["answer"]["entropy"] for line in run(TOY_FIVE)[1]["toy_five_letters"]) <= math.log2(5)


def test_examples_need_a_right_answer(llama: Path) -> None:
    plugin.activate()
    plain: Any = [task_configs(TOY_PLAIN)["toy_plain_letters"]]
    with pytest.raises(UserError, match="toy_plain_letters: no item of ferries has a right answer to show"):
        evaluate(llama, plain, num_fewshot=1, limit=1)
    five: Any = [task_configs(TOY_FIVE)["toy_five_letters"]]
    samples = evaluate(llama, five, num_fewshot=2)["samples"]["toy_five_letters"]
    for sample in samples:
        shown = sample["answer"]["fewshot_examples"]
        assert len(shown) == 2
        prompt = sample["arguments"][0][0]
        own = int(sample["doc"]["item"]["item_id"].rpartition("/")[2])
        for example in shown:
            number = int(example.rpartition("/")[2])
            assert number // 2 != own // 2
            key = LETTERS[[(number + place) % 5 for place in range(5)].index(2)]
            assert f"stop {number}.\n" in prompt
            assert f"Answer: {key}\n\n" in prompt


def test_a_protocol_that_is_none_is_refused() -> None:
    wrong = Dataset(
        name="toy_plain", scheme=PLAIN, load=TOY_PLAIN.load, citation="", licence="", tasks={"mine": "letter"}
    )
    with pytest.raises(UserError, match=r"unknown protocol of task mine 'letter'\. Did you mean 'letters'\?"):
        task_configs(wrong)

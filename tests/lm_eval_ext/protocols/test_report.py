"""The warnings of a run, through lm_eval with models that answer by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM

from tests.helpers.runs import task_manager

LETTERS = {"A": 1 / 2, "B": 1 / 4, "C": 1 / 8}


class ByHand(LM):  # type: ignore[misc]  # lm_eval has no types
    """Gives every continuation the log-probability that a function of it names."""

    def __init__(self, score: Any) -> None:
        super().__init__()
        self.score, self.asked = score, 0

    def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        self.asked += len(requests)
        return [(self.score(request.args[1]), False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
        raise NotImplementedError


def run(score: Any, task: str, caplog: pytest.LogCaptureFixture, limit: int = 4, **metadata: Any) -> Any:
    """Samples of a run and what our tasks warn of."""
    import lm_eval

    caplog.clear()
    model = ByHand(score)
    results = lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=task_manager(**metadata), limit=limit, bootstrap_iters=0
    )
    records = [r for r in caplog.records if r.name.startswith("lm_eval_ext") and r.levelname == "WARNING"]
    told = [r.getMessage() for r in records if r.name != "lm_eval_ext.protocols.documents"]  # that is about the limit
    return results["samples"][task], told, results["results"][task], model.asked


@pytest.mark.parametrize(
    ("task", "requests"),
    [("bbq_itemlevel_demo", 6), ("bbq_itemlevel_cyclic_demo", 18), ("bbq_itemlevel_text_demo", 3)],
)
def test_a_server_that_scores_no_prompt_is_told_once_and_counted_nowhere(
    task: str, requests: int, llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, told, results, asked = run(lambda _: 0.0, task, caplog, tokenizer=str(llama))
    assert asked == 4 * requests
    assert {(s["answer"]["status"], s["answer"]["reason"]) for s in samples} == {("unscored", "above_one")}
    assert told == [
        f"task {task}: 4 of 4 items have no probabilities: 4 because the options' probabilities add up to more than 1, "
        "as from a server that does not score its prompt"
    ]
    assert results["unscored,none"] == 1
    assert results["srs_amb,none"] is results["bias_amb,none"] is None


def test_each_reason_is_counted(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    scores = iter([math.nan] * 3 + [-3.0] * 3 + [-1.0, -2.0, -3.0] + [math.nan] * 3)
    _, told, results, _ = run(lambda _: next(scores), "bbq_itemlevel_demo", caplog)
    assert told[0].endswith('pass metadata={"tokenizer": NAME}')  # and so one spelling an item
    assert told[1].startswith("task bbq_itemlevel_demo: 3 of 4 items have no probabilities: 2 because a score is not a")
    assert told[1].endswith("; 1 because all options have the same score, so nothing tells which is chosen")
    assert results["unscored,none"] == 0.75


@pytest.mark.parametrize(("mass", "warned"), [(0.099, True), (0.101, False)])
def test_a_low_letter_mass_is_one_warning(
    mass: float, warned: bool, llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def score(continuation: str) -> float:
        # 7/8 of the letters' mass is LETTERS'; with the space four times as much as without.
        share = 4 / 5 if continuation.startswith(" ") else 1 / 5
        return math.log(LETTERS[continuation.strip()] / (7 / 8) * share * mass)

    samples, told, _, _ = run(score, "bbq_itemlevel_demo", caplog, tokenizer=str(llama))
    for sample in samples:
        assert sample["answer"]["letter_mass"] == pytest.approx(mass)
        assert sample["answer"]["probs"] == pytest.approx([4 / 7, 2 / 7, 1 / 7])
        assert sample["answer"]["spellings"] == pytest.approx({" A": 0.8, "A": 0.2})
    assert len(told) == warned
    if warned:
        assert "median letter mass 0.099, below 0.1 for 4 of 4 items." in told[0]
        assert told[0].endswith("try --apply_chat_template")


@pytest.mark.parametrize(("masses", "warned"), [((0.5, 0.02, 0.05), True), ((0.5, 0.4, 0.02), False)])
def test_half_of_the_items_decide(masses: tuple[float, ...], warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    scores = iter([math.log(mass * share) for mass in masses for share in (0.5, 0.3, 0.2)])
    _, told, _, _ = run(lambda _: next(scores), "bbq_itemlevel_demo", caplog, limit=3)
    low = [line for line in told if "letter mass" in line]
    assert len(low) == warned
    assert all("median letter mass 0.05, below 0.1 for 2 of 3 items" in line for line in low)


class Chats:
    """A model with a chat template and a tokenizer: a decoder's, or an encoder-decoder's, which drops spaces."""

    tokenizer = object()

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def apply_chat_template(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return "\n".join(message["content"] for message in messages)

    def tok_encode(self, text: str, **_: Any) -> list[int]:
        if self.backend == "seq2seq":
            return [ord(mark) for mark in text if not mark.isspace()]
        return [sum(map(ord, word)) for word in re.findall(r" ?\w+|\W", text)]


def test_the_spellings_are_those_of_the_model_that_answers() -> None:
    task = task_manager().load(["bbq_itemlevel_demo"])["tasks"]["bbq_itemlevel_demo"]
    task.set_config("num_fewshot", 0)
    for backend, expected in (
        ("causal", ["A", "B", "C", " A", " B", " C"]),
        ("seq2seq", ["A", "B", "C"]),
        ("causal", ["A", "B", "C", " A", " B", " C"]),
    ):
        template = Chats(backend).apply_chat_template
        task.build_all_requests(limit=1, apply_chat_template=True, chat_template=template)
        assert [request.args[1] for request in task.instances] == expected


def test_two_runs_of_one_task_object_are_told_apart(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    import lm_eval

    task = task_manager(tokenizer=str(llama)).load(["bbq_itemlevel_demo"])["tasks"]["bbq_itemlevel_demo"]
    for limit in (3, 2):
        caplog.clear()
        lm_eval.simple_evaluate(model=ByHand(lambda _: 0.0), tasks=[task], limit=limit, bootstrap_iters=0)
        (told,) = [r.getMessage() for r in caplog.records if "no probabilities" in r.getMessage()]
        assert re.search(rf": {limit} of {limit} items", told)

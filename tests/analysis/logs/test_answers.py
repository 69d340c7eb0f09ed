from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from analysis.logs.answers import item_answers, item_options, plain_answer
from analysis.logs.fields import OWN_FIELDS, take_all
from analysis.logs.values import LogError
from tests.helpers.runlogs import bbq_item, bbq_line, choice_line, drawn_line, text_line


def answers(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a line of ours, by column; what is no matter of the answer is made up."""
    made = line | {"$request_hash": "h", "$metrics": None}
    return [take_all(OWN_FIELDS, made | answer) for answer in item_answers(line, item_options(line["doc"]))]


def scored(line: dict[str, Any], *values: Any) -> dict[str, Any]:
    """The line with these log-likelihoods."""
    sent = {f"gen_args_{i}": {"arg_0": "Q", "arg_1": f" {i}"} for i in range(len(values))}
    given = [[value if isinstance(value, str) else str(value), "False"] for value in values]
    return line | {"arguments": sent, "resps": [[pair] for pair in given], "filtered_resps": given}


SCORES = st.lists(st.floats(-50, 0), min_size=2, max_size=6)


@given(SCORES)
def test_choice_entropy_and_margin_of_scored_options(scores: list[float]) -> None:
    assume(min(scores) < 0 or len(scores) == 1)
    line = scored(choice_line(0, 0), *scores)
    found = plain_answer(line, "multiple_choice")
    shares = softmax(np.array(scores))
    ordered = np.sort(shares)
    assert found["choice"] == int(np.argmax(scores))  # the first of equals, as lm-eval
    assert found["p_choice"] == pytest.approx(ordered[-1], abs=1e-12)
    assert found["entropy"] == pytest.approx(entropy(shares, base=2), abs=1e-12)
    assert found["margin"] == pytest.approx(ordered[-1] - ordered[-2], abs=1e-12)


# ["0", "0"]: a server that scores no prompt, as lm-eval logs it; options cannot both be certain.
@pytest.mark.parametrize("scores", [["nan", "-1.0"], ["-inf", "-inf"], [], ["0", "0"], ["0.0", "0.0", "0.0"]])
def test_options_without_a_usable_score_are_unscored(scores: list[str]) -> None:
    line = scored(choice_line(0, 0), *scores)
    assert plain_answer(line, "multiple_choice") == {"status": "unscored", "correct": None}


def test_an_impossible_option_beside_a_possible_one_is_no_fault() -> None:
    line = scored(choice_line(0, 0), "-inf", "-2.0")
    found = plain_answer(line, "multiple_choice")
    assert (found["choice"], found["entropy"], found["margin"]) == (1, 0.0, 1.0)


def test_mutual_information_counts_each_option_once() -> None:
    line = scored(choice_line(0, 0), -3.0, -1.0, -0.5, -9.0) | {"metrics": ["acc", "acc_mutual_info"]}
    assert plain_answer(line, "multiple_choice")["choice"] == 1


@pytest.mark.parametrize(
    ("responses", "status", "text"),
    [
        (["4"], "answered", "4"),
        (["[invalid]"], "unparsed", "[invalid]"),
        (["  "], "unparsed", "  "),
        ([["first", "second"]], "answered", '["first", "second"]'),
        ([["", "second"]], "answered", '["", "second"]'),
        ([["", "[invalid]"]], "unparsed", '["", "[invalid]"]'),
        ([], "unparsed", None),
    ],
)
def test_generated_text(responses: list[Any], status: str, text: str | None) -> None:
    found = plain_answer(text_line(0, "4") | {"filtered_resps": responses}, "generate_until")
    assert (found["status"], found["text"]) == (status, text)


@pytest.mark.parametrize(("score", "status"), [("-2.5", "answered"), ("nan", "unscored"), ("-inf", "unscored")])
def test_a_single_loglikelihood_has_no_choice(score: str, status: str) -> None:
    found = plain_answer({"filtered_resps": [[score, "True"]], "acc": "True"}, "loglikelihood")
    assert found == {"status": status, "correct": None}


def test_our_answer_of_a_scored_item() -> None:
    (found,) = answers(bbq_line(3, 1, item=bbq_item(3, correct=1)))
    assert (found["status"], found["choice"], found["role"], found["correct"]) == (
        "answered", 1, "anti_stereotype", True,
    )  # fmt: skip
    assert (found["p_toward"], found["p_against"], found["p_neutral"]) == (0.2, 0.6, 0.2)


def test_an_unscored_item_is_wrong_and_one_without_key_is_neither() -> None:
    (found,) = answers(bbq_line(3, None))
    assert (found["status"], found["choice"], found["role"], found["correct"]) == (
        "unscored",
        None,
        None,
        False,
    )
    (keyless,) = answers(bbq_line(3, 0, item=bbq_item(3) | {"correct": None}))
    assert keyless["correct"] is None


def test_options_that_share_a_role_add_up_and_a_missing_role_has_no_probability() -> None:
    item = bbq_item(0) | {"roles": ["undetermined", "undetermined", "unknown"]}
    (found,) = answers(bbq_line(0, 0, item=item))
    assert (found["p_toward"], found["p_against"], found["p_neutral"]) == (None, None, 0.2)
    item = bbq_item(0) | {"roles": ["stereotype", "stereotype", "unknown"]}
    (found,) = answers(bbq_line(0, 0, item=item))
    assert found["p_toward"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("roles", "determined"),
    [
        (["stereotype", "anti_stereotype", "unknown"], True),
        (["undetermined", "undetermined", "unknown"], False),
        (["stereotype", "undetermined", "unknown"], False),
        (["anti_stereotype", "anti_stereotype", "unknown"], False),
        ([], None),
    ],
)
def test_an_item_is_determined_by_its_roles_alone(roles: list[str], determined: bool | None) -> None:
    # The unknown option or nothing is answered: the answer tells nothing.
    item = bbq_item(0) | {"roles": roles}
    (unanswered,) = answers(bbq_line(0, None, item=item))
    assert unanswered["determined"] is determined
    if roles:
        (scored,) = answers(bbq_line(0, 2, item=item, probs=[0.2, 0.2, 0.6]))
        drawn = answers(drawn_line(0, [2, None], item=item))
        assert [answer["determined"] for answer in (scored, *drawn)] == [determined] * 3


def test_a_plain_answer_has_nothing_to_determine() -> None:
    assert "determined" not in plain_answer(choice_line(0, 0), "multiple_choice")


def test_each_draw_is_an_answer_with_its_seed_and_text() -> None:
    found = answers(drawn_line(0, [0, None, 2]))
    assert [(row["seed"], row["text"], row["status"], row["role"], row["correct"]) for row in found] == [
        (42, "A", "answered", "stereotype", False),
        (43, "?", "unparsed", None, False),
        (44, "C", "answered", "unknown", True),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "good"}, "answer.status: expected one of"),
        ({"choice": None}, "does not go with status 'answered'"),
        ({"status": "unparsed"}, "does not go with status 'unparsed'"),
        ({"choice": 3}, "expected 0 to 2, got 3"),
        ({"role": "unknown"}, "option 0 has role 'stereotype'"),
        ({"probs": [0.5, 0.5]}, "expected 3 probabilities"),
        ({"draws": []}, "expected a list of texts"),
    ],
)
def test_an_answer_that_contradicts_its_item_is_a_fault(change: dict[str, Any], message: str) -> None:
    line = bbq_line(0, 0)
    line["answer"] |= change
    with pytest.raises(LogError, match=message):
        answers(line)


def test_nan_probabilities_are_missing() -> None:
    (found,) = answers(bbq_line(0, 0, probs=[math.nan, 0.5, 0.5]))
    assert (found["p_toward"], found["p_neutral"]) == (None, 0.5)


def test_texts_without_seeds_are_told_apart_by_their_place() -> None:
    line = drawn_line(0, [0, 1, None])
    for draw in line["answer"]["draws"]:
        draw["seed"] = None
    assert [answer["seed"] for answer in answers(line)] == [0, 1, 2]

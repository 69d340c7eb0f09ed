"""Axes get the benchmark's own names back."""

from __future__ import annotations

import pandas as pd

from analysis.answers.answers import Answers
from analysis.answers.published import published_states
from tests.helpers.answers import items_frame

TWO = "pairs: less=against, more=toward, rather=toward"


def test_names_come_from_the_scheme_in_its_order() -> None:
    frame = items_frame([{"run": "r", "item": "i", "role": "stereotype"}])
    other = items_frame([{"run": "r", "item": "j", "role": "stereotype", "task": "pairs", "scheme": TWO}])
    names = published_states(Answers.of(pd.concat([frame, other])))
    unanswered = {"unparsed": "unparsed", "unscored": "unscored"}
    assert {state: name for (task, state), name in names.items() if task == "bbq"} == {
        "toward": "stereotype",
        "against": "anti_stereotype",
        "neutral": "unknown",
        "undetermined": "undetermined",
        **unanswered,
    }
    assert {state: name for (task, state), name in names.items() if task == "pairs"} == {
        "toward": "more|rather",
        "against": "less",
        **unanswered,
    }


def test_an_answer_that_no_scheme_names_keeps_its_axis() -> None:
    frame = items_frame([{"run": "r", "item": "i", "role": "unknown", "scheme": TWO}])
    assert published_states(Answers.of(frame))["bbq", "neutral"] == "neutral"

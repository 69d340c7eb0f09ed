"""The one builder of item records: its record by hand, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from lm_eval_ext.contract.item import document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.errors import UserError

SCHEME = Scheme("toy", {"with": "toward", "against": "against", "neither": "neutral"})


def made(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "scheme": SCHEME,
        "benchmark": "toy",
        "category": "weather",
        "name": 7,
        "cluster": "weather/2",
        "options": ["sun", "rain"],
        "roles": ["with", "against"],
    }
    return document(**given | changes)


def test_the_least_that_an_item_has() -> None:
    assert made() == {
        "item": {
            "version": 2,
            "item_id": "toy/weather/7",
            "benchmark": "toy",
            "category": "weather",
            "condition": None,
            "polarity": None,
            "cluster": "weather/2",
            "roles": ["with", "against"],
            "scheme": {"name": "toy", "axes": {"with": "toward", "against": "against", "neither": "neutral"}},
            "groups": [[], []],
            "key": None,
            "subcategory": "",
            "stereotyped_groups": [],
        },
        "context": "",
        "question": "",
        "options": ["sun", "rain"],
        "key": None,
    }


@pytest.mark.parametrize("count", [2, 3, 5, 26])
def test_any_number_of_options(count: int) -> None:
    doc = made(options=[f"option {n}" for n in range(count)], roles=["neither"] * count, key=count - 1)
    assert len(doc["options"]) == len(doc["item"]["roles"]) == len(doc["item"]["groups"]) == count
    assert doc["key"] == doc["item"]["key"] == count - 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": ["sun"], "roles": ["with"]}, "expected 2 to 26 options, got 1"),
        ({"options": ["sun"] * 27, "roles": ["with"] * 27}, "expected 2 to 26 options, got 27"),
        ({"roles": ["with"]}, "2 options need as many roles and groups, got 1 and 2"),
        ({"groups": [[]]}, "2 options need as many roles and groups, got 2 and 1"),
        ({"key": 2}, "expected a key from 0 to 1 or None, got 2"),
        ({"key": -1}, "expected a key from 0 to 1 or None, got -1"),
        ({"key": True}, "expected a key from 0 to 1 or None, got True"),
        ({"cluster": ""}, "the template is missing"),
        ({"roles": ["with", "biased"]}, "the scheme 'toy' places no role 'biased'"),
    ],
)
def test_what_does_not_fit_names_the_item(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(**changes)
    assert str(caught.value).startswith("toy/weather/7: ")
    assert said in str(caught.value)

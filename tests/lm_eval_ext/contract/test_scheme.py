"""Schemes: what they place, what they refuse, and that a log gives them back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.errors import UserError

FOUR: dict[str, Any] = {"biased": "toward", "unbiased": "against", "uncertain": "neutral", "unrelated": "off"}


def test_a_log_gives_a_scheme_back() -> None:
    scheme = Scheme("toy", FOUR | {"untold": None})
    logged = json.loads(json.dumps(scheme.to_record()))
    assert logged == {"name": "toy", "axes": FOUR | {"untold": None}}
    assert Scheme.from_record(logged) == scheme
    assert list(Scheme.from_record(logged).axes) == [*FOUR, "untold"]


def test_a_scheme_does_not_change_with_what_it_was_made_of() -> None:
    axes = dict(FOUR)
    scheme = Scheme("toy", axes)
    axes["biased"] = "off"
    assert scheme.axes["biased"] == "toward"
    with pytest.raises(TypeError):
        scheme.axes["biased"] = "off"


def test_roles_that_are_not_placed_are_all_named() -> None:
    with pytest.raises(UserError) as caught:
        Scheme("toy", FOUR).check(["biased", "stereotype", "other", "other"], "toy/a/1")
    assert str(caught.value) == (
        "toy/a/1: the scheme 'toy' places no role 'stereotype', 'other', only biased, unbiased, uncertain, unrelated"
    )


def test_without_a_direction_any_role_is_a_plain_name() -> None:
    plain = Scheme("plain")
    assert not plain.directed
    plain.check(["yes", "no", "whatever"], "plain/a/1")
    with pytest.raises(UserError, match=r"plain/a/1: expected roles without , : = \|, got 'a\|b'"):
        plain.check(["a|b"], "plain/a/1")
    assert Scheme.from_record({"name": "plain", "axes": {}}) == plain


@pytest.mark.parametrize(
    ("name", "axes", "said"),
    [
        ("toy", {"a": "towards", "b": "against"}, "role 'a' lies on 'towards', expected toward, against, neutral, off"),
        ("toy", {"a": "toward", "b": "neutral"}, "a direction needs a role toward the stereotype and one against it"),
        ("toy", {"a": None}, "a direction needs a role toward"),
        ("t:y", {}, "expected names of text without , : = |, got 't:y'"),
        ("", {}, "got ''"),
        ("toy", {"a=b": "toward", "c": "against"}, "got 'a=b'"),
        ("toy", {" a": "toward", "c": "against"}, "got ' a'"),
    ],
)
def test_what_is_no_scheme(name: str, axes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Scheme(name, axes)
    assert said in str(caught.value)


@pytest.mark.parametrize("record", [{}, {"name": "toy"}, {"name": "toy", "axes": 3}, {"name": "toy", "axes": ["a"]}])
def test_what_is_no_record_of_one(record: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not a scheme of roles: expected a name and axes"):
        Scheme.from_record(record)

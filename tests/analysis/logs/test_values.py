from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.logs.values import LogError, boolean, indicator, integer, number, score, text, words


@given(st.floats(allow_nan=False))
def test_a_number_reads_the_same_as_itself_and_as_lm_evals_string(value: float) -> None:
    assert number(value) == number(str(value)) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_long_integer_keeps_its_last_digit(value: int) -> None:
    assert integer(value) == value


@pytest.mark.parametrize("value", [None, "", "N/A", "nan", float("nan")])
def test_what_is_no_number_is_missing(value: object) -> None:
    assert number(value) is None


def test_a_score_keeps_nan_so_that_it_can_be_named() -> None:
    assert math.isnan(score("nan"))
    assert score("-inf") == -math.inf


@pytest.mark.parametrize(
    ("value", "expected"),
    [("True", True), ("False", False), (True, True), (1.0, True), (0, False), ("0.0", False), (0.5, None),
     ([-1.0, 5], None), ("B", None), (None, None)],
)  # fmt: skip
def test_indicator(value: object, expected: bool | None) -> None:
    assert indicator(value) is expected


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (integer, "1.5", "whole number"),
        (integer, 2**64, "64 bits"),
        (integer, "inf", "whole number"),
        (number, "one", "a number"),
        (number, [1], "a number"),
        (boolean, 0.5, "true or false"),
        (text, 3, "a string"),
    ],
)
def test_a_wrong_value_is_named(read: object, value: object, expected: str) -> None:
    assert callable(read)
    with pytest.raises(LogError, match=expected):
        read(value)


def test_half_characters_become_question_marks() -> None:
    assert text("a\ud83db\u00e9") == "a?b\u00e9"
    assert words(1.0) == "1.0"


def test_an_integer_that_no_float_can_hold() -> None:
    with pytest.raises(LogError, match="a float can hold, got 1000"):
        score(10**400)

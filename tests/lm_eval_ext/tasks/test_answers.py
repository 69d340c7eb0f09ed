"""Answers: numbers by hand and from scipy, and what is no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from lm_eval_ext.tasks.answers import ROTATIONS, cyclic_answer, letters_answer, text_answer

ROLES = ["stereotype", "anti_stereotype", "unknown"]
NAN, INF = math.nan, math.inf
values = st.lists(st.floats(min_value=-80, max_value=0), min_size=3, max_size=3)


def test_letters_by_hand() -> None:
    # P(A) = 1/8, P(B) = 1/4, P(C) = 1/8: normalised 1/4, 1/2, 1/4; entropy 2 (1/4 log2 4) + 1/2 log2 2 = 3/2 bits.
    answer = letters_answer([math.log(1 / 8), math.log(1 / 4), math.log(1 / 8)], ROLES)
    assert answer["probs"] == pytest.approx([0.25, 0.5, 0.25])
    assert (answer["choice"], answer["role"]) == (1, "anti_stereotype")
    assert answer["letter_mass"] == pytest.approx(0.5)
    assert answer["entropy"] == pytest.approx(1.5)
    assert answer["margin"] == pytest.approx(0.25)
    assert (answer["protocol"], answer["status"], answer["draws"]) == ("letters", "answered", None)


def test_text_by_hand() -> None:
    # Geometric means of the tokens' probabilities: (1/16)^(1/2) = 1/4, (1/8)^(1/3) = 1/2, (1/4)^(1/1) = 1/4.
    answer = text_answer([math.log(1 / 16), math.log(1 / 8), math.log(1 / 4)], [2, 3, 1], ROLES)
    assert answer["probs"] == pytest.approx([0.25, 0.5, 0.25])
    assert answer["choice"] == 1
    assert answer["letter_mass"] is None
    assert answer["protocol"] == "text"


def test_white_space_of_the_prompt_is_taken_off_again() -> None:
    plain = text_answer([-4.0, -9.0, -2.0], [2, 3, 1], ROLES)
    with_newline = text_answer([-4.5, -9.5, -2.5], [2, 3, 1], ROLES, whitespace=-0.5)
    assert with_newline == plain


def test_cyclic_by_hand() -> None:
    # A model that always puts 1/2 on letter A and 1/4 on B and C has no opinion: every option gets 1/3.
    biased = [math.log(0.5), math.log(0.25), math.log(0.25)] * 3
    assert cyclic_answer(biased, ROLES)["probs"] == pytest.approx([1 / 3] * 3)
    # One that finds option 2 wherever it stands: at C, then B, then A (half of its mass lies outside the letters).
    certain = [-INF, -INF, math.log(0.5), -INF, math.log(0.5), -INF, math.log(0.5), -INF, -INF]
    answer = cyclic_answer(certain, ROLES)
    assert answer["probs"] == pytest.approx([0, 0, 1])
    assert (answer["choice"], answer["role"], answer["entropy"]) == (2, "unknown", 0)
    assert answer["letter_mass"] == pytest.approx(0.5)
    assert answer["margin"] == pytest.approx(1)


def test_each_option_stands_once_at_each_letter() -> None:
    assert sorted(ROTATIONS) == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    assert ROTATIONS[0] == (0, 1, 2)
    assert all({order[letter] for order in ROTATIONS} == {0, 1, 2} for letter in range(3))


@given(values)
def test_probabilities_entropy_and_mass_are_scipys(lls: list[float]) -> None:
    answer = letters_answer(lls, ROLES)
    expected = softmax(lls)
    np.testing.assert_allclose(np.array(answer["probs"]), expected, atol=1e-12)
    assert answer["entropy"] == pytest.approx(entropy(expected, base=2), abs=1e-9)
    assert answer["letter_mass"] == pytest.approx(min(1.0, float(np.exp(lls).sum())), abs=1e-12)
    assert answer["margin"] == pytest.approx(np.diff(np.sort(expected))[-1], abs=1e-12)
    assert answer["choice"] is not None
    assert lls[answer["choice"]] == pytest.approx(max(lls), abs=1e-12)


@given(values, values, values)
def test_cyclic_is_the_mean_over_rotations_put_back_in_order(a: list[float], b: list[float], c: list[float]) -> None:
    answer = cyclic_answer(a + b + c, ROLES)
    # np.roll(x, r) puts letter j of rotation r back to option (j + r) mod 3.
    expected = np.mean([np.roll(softmax(x), r) for r, x in enumerate((a, b, c))], axis=0)
    np.testing.assert_allclose(np.array(answer["probs"]), expected, atol=1e-12)


def test_a_tie_goes_to_the_first_option_and_shows_in_the_margin() -> None:
    answer = letters_answer([-2.0, -1.0, -1.0], ROLES)
    assert (answer["choice"], answer["margin"]) == (1, 0)


@pytest.mark.parametrize("broken", [[NAN, -1, -1], [-1, -1, NAN], [-INF, -INF, -INF], [INF, -1, -1], [NAN, NAN, NAN]])
def test_what_is_no_number_is_no_choice(broken: list[float]) -> None:
    letters = letters_answer(broken, ROLES)
    others = (text_answer(broken, [1, 2, 3], ROLES), cyclic_answer([-1.0] * 6 + broken, ROLES))
    for answer in (letters, *others):
        assert answer["status"] == "unscored"
        logged = dict(answer)
        for field in ("choice", "role", "probs", "letter_mass", "entropy", "margin", "draws"):
            assert logged[field] is None
    assert list(letters) == list(letters_answer([-1.0, -1.0, -1.0], ROLES))


def test_an_impossible_letter_has_probability_zero() -> None:
    answer = letters_answer([-INF, math.log(0.5), math.log(0.5)], ROLES)
    assert answer["probs"] == pytest.approx([0, 0.5, 0.5])
    assert answer["entropy"] == pytest.approx(1)


def test_rounding_never_lifts_the_mass_over_one() -> None:
    assert letters_answer([1e-7, -30.0, -30.0], ROLES)["letter_mass"] == 1.0

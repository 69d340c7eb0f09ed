"""Answers: numbers by hand and from scipy, and what is no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from scipy.stats import entropy

from lm_eval_ext.contract.answer import Answer
from lm_eval_ext.protocols.answers import cyclic_answer, letters_answer, sampled_answer, text_answer
from lm_eval_ext.protocols.lettering import rotations

ROLES = ["stereotype", "anti_stereotype", "unknown"]
TEXTS = ["The boy", "The man", "Not known"]
NAN, INF = math.nan, math.inf
LN = math.log
# Such as a model can give: the probabilities of three letters in one spelling add up to less than 1/2.
values = st.lists(st.floats(min_value=-80, max_value=-2), min_size=3, max_size=3)


def letters(*rows: list[float]) -> Answer:
    """The answer to letters with a space, then without."""
    return letters_answer(dict(zip((" A", "A"), rows, strict=False)), ROLES)


def cyclic(values: list[float]) -> Answer:
    """The answer to nine letters in one spelling."""
    return cyclic_answer([{"A": values[at : at + 3]} for at in (0, 3, 6)], ROLES)


def test_letters_by_hand() -> None:
    # P(A) = 1/8, P(B) = 1/4, P(C) = 1/8: normalised 1/4, 1/2, 1/4; entropy 2 (1/4 log2 4) + 1/2 log2 2 = 3/2 bits.
    answer = letters([LN(1 / 8), LN(1 / 4), LN(1 / 8)])
    assert answer["probs"] == pytest.approx([0.25, 0.5, 0.25])
    assert (answer["choice"], answer["role"]) == (1, "anti_stereotype")
    assert answer["letter_mass"] == pytest.approx(0.5)
    assert answer["entropy"] == pytest.approx(1.5)
    assert answer["margin"] == pytest.approx(0.25)
    assert (answer["protocol"], answer["status"], answer["texts"]) == ("letters", "answered", None)
    assert (answer["spellings"], answer["reason"]) == ({" A": 1.0}, None)


def test_both_spellings_of_a_letter_are_added_by_hand() -> None:
    # With a space A 1/32, B 1/64, C 1/64; without A 1/64, B 1/4, C 1/64. Sums A 3/64, B 17/64, C 2/64; mass 22/64, of
    # which 4/64 with the space. The spellings choose different options: A with it, B without and over both.
    spaced, bare = [LN(1 / 32), LN(1 / 64), LN(1 / 64)], [LN(1 / 64), LN(1 / 4), LN(1 / 64)]
    answer = letters(spaced, bare)
    assert answer["probs"] == pytest.approx([3 / 22, 17 / 22, 2 / 22])
    assert answer["letter_mass"] == pytest.approx(22 / 64)
    assert answer["spellings"] == pytest.approx({" A": 4 / 22, "A": 18 / 22})
    assert [letters(spaced)["choice"], letters(bare)["choice"], answer["choice"]] == [0, 1, 1]


def test_a_spelling_that_is_the_same_token_counts_once() -> None:
    row = [LN(0.1), LN(0.2), LN(0.1)]
    again = [value + 1e-6 for value in row]  # the same token in another batch
    assert letters(row, again) == letters(row)
    assert letters(row, again)["letter_mass"] == pytest.approx(0.4)
    assert letters([-INF, LN(0.1), LN(0.2)], [-INF, LN(0.1), LN(0.2)])["letter_mass"] == pytest.approx(0.3)
    other = letters(row, [LN(0.1), LN(0.2), LN(0.15)])  # two letters alike: not the same
    assert other["letter_mass"] == pytest.approx(0.85)


def test_text_by_hand() -> None:
    # Geometric means of the tokens' probabilities: (1/16)^(1/2) = 1/4, (1/8)^(1/3) = 1/2, (1/4)^(1/1) = 1/4.
    answer = text_answer([LN(1 / 16), LN(1 / 8), LN(1 / 4)], [2, 3, 1], ROLES, TEXTS)
    assert answer["probs"] == pytest.approx([0.25, 0.5, 0.25])
    assert answer["choice"] == 1
    assert answer["letter_mass"] is answer["spellings"] is answer["reason"] is None
    assert answer["protocol"] == "text"


def test_white_space_of_the_prompt_is_taken_off_again() -> None:
    plain = text_answer([-4.0, -9.0, -2.0], [2, 3, 1], ROLES, TEXTS)
    with_newline = text_answer([-4.5, -9.5, -2.5], [2, 3, 1], ROLES, TEXTS, whitespace=-0.5)
    assert with_newline == plain


def test_cyclic_by_hand() -> None:
    # A model that always puts 1/2 on letter A and 1/4 on B and 1/8 on C has no opinion: every option gets 1/3.
    biased = [LN(0.5), LN(0.25), LN(0.125)] * 3
    assert cyclic(biased)["probs"] == pytest.approx([1 / 3] * 3)
    # One that finds option 2 wherever it stands: at C, then B, then A (half of its mass lies outside the letters).
    certain = [-INF, -INF, LN(0.5), -INF, LN(0.5), -INF, LN(0.5), -INF, -INF]
    answer = cyclic(certain)
    assert answer["probs"] == pytest.approx([0, 0, 1])
    assert (answer["choice"], answer["role"], answer["entropy"]) == (2, "unknown", 0)
    assert answer["letter_mass"] == pytest.approx(0.5)
    assert answer["margin"] == pytest.approx(1)


def test_rotations_that_differ_by_hand() -> None:
    # Masses 1/2, 1/8, 1/4: mean 7/24. Within the letters, by rotation: (1/2, 1/4, 1/4), (1/4, 1/2, 1/4), (0, 0, 1).
    # Rotation 0 shows options 0 1 2, rotation 1 shows 1 2 0, rotation 2 shows 2 0 1, so that
    # option 0 has 1/2 + 1/4 + 0, option 1 has 1/4 + 1/4 + 1, option 2 has 1/4 + 1/2 + 0, all over 3.
    rotations = [
        {"A": [LN(1 / 4), LN(1 / 8), LN(1 / 8)]},
        {"A": [LN(1 / 32), LN(1 / 16), LN(1 / 32)]},
        {"A": [-INF, -INF, LN(1 / 4)]},
    ]
    answer = cyclic_answer(rotations, ROLES)
    assert answer["letter_mass"] == pytest.approx(7 / 24)
    assert answer["probs"] == pytest.approx([0.75 / 3, 1.5 / 3, 0.75 / 3])
    assert answer["choice"] == 1
    # The last rotation's mass with a space instead: shares 1 and 0, 1 and 0, 0 and 1.
    rotations[2] = {"A": [-INF, -INF, -INF], " A": [-INF, -INF, LN(1 / 4)]}
    assert cyclic_answer(rotations, ROLES)["spellings"] == pytest.approx({"A": 2 / 3, " A": 1 / 3})
    assert cyclic_answer(rotations, ROLES)["letter_mass"] == pytest.approx(7 / 24)


def test_five_options_by_hand() -> None:
    # Letters 1/16, 1/4, 1/16, 1/16, 1/16 add up to 1/2: probabilities 1/8, 1/2, 1/8, 1/8, 1/8. The entropy is
    # 4 (1/8 log2 8) + 1/2 log2 2 = 2 bits.
    roles = ["biased", "unbiased", "uncertain", "unrelated", "unbiased"]
    answer = letters_answer({"A": [LN(1 / 16), LN(1 / 4), LN(1 / 16), LN(1 / 16), LN(1 / 16)]}, roles)
    assert answer["probs"] == pytest.approx([1 / 8, 1 / 2, 1 / 8, 1 / 8, 1 / 8])
    assert (answer["choice"], answer["role"], answer["letter_mass"]) == (1, "unbiased", pytest.approx(0.5))
    assert (answer["entropy"], answer["margin"]) == (pytest.approx(2), pytest.approx(3 / 8))
    # A model that finds option 4 wherever it stands: at E, then at D, C, B, A.
    found = [[-INF] * place + [LN(0.5)] + [-INF] * (4 - place) for place in (4, 3, 2, 1, 0)]
    assert cyclic_answer([{"A": row} for row in found], roles)["probs"] == pytest.approx([0, 0, 0, 0, 1])


def test_a_text_names_no_option_that_there_is_not() -> None:
    answer = sampled_answer(["C", "B", "cannot say"], [1, 2, 3], None, None, ["yes", "no"])
    assert answer["texts"] is not None
    assert [text["choice"] for text in answer["texts"]] == [None, 1, None]
    # The studies' parser reads C, C of "cannot": with two options that is no answer.
    assert [text["study_choice"] for text in answer["texts"]] == [None, 1, None]


def test_options_that_stand_alike_tie_exactly() -> None:
    """Each option gets the same three numbers in another order: what decides must not be the order of a sum."""
    answer = cyclic([LN(0.01), LN(0.02), LN(0.23)] * 3)  # added one after the other, option 1 is an ulp ahead
    assert (answer["choice"], answer["margin"]) == (0, 0)


def test_each_option_stands_once_at_each_letter() -> None:
    assert rotations(3) == ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    for count in (2, 5, 26):
        orders = rotations(count)
        assert orders[0] == tuple(range(count))
        assert all({order[letter] for order in orders} == set(range(count)) for letter in range(count))
        assert len(orders) == count


@given(values, values)
def test_probabilities_entropy_and_mass_are_scipys(spaced: list[float], bare: list[float]) -> None:
    assume(max(np.abs(np.subtract(spaced, bare))) > 1e-3 and len({*spaced}) > 1)
    answer = letters(spaced, bare)
    sums = logsumexp([spaced, bare], axis=0)
    expected = softmax(sums)
    np.testing.assert_allclose(np.array(answer["probs"]), expected, atol=1e-12)
    assert answer["entropy"] == pytest.approx(entropy(expected, base=2), abs=1e-9)
    assert answer["letter_mass"] == pytest.approx(float(np.exp(spaced).sum() + np.exp(bare).sum()), abs=1e-12)
    assert answer["margin"] == pytest.approx(np.diff(np.sort(expected))[-1], abs=1e-12)
    assert answer["choice"] is not None
    assert sums[answer["choice"]] == pytest.approx(max(sums), abs=1e-12)
    assert answer["spellings"] is not None
    assert answer["spellings"][" A"] == pytest.approx(np.exp(logsumexp(spaced) - logsumexp(sums)), abs=1e-12)


@given(values, values, values)
def test_cyclic_is_the_mean_over_rotations_put_back_in_order(a: list[float], b: list[float], c: list[float]) -> None:
    assume(any(len({*x}) > 1 for x in (a, b, c)))
    answer = cyclic(a + b + c)
    # np.roll(x, r) puts letter j of rotation r back to option (j + r) mod 3.
    expected = np.mean([np.roll(softmax(x), r) for r, x in enumerate((a, b, c))], axis=0)
    np.testing.assert_allclose(np.array(answer["probs"]), expected, atol=1e-12)
    assert answer["letter_mass"] == pytest.approx(float(np.mean([np.exp(x).sum() for x in (a, b, c)])), abs=1e-12)


def test_a_tie_goes_to_the_first_option_and_shows_in_the_margin() -> None:
    answer = letters([-3.0, -1.0, -1.0])
    assert (answer["choice"], answer["margin"]) == (1, 0)


def unscored(answer: Answer) -> str | None:
    """The reason of an answer that must hold no number and no choice."""
    assert answer["status"] == "unscored"
    for field, value in answer.items():
        assert value is None or field in ("protocol", "status", "reason")
    assert list(answer) == list(letters([-1.0, -2.0, -3.0]))
    return answer["reason"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([NAN, -1, -1], "no_number"),
        ([-1, -1, NAN], "no_number"),
        ([NAN, NAN, NAN], "no_number"),
        ([INF, -1, -1], "no_number"),
        ([-INF, -INF, -INF], "no_probability"),
        ([0.0, 0.0, 0.0], "above_one"),  # a server that does not score its prompt
        ([1.5, -9.0, -9.0], "above_one"),
        ([900.0, -9.0, -9.0], "above_one"),
        ([0.0, 0.0, -9.0], "above_one"),
        ([LN(0.5), LN(0.3), LN(0.25)], "above_one"),  # each may be, all three cannot
        ([-5.0, -5.0, -5.0], "all_equal"),  # a constant, or a model that knows no difference: nobody can tell
        ([-9999.0, -9999.0, -9999.0], "all_equal"),
    ],
)
def test_scores_that_no_model_can_give_are_no_answer(broken: list[float], reason: str) -> None:
    assert unscored(letters(broken)) == reason
    assert unscored(letters(broken, broken)) == reason
    spread = [-3.0, -2.0, -4.0]
    if reason not in ("all_equal", "no_probability"):  # one spelling may be equal or impossible
        assert unscored(letters(spread, broken)) == reason
    if reason != "all_equal":
        assert unscored(cyclic([-2.0, -3.0, -4.0] * 2 + broken)) == reason
    assert unscored(cyclic(broken * 3)) == reason
    assert unscored(text_answer(broken, [1, 1, 1], ROLES, TEXTS)) == reason


def test_the_spellings_of_a_letter_share_one_probability_of_one() -> None:
    half = [LN(0.2), LN(0.2), LN(0.11)]
    assert letters(half)["letter_mass"] == pytest.approx(0.51)
    assert unscored(letters(half, [LN(0.2), LN(0.3), LN(0.1)])) == "above_one"  # 0.51 + 0.6


def test_one_equal_rotation_does_not_hide_what_the_others_tell() -> None:
    answer = cyclic([-2.0, -2.0, -2.0, LN(0.25), LN(0.125), LN(0.125), -2.0, -2.0, -2.0])
    # Option 1 stands first in rotation 1: (1/3 + 1/2 + 1/3) / 3.
    assert answer["probs"] == pytest.approx([(2 / 3 + 1 / 4) / 3, (2 / 3 + 1 / 2) / 3, (2 / 3 + 1 / 4) / 3])
    assert answer["choice"] == 1


def test_rounding_is_no_fault_and_never_lifts_the_mass_over_one() -> None:
    sure = letters([1e-7, -30.0, -30.0])
    assert (sure["status"], sure["letter_mass"]) == ("answered", 1.0)
    # In bfloat16 ln 0.998 is -0.002, ln 0.0025 is rounded from -5.9915 to -5.984375 or -6.0: the sum reaches 1.0005.
    assert letters([-0.00199, -5.984375, -20.0])["letter_mass"] == 1.0


@pytest.mark.parametrize(
    ("scores", "tokens", "whitespace", "reason"),
    [
        ([0.0, -5.0, -6.0], [2, 2, 2], 0.0, "certain_text"),
        ([-0.5, -8.0, -9.0], [2, 2, 2], -0.5, "certain_text"),
        ([-0.1, -0.2, -5.0], [2, 2, 2], 0.0, "above_one"),
        ([-1.0, -2.0, -3.0], [2, 2, 2], -2.0, "above_one"),  # likelier with its white space than that alone
        ([-1.0, -2.0, -3.0], [1, 2, 3], 0.0, "all_equal"),  # the same for every token
        ([-7.0, -7.0, -7.0], [1, 2, 3], 0.0, "all_equal"),  # the same for every text
        ([-1.0, -2.0, -3.0], [1, 1, 1], NAN, "no_number"),
        ([-INF, -INF, -INF], [1, 1, 1], -INF, "no_number"),
    ],
)
def test_texts_that_no_model_can_score_so(
    scores: list[float], tokens: list[int], whitespace: float, reason: str
) -> None:
    assert unscored(text_answer(scores, tokens, ROLES, TEXTS, whitespace)) == reason


def test_what_texts_may_be() -> None:
    one_token = text_answer([0.0, -17.0, -20.0], [1, 2, 2], ROLES, TEXTS)  # a single token may be certain
    assert one_token["choice"] == 0
    # "The man" begins "The man at the door": both can be likely at once.
    nested = ["The man", "The man at the door", "Not known"]
    assert text_answer([-0.1, -0.2, -5.0], [2, 5, 2], ROLES, nested)["status"] == "answered"
    assert unscored(text_answer([-0.1, -0.2, -5.0], [2, 5, 2], ROLES, TEXTS)) == "above_one"


def test_the_letters_of_sampled_answers_are_checked_alike() -> None:
    def scored(plain: list[float], drawn: list[float]) -> Answer:
        return sampled_answer(["B"], [42], plain, drawn, ROLES)

    good = [LN(0.25), LN(0.125), LN(0.125)]
    answer = scored(good, good)
    assert (answer["letter_mass"], answer["drawn_letter_mass"], answer["reason"]) == (
        pytest.approx(0.5),
        pytest.approx(0.5),
        None,
    )
    for plain, drawn, reason in (
        ([0.0, 0.0, 0.0], good, "above_one"),
        (good, [0.0, 0.0, 0.0], "above_one"),
        (good, [NAN, -1.0, -2.0], "no_number"),
        ([-5.0] * 3, [-6.0] * 3, "all_equal"),
    ):
        answer = scored(plain, drawn)
        assert (answer["status"], answer["reason"], answer["probs"]) == ("answered", reason, None)
        assert answer["letter_mass"] is answer["drawn_letter_mass"] is None
    # Temperature 0, and no letter is the likeliest token: that none can be drawn is known.
    none = scored(good, [-INF] * 3)
    assert (none["probs"], none["letter_mass"], none["drawn_letter_mass"]) == (None, pytest.approx(0.5), 0.0)


def test_an_impossible_letter_has_probability_zero() -> None:
    answer = letters([-INF, LN(0.5), LN(0.25)])
    assert answer["probs"] == pytest.approx([0, 2 / 3, 1 / 3])
    assert answer["entropy"] == pytest.approx(LN(3) / LN(2) - 2 / 3)

"""Letters that a server does not list: what follows for the choice, by hand."""

from __future__ import annotations

import copy
import math
import pickle
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_eval_ext.contract.score import Bound
from lm_eval_ext.protocols.answers import cyclic_answer, letters_answer

ROLES = ["stereotyped", "anti", "unknown"]


def bound(upper: float, left: float) -> Bound:
    return Bound(log(upper), log(left))


def test_a_bound_is_no_number_and_survives_copies() -> None:
    one = bound(0.1, 0.2)
    for other in (one, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert math.isnan(other)
        assert (other.upper, other.left) == (log(0.1), log(0.2))
    assert bound(0.5, 0.2).upper == log(0.2)  # no more than all that is left


def test_a_choice_that_follows() -> None:
    # 0.6 and 0.2 are listed, the third is at most 0.05: it can't win.
    answer = letters_answer({" A": [log(0.6), log(0.2), bound(0.05, 0.1)]}, ROLES)
    assert (answer["status"], answer["choice"], answer["role"]) == ("answered", 0, "stereotyped")
    assert answer["probs"] is answer["margin"] is answer["entropy"] is answer["letter_mass"] is None
    assert answer["reason"] == "bounded"
    low, high = zip(*(answer["bounds"] or ()), strict=True)
    assert low == pytest.approx([0.6 / 0.85, 0.2 / 0.85, 0.0])
    assert high == pytest.approx([0.6 / 0.8, 0.2 / 0.8, 0.05 / 0.85])


@pytest.mark.parametrize(
    "row",
    [
        [log(0.1), log(0.02), bound(0.2, 0.5)],  # the unlisted one may be above
        [bound(0.01, 0.5), bound(0.01, 0.5), bound(0.01, 0.5)],  # none is listed
        [log(0.2), log(0.2), bound(0.01, 0.1)],  # a tie of the listed is none that bounds can settle
    ],
)
def test_a_choice_that_does_not_follow_is_none(row: list[float]) -> None:
    answer = letters_answer({" A": row}, ROLES)
    assert (answer["status"], answer["choice"], answer["probs"], answer["bounds"]) == ("unscored", None, None, None)
    assert answer["reason"] == "undecided"


def test_impossible_numbers_stay_impossible() -> None:
    answer = letters_answer({" A": [log(0.9), log(0.9), bound(0.01, 0.1)]}, ROLES)
    assert (answer["status"], answer["reason"]) == ("unscored", "above_one")


def test_spellings_share_what_is_left() -> None:
    # B is listed without its space alone; each bound is 0.04, and together no more than 0.05 is left.
    answer = letters_answer(
        {" A": [log(0.5), bound(0.04, 0.05), log(0.1)], "A": [bound(0.04, 0.05), log(0.3), bound(0.04, 0.05)]}, ROLES
    )
    assert answer["choice"] == 0
    assert (answer["bounds"] or [])[1] == pytest.approx([0.3 / (0.9 + 0.05), 0.34 / 0.94])


def test_rotations_are_weighed_together() -> None:
    sure = {" A": [log(0.6), log(0.2), bound(0.01, 0.1)]}
    # Rotation t shows option (letter + t) mod 3: the listed 0.6 is option 0, 1 and 2 in turn.
    undecided = cyclic_answer([sure, sure, sure], ROLES)
    assert undecided["reason"] == "undecided"
    # Option 0 stands at letter 0, 2 and 1 in turn: (0.6 or more + 0.5 + 0.6) / 3 of what is at most 0.81 each.
    first, second = {" A": [log(0.1), log(0.2), log(0.5)]}, {" A": [log(0.1), log(0.6), log(0.1)]}
    decided = cyclic_answer([sure, first, second], ROLES)
    assert (decided["status"], decided["choice"], decided["reason"]) == ("answered", 0, "bounded")


@given(
    st.lists(st.floats(0.001, 1.0), min_size=6, max_size=6),
    st.floats(0.5, 20.0),
    st.integers(1, 5),
)
def test_the_truth_lies_between_the_bounds(weights: list[float], other: float, listed: int) -> None:
    """Of six tokens and one other, the likeliest are listed; the answer of all is what the bounds must allow."""
    whole = sum(weights) + other
    table = [weight / whole for weight in weights] + [other / whole]
    shown = sorted(range(7), key=table.__getitem__, reverse=True)[:listed]
    least, left = min(table[i] for i in shown), 1 - sum(table[i] for i in shown)
    values = [log(table[i]) if i in shown else Bound(log(least), log(left + 1e-12)) for i in range(6)]
    full = letters_answer({" A": [log(p) for p in table[:3]], "A": [log(p) for p in table[3:6]]}, ROLES)
    part = letters_answer({" A": values[:3], "A": values[3:]}, ROLES)
    if part["bounds"] is not None:
        assert part["choice"] == full["choice"]
        for (low, high), true in zip(part["bounds"], full["probs"] or [], strict=True):
            assert low - 1e-9 <= true <= high + 1e-9

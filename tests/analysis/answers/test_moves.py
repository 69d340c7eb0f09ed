"""Moves of measures per template, and what missing answers allow: by hand and as bounds that only widen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.answers.answers import COUNT_NAMES
from analysis.answers.measures import ACC, ANTI_RATE, BIAS_SCORE, NAMED_SRS, SRS, UNANSWERED_RATE, USR, Measure
from analysis.answers.moves import Moved, moved

ALL = (SRS, USR, ANTI_RATE, NAMED_SRS, ACC, UNANSWERED_RATE, *BIAS_SCORE.values())


def counts(*rows: dict[str, float]) -> np.ndarray:
    """[templates, COUNT_NAMES]; every answer has a key, of 3 options, and what is not answered is unparsed."""
    out = []
    for row in rows:
        answered = sum(row.get(axis, 0.0) for axis in ("toward", "against", "neutral", "off"))
        n = row.get("n", answered)
        full = {**row, "answered": answered, "n": n, "keyed": n, "correct": row.get("neutral", 0.0)}
        out.append([{"unparsed": n - answered, **full}.get(name, 0.0) for name in COUNT_NAMES])
    return np.array(out, dtype=float)


def found(before: np.ndarray, after: np.ndarray, measure: Measure) -> Moved:
    made = moved(before, after, measure)
    assert made is not None
    return made


def test_without_missing_answers_a_share_moves_by_its_counts() -> None:
    before = counts({"toward": 3, "neutral": 7}, {"toward": 1, "neutral": 19})
    after = counts({"toward": 5, "neutral": 5}, {"toward": 1, "against": 4, "neutral": 15})
    srs = found(before, after, SRS)
    assert srs.low.net.tolist() == srs.high.net.tolist() == [2, 0]
    assert srs.low.n.tolist() == [10, 20]
    assert found(before, after, USR).low.net.tolist() == [-2, -4]
    assert (srs.missing_baseline, srs.missing) == (0, 0)


def test_missing_answers_could_have_been_any() -> None:
    # Of 10 answers the run leaves out 4: its 2 stereotypes could have been 2 to 6. The baseline left out 1 of 10.
    before = counts({"toward": 3, "neutral": 6, "n": 10})
    after = counts({"toward": 2, "neutral": 4, "n": 10})
    srs = found(before, after, SRS)
    assert (srs.low.net.tolist(), srs.high.net.tolist()) == ([2 - 4], [6 - 3])
    assert (srs.missing_baseline, srs.missing) == (pytest.approx(0.1), pytest.approx(0.4))
    # Right ones: 4 and up to 8, against 6 and up to 7.
    acc = found(before, after, ACC)
    assert (acc.low.net.tolist(), acc.high.net.tolist()) == ([4 - 7], [8 - 6])
    # What counts the missing answers has none missing.
    unanswered = found(before, after, UNANSWERED_RATE)
    assert unanswered.low.net.tolist() == unanswered.high.net.tolist() == [3]


def test_where_everything_is_missing_all_is_possible() -> None:
    before, after = counts({"toward": 3, "neutral": 7}), counts({"n": 10})
    srs = found(before, after, SRS)
    assert (srs.low.estimate, srs.high.estimate) == (pytest.approx(-0.3), pytest.approx(0.7))


def test_nothing_to_take_the_share_of_is_no_measure() -> None:
    nobody = counts({"neutral": 10})
    assert moved(nobody, nobody, NAMED_SRS) is None


drawn = st.integers(0, 10_000)


@given(drawn)
@settings(max_examples=40)
def test_parts_add_up_to_the_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sides = []
    for _ in range(2):
        numbers = rng.integers(1, 20, size=(6, 3))
        sides.append(counts(*({"toward": t, "against": a, "neutral": k} for t, a, k in numbers)))
    # The same items: as many answers in both.
    top = np.maximum(sides[0][:, 5], sides[1][:, 5])
    for side in sides:
        side[:, COUNT_NAMES.index("neutral")] += top - side[:, COUNT_NAMES.index("n")]
        side[:, [4, 5, 6]] = top[:, None]
        side[:, COUNT_NAMES.index("correct")] = side[:, COUNT_NAMES.index("neutral")]
    for measure in ALL:
        made = found(*sides, measure)
        change = float(measure.value(sides[1].sum(axis=0)) - measure.value(sides[0].sum(axis=0)))
        assert made.low.estimate == pytest.approx(change)
        assert made.high.estimate == pytest.approx(change)


@given(drawn)
@settings(max_examples=40)
def test_an_answer_that_goes_missing_only_widens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = (
        counts(*({"toward": t, "against": a, "neutral": k} for t, a, k in rng.integers(1, 20, size=(5, 3))))
        for _ in range(2)
    )
    fewer, place = after.copy(), rng.integers(5)
    axis = rng.integers(3)
    fewer[place, [axis, COUNT_NAMES.index("answered")]] -= 1
    fewer[place, COUNT_NAMES.index("unparsed")] += 1
    if axis == COUNT_NAMES.index("neutral"):
        fewer[place, COUNT_NAMES.index("correct")] -= 1
    for measure in (SRS, USR, ACC, ANTI_RATE, NAMED_SRS):
        whole, less = found(before, after, measure), found(before, fewer, measure)
        assert less.low.estimate <= whole.low.estimate + 1e-9
        assert less.high.estimate >= whole.high.estimate - 1e-9

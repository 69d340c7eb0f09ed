"""Each measure by hand, where it is not defined, and where its words stand."""

from __future__ import annotations

from math import asin, sqrt
from pathlib import Path

import numpy as np
import pytest

from analysis.answers.answers import COUNT_NAMES
from analysis.answers.counts import sums_of
from analysis.answers.measures import BIAS_SCORE, MEASURES, NAMED_SRS, SRS, USR, cohens_h, measures_of

# Of 12 answers 10 name an option: 3 toward, 1 against, 4 neutral, 2 off. 8 have a key, 2 of them are right.
COUNTS = {"toward": 3, "against": 1, "neutral": 4, "off": 2, "answered": 10, "n": 12, "keyed": 8, "correct": 2}
SUMS = np.array([float({**COUNTS, "unparsed": 1}[name]) for name in COUNT_NAMES])
BY_HAND = {
    "srs": 3 / 10,
    "usr": 4 / 10,
    "anti_rate": 1 / 10,
    "named_srs": 3 / 4,
    "acc": 2 / 8,
    "unanswered_rate": 2 / 12,
    "unparsed_rate": 1 / 12,
}


def test_by_hand() -> None:
    assert {m.name: float(m.value(SUMS)) for m in MEASURES if not m.signed} == pytest.approx(BY_HAND)
    # 3 of 4 that take a side: 2 x 3/4 - 1; three quarters of the ambiguous answers are wrong.
    assert float(BIAS_SCORE["disambig"].value(SUMS)) == pytest.approx(0.5)
    assert float(BIAS_SCORE["ambig"].value(SUMS)) == pytest.approx(0.75 * 0.5)
    assert float(cohens_h(SRS)(SUMS)) == pytest.approx(2 * asin(sqrt(0.3)))
    assert (SRS.span, BIAS_SCORE["ambig"].span) == (1, 2)


def test_of_nothing_there_is_no_measure() -> None:
    stacked = np.stack([SUMS, np.zeros(len(SUMS))])
    for measure in MEASURES:
        some, none = measure.value(stacked)
        assert some == measure.value(SUMS)
        assert np.isnan(none)


@pytest.mark.parametrize(
    ("offered", "lacking"),
    [
        (("toward", "against", "neutral", "off"), {}),
        (("toward", "against"), {"usr": "no item offers a neutral option"}),
        (
            ("toward", "neutral"),
            dict.fromkeys(("anti_rate", "named_srs", "bias_score"), "no item offers an option against the stereotype"),
        ),
    ],
)
def test_a_measure_of_an_axis_that_no_item_offers_says_why(offered: tuple[str, ...], lacking: dict[str, str]) -> None:
    found = {name: measure.undefined(offered) for name, measure in measures_of("ambig").items()}
    assert {name: reason for name, reason in found.items() if reason} == lacking


def test_a_template_tells_of_a_measure_what_trials_it_has() -> None:
    # Answered 10 and 30 at baseline, 10 and 0 in the run: shares 1/4 and 3/4, 1 and 0. Named 4 each, then 4 and 0.
    named, answered = np.array([[4.0, 4.0], [4.0, 0.0]]), np.array([[10.0, 30.0], [10.0, 0.0]])
    sides = []
    for takes, reads in zip(named, answered, strict=True):
        counts = np.zeros((2, len(COUNT_NAMES)))
        counts[:, COUNT_NAMES.index("against")] = takes
        counts[:, COUNT_NAMES.index("answered")] = reads
        sides.append(counts)
    assert SRS.size(*sides) == pytest.approx([1.25, 0.75])
    assert NAMED_SRS.size(*sides) == pytest.approx([1.5, 0.5])


def test_conditions_without_a_bias_score() -> None:
    assert list(measures_of("none")) == ["srs", "usr", "anti_rate", "named_srs", "acc", "unanswered_rate"]
    assert list(measures_of("disambig")) == [*measures_of("none"), "bias_score"]


def test_counts_of_a_table_are_the_same_counts() -> None:
    table = {"n" if name == "n" else f"n_{name}": np.array([value]) for name, value in COUNTS.items()}
    assert (sums_of({**table, "n_unparsed": np.array([1])}) == SUMS).all()
    assert [float(part) for part in NAMED_SRS.counts(SUMS)] == [3, 4]


def test_the_words_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
    for measure in MEASURES:
        assert f"| `{measure.name}` | {measure.meaning} | `{measure.formula}` | {measure.range} |" in page
    assert f"| `usr` | float or missing | {USR.doc} |" in page

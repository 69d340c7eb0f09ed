"""Equivalence, verdicts and corrections, against statsmodels and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from analysis.inference.equivalence import tost, verdict
from analysis.inference.multiplicity import benjamini_hochberg, holm


@given(st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_tost_is_that_of_statsmodels(seed: int, margin: float) -> None:
    values = np.random.default_rng(seed).normal(0.02, 0.1, size=25)
    # statsmodels: DescrStatsW(values).ttost_mean(-margin, margin)
    expected = DescrStatsW(values).ttost_mean(-margin, margin)[0]
    error = values.std(ddof=1) / 5
    found = tost(values.mean(), error, 24, margin)
    assert found["difference"].p_value == pytest.approx(expected)
    # The 90 % interval lies inside the margin exactly if p < 0.05.
    assert found["difference"].conf_low is not None
    assert found["difference"].conf_high is not None
    inside = -margin < found["difference"].conf_low and found["difference"].conf_high < margin
    assert inside == (expected < 0.05)
    assert found.level == pytest.approx(0.9)


def test_at_the_margin_a_half_of_the_estimates_lies_outside() -> None:
    assert tost(0.05, 0.01, 30, 0.05)["difference"].p_value == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"positive margin and standard error, got 0\.05 and 0"):
        tost(0.0, 0.0, 30, 0.05)


@pytest.mark.parametrize(
    ("p", "q", "said"),
    [
        (0.001, 0.5, "changed"),
        (0.001, 0.01, "equivalent"),
        (0.5, 0.01, "equivalent"),
        (0.5, 0.5, "undecided"),
        (None, None, "undecided"),
        (float("nan"), float("nan"), "undecided"),
    ],
)
def test_verdicts(p: float | None, q: float | None, said: str) -> None:
    assert verdict(p, q) == said


def test_a_p_value_at_the_level_is_not_below_it() -> None:
    # As the interval that touches the margin does not lie inside it.
    assert verdict(0.05, None) == "undecided"
    assert verdict(None, 0.05) == "undecided"
    assert (verdict(0.0499, None), verdict(0.9, 0.0499)) == ("changed", "equivalent")
    assert (verdict(0.1, 0.1, alpha=0.1), verdict(0.09, 0.1, alpha=0.1)) == ("undecided", "changed")


@settings(max_examples=40)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12))
def test_corrections_are_those_of_statsmodels(p_values: list[float]) -> None:
    raw = np.array(p_values)
    there = ~np.isnan(raw)
    for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        found = ours(raw)
        assert np.isnan(found[~there]).all()
        if there.any():
            assert found[there] == pytest.approx(multipletests(raw[there], method=name)[1])


def test_corrections_by_hand() -> None:
    raw = [0.01, 0.04, 0.03, np.nan]
    # Three tests: Holm 3 x 0.01, 2 x 0.03, then not below that; BH 3 x 0.01, 3/2 x 0.03 but at most the next, 0.04.
    assert holm(raw)[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg(raw)[:3] == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(holm(raw)[3])

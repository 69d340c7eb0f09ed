"""A small version of the study: the default procedures hold where they should, the sources' do not."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy.stats import binom

from validity.methods import CHECKS
from validity.study import cells, run_study
from validity.write import page

REPLICATIONS = 200
NULLS = ("no change", "items flip, no net effect", "templates move, no net effect")


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    """Three nulls, 25 templates and one seed."""
    chosen = [design for design in cells() if design.name in NULLS and (design.templates, design.seeds) == (25, 1)]
    return run_study(chosen, REPLICATIONS, seed=7)


def test_default_tests_hold_their_level(small: pd.DataFrame) -> None:
    tests = small[(small["kind"] == "test") & small["default"]]
    assert len(tests) >= len(NULLS)
    # A test of size 0.07 stays at or below this in all but 1 of 1,000 studies of 200 replications.
    assert (tests["rate"] * tests["n"] <= binom.ppf(0.999, REPLICATIONS, 0.07)).all()


def test_default_intervals_cover(small: pd.DataFrame) -> None:
    every = small[(small["kind"] == "interval") & small["default"]]
    # A run with the baseline's own chances exceeds the floor by 0 in each item: on no processor is there an interval.
    without = every.loc[every["n"] == 0, ["scenario", "check"]].to_numpy().tolist()
    assert without == [["no change", "new bias in excess of its floor, jackknife t"]]
    intervals = every[every["n"] > 0]
    assert len(intervals) == len(every) - 1
    # An interval of coverage 0.93 reaches this in all but 1 of 1,000 studies.
    assert (intervals["rate"] * intervals["n"] >= binom.ppf(0.001, intervals["n"], 0.93)).all()


def test_tests_of_independent_answers_reject_too_often_when_templates_move(small: pd.DataFrame) -> None:
    moved = small[(small["scenario"] == "templates move, no net effect") & ~small["default"]].set_index("check")
    # A test of size 0.05 would reject more than 21 of 200 times in fewer than 1 of 1,000 studies.
    assert binom.sf(21, REPLICATIONS, 0.05) < 0.001
    for check in ("studies' pooled chi-squared", "benchmark's permutation"):
        assert moved.loc[check, "rate"] * REPLICATIONS > 21


def test_a_large_shift_is_seen() -> None:
    (design,) = [d for d in cells() if d.name == "shift of 10 points" and d.templates == 60]
    power = run_study([design], 30, seed=7)
    assert (power.loc[(power["kind"] == "test") & ~power["null"], "rate"] > 0.9).all()
    # The line is straight in log-odds: to find a bend there would be wrong. 0.05 of 30 exceeds 7 in 1 of 10,000.
    (bend,) = power.loc[power["check"] == "bend over four doses, sign flips", ["null", "rate"]].to_numpy()
    assert bend[0]
    assert bend[1] * 30 <= 7


def test_a_threshold_is_found_and_named() -> None:
    (design,) = [d for d in cells() if d.name.startswith("threshold") and d.templates == 60]
    found = run_study([design], 30, seed=7).set_index("check")
    assert found.loc["bend over four doses, sign flips", "rate"] > 0.8
    assert found.loc["threshold, at its dose", "rate"] > 0.8
    assert "gradual" not in found.index


def test_results_depend_on_the_seed_alone() -> None:
    chosen = cells()[:2]
    alone = run_study(chosen, 110, seed=3)
    pd.testing.assert_frame_equal(alone, run_study(chosen, 110, seed=3, workers=2))
    assert not alone["rate"].equals(run_study(chosen, 110, seed=4)["rate"])


def test_page_shows_every_check_and_cell(small: pd.DataFrame) -> None:
    text = page(small, replications=REPLICATIONS, seed=7, command="make validity")
    # The verdicts are of true slopes, which these three scenarios have none of.
    for check in CHECKS:
        assert (check.name in text) == (check.kind != "verdict")
    first = small.iloc[0]
    assert f"{first['rate']:.3f} ({first['low']:.3f}-{first['high']:.3f})" in text
    assert "25 templates x 1 seed" in text
    assert "nan" not in text
    # What has no interval is left out of its coverage, in the summary too.
    (line,) = (line for line in text.splitlines() if line.startswith("| new bias in excess") and "| coverage |" in line)
    assert "1.000" not in line
    assert line.endswith("in all 2 |") or "of 2 |" in line

"""What is zero up to rounding is zero: sums whose true value is 0 and whose floating-point value is some 1e-17."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from analysis.inference._rounding import RELATIVE, settled
from analysis.inference.breakpoint import breakpoint_test
from analysis.inference.clusters import cluster_bootstrap, from_left_out, jackknife, jackknife_change, ratio
from analysis.inference.gee import gee
from analysis.inference.mixed import mixed_logit
from analysis.inference.result import Result
from analysis.inference.shrinkage import shrink
from analysis.inference.simultaneous import ratios
from analysis.tables.noise.floors import Chances, change_of_rates, expected

SIZES = np.random.default_rng(0).integers(1, 9, 30)
"""Templates of unequal size: with these the sums below are off 0 by rounding."""


def test_the_rule_by_hand() -> None:
    given = np.array([0.1 + 0.2 - 0.3, 5e-11, -5e-11, 2e-10, -2e-10, np.nan, np.inf])
    assert given[0] != 0
    np.testing.assert_array_equal(settled(given, 1.0), [0, 0, 0, 2e-10, -2e-10, np.nan, np.inf])
    np.testing.assert_array_equal(settled([1.0, 1.0], [0.0, 2e10]), [1.0, 0.0])
    np.testing.assert_array_equal(settled(1e-7, 1.0, 1e-6), 0.0)


def test_rounding_of_long_sums_lies_below_the_rule_and_scores_above() -> None:
    # One by one, as np.bincount adds: 60,000 x 0.1 by exact arithmetic.
    summed = np.bincount(np.zeros(60_000, dtype=int), weights=np.full(60_000, 0.1))[0]
    off = abs(Fraction(float(summed)) - 60_000 * Fraction(0.1)) / Fraction(float(summed))
    assert 0 < off < RELATIVE / 10
    assert np.finfo(np.float32).eps / 100 > RELATIVE


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_jackknife_of_equal_templates_has_no_error_whatever_the_unit(scale: float) -> None:
    # Each template shows 1/3 before and 2/3 after.
    before, after = (np.stack([k * SIZES, 3 * SIZES], axis=1).astype(float) for k in (1, 2))
    found = jackknife_change(before, after, lambda sums: scale * ratio(sums))
    assert found["difference"].estimate == pytest.approx(scale / 3)
    assert (found["difference"].std_error, found["difference"].p_value) == (None, None)
    assert "not known" in found.status
    alone = jackknife(after, lambda sums: scale * ratio(sums))
    assert (alone["value"].std_error, alone["value"].conf_low) == (None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.0] * 12, [0.001] * 12),  # joshuaulrich/TTR 59: a running deviation of 2e-19
        ([0.0] * 693, [3.1086244592868925e-09] * 693),  # scipy 14418: t = -5.7 between constants
        ([4.28, 4.34], [4.33, 4.39]),  # scipy 16861: both pairs differ by 0.05
        ([472.0, 469.0, 100.1], [472.0 + 1 / 3, 469.0 + 1 / 3, 100.1 + 1 / 3]),  # Survey.jl 219: errors of 1e-13
    ],
)
def test_constants_that_others_gave_an_error(before: list[float], after: list[float]) -> None:
    old, new = (np.stack([values, np.ones(len(values))], axis=1) for values in (before, after))
    found = jackknife_change(old, new)["difference"]
    assert found.estimate == pytest.approx(after[0] - before[0])
    assert (found.std_error, found.p_value, found.conf_low) == (None, None, None)


def test_an_error_is_measured_against_what_the_statistic_is_made_of() -> None:
    left = np.array([0.0, 1e-12, 0.0])
    assert from_left_out(Result(method=""), "x", 0.0, left)["x"].std_error is None
    found = from_left_out(Result(method=""), "x", 0.0, left, scale=1e-6)["x"]
    # Three values without one template each: 2/3 of the sum of squares about their mean, 1e-24 x 2/3.
    assert found.std_error == pytest.approx(1e-12 * 2 / 3)


def test_a_bootstrap_of_equal_templates_has_no_error() -> None:
    before, after = (np.stack([k * SIZES, 49 * SIZES], axis=1).astype(float) for k in (1, 5))
    found = cluster_bootstrap(before, after, resamples=200)
    assert found["difference"].estimate == pytest.approx(4 / 49)
    assert (found["difference"].std_error, found["difference"].conf_low, found["difference"].conf_high) == (None,) * 3
    assert "not known" in found.status


def test_groups_of_equal_templates_have_no_error() -> None:
    n = np.stack([49 * SIZES, 3 * SIZES], axis=1).astype(float)
    net = 100 * n / [49, 3]
    found = ratios(net, n)
    np.testing.assert_allclose(found.ratio, [100 / 49, 100 / 3])
    np.testing.assert_array_equal(found.std_error, 0)
    np.testing.assert_array_equal(found.covariance, 0)


def _cells(shares: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events and records of 60 at each dose, the same in every template; and the dose."""
    events = SIZES[:, None] * np.array(shares, dtype=float)
    return events, np.repeat(60.0 * SIZES[:, None], len(shares), axis=1), np.arange(len(shares), dtype=float)


@pytest.mark.parametrize("method", ["independence", "exchangeable", "mixed"])
def test_slopes_of_equal_templates_have_no_error(method: str) -> None:
    events, n, dose = _cells((7, 13))
    design = np.stack([np.ones(events.size), np.tile(dose, len(events))], axis=1)
    template = np.repeat(np.arange(len(events)), 2)
    given = (events.ravel(), n.ravel(), design, template)
    terms = ("intercept", "dose")
    found = mixed_logit(*given, terms=terms) if method == "mixed" else gee(*given, terms=terms, working=method)
    # Two doses, two coefficients: the slope is the difference of the two log-odds.
    slope = np.log(13 / 47) - np.log(7 / 53)
    assert found["dose"].estimate == pytest.approx(slope, abs=1e-6)
    for term in ("intercept", "dose", "odds_ratio dose"):
        assert (found[term].std_error, found[term].p_value, found[term].conf_low) == (None, None, None)
    if method != "mixed":
        assert found["marginal_effect dose"].std_error is None
        assert "every cluster shows the same intercept, dose: its error is not known" in found.status


def test_only_the_term_that_no_cluster_moves_has_no_error() -> None:
    # All templates show 7 of 60 at dose 0, and different shares at dose 1.
    events, n, dose = _cells((7, 13))
    events[:, 1] += SIZES * np.random.default_rng(1).integers(-5, 20, len(SIZES))
    design = np.stack([np.ones(events.size), np.tile(dose, len(events))], axis=1)
    template = np.repeat(np.arange(len(events)), 2)
    found = gee(events.ravel(), n.ravel(), design, template, terms=("intercept", "dose"), working="independence")
    assert found["intercept"].estimate == pytest.approx(np.log(7 / 53))
    assert found["intercept"].std_error is None
    # The error of the slope is that of the log-odds at dose 1 alone, which a model of its constant gives.
    alone = gee(events[:, 1], n[:, 1], np.ones((len(SIZES), 1)), np.arange(len(SIZES)), working="independence")
    assert found["dose"].std_error == pytest.approx(alone["x0"].std_error)


def test_templates_on_one_line_do_not_bend() -> None:
    # 20, 30, 40 and 48 of 60: log-odds -log 2, 0, log 2, log 4.
    found = breakpoint_test(*_cells((20, 30, 40, 48)), flips=199)
    assert (found["bend"].statistic, found["bend"].p_value) == (0, 1)
    assert found.facts["verdict"] == "undecided"
    # All candidates are as likely: the first is named, on every processor.
    assert found["breakpoint"].estimate == 1


@pytest.mark.parametrize("shift", [0.1, 0.3, 0.7])
def test_estimates_that_differ_as_much_as_noise_have_one_true_value(shift: float) -> None:
    # Four estimates at mean -+ d: the weighted spread is d^2, and 3/4 of the variance is expected of noise.
    spread = shift * np.array([-1.0, 1, -1, 1])
    found = shrink(1 / 3 + spread, np.diag(np.full(4, shift**2 * 4 / 3)), np.full(4, 1 / 7), df=20)
    assert found is not None
    assert found.tau == 0


def _chances(*items: tuple[float, float, float, float], texts: int = 5) -> Chances:
    """Items by the probabilities of their three roles, and of an option being drawn at all."""
    values = np.array(items)
    return Chances(values[:, :3], values[:, 3], np.full(len(values), float(texts)))


@pytest.mark.parametrize("mass", [0.1, 0.37, 0.7, 0.9, 1.0])
def test_what_can_not_change_has_no_chance_of_changing(mass: float) -> None:
    never, hair = _chances((0, 0.3, 0.7, mass)), _chances((1 + 2**-52, 0, 0, mass))
    # Without a stereotype in sight an item's SRS is 0 in both runs, whether options are named or not.
    assert expected(never, never)["srs_change"][0].tolist() == [0]
    for side in (never, hair):
        for events, at_risk in expected(side, side).values():
            assert (events >= 0).all()
            assert (at_risk >= 0).all()
    assert expected(hair, hair)["response_flip"][0].tolist() == [0]


def test_a_template_with_a_hair_at_risk_is_no_degree_of_freedom() -> None:
    # Template 3 has a chance of 1e-17, one rounding of 1, of being at risk.
    before = (np.array([0.1, 0.2, 0.1, 0.0]), np.array([1.0, 1.0, 1.0, 1e-17]))
    after = (np.array([0.2, 0.2, 0.4, 1e-17]), np.array([1.0, 1.0, 1.0, 1e-17]))
    found = change_of_rates(before, after, np.arange(4), 4)
    assert (found.n_clusters, found["difference"].df) == (3, 2)
    assert found["difference"].estimate == pytest.approx(0.4 / 3)

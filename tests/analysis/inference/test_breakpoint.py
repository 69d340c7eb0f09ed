"""Threshold or gradual: verdicts on made curves, the search paid for, and where there is no answer."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from analysis.inference.breakpoint import _profile, _verdict, breakpoint_test
from analysis.inference.result import Estimate

DOSE = np.array([0.0, 8, 10, 12, 13])


def _counts(logit: np.ndarray, n_clusters: int = 40, size: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    eta = logit + rng.normal(0, 0.1, (n_clusters, 1))
    return rng.binomial(size, 1 / (1 + np.exp(-eta))), np.full((n_clusters, len(logit)), size)


def test_a_threshold_is_found_with_its_slopes() -> None:
    events, n = _counts(-2 + 0.5 * np.maximum(DOSE - 10, 0))
    result = breakpoint_test(events, n, DOSE, flips=499)
    assert result.facts["verdict"] == "threshold at 10"
    assert result.facts["candidates"] == "8, 10, 12"
    assert result["bend"].p_value == 1 / 4991
    assert (result["breakpoint"].conf_low, result["breakpoint"].conf_high) == (10, 10)
    for term, truth in (("slope_before", 0.0), ("slope_after", 0.5), ("slope_change", 0.5)):
        found = result[term]
        assert found.conf_low - 0.02 < truth < found.conf_high + 0.02


def test_a_straight_line_is_gradual_and_a_plateau_flattens() -> None:
    straight = breakpoint_test(*_counts(-2 + 0.1 * DOSE, seed=2), DOSE, flips=499)
    assert straight.facts["verdict"] == "gradual"
    assert straight["breakpoint"].conf_low is None
    plateau = breakpoint_test(*_counts(-2 + 0.2 * np.minimum(DOSE, 10)), DOSE, flips=499)
    assert plateau.facts["verdict"] == "flattens at 10"


def test_a_rise_and_a_fall_is_a_turn_and_neither_threshold_nor_plateau() -> None:
    # Steeper after 10 than before, but downwards.
    turned = -2 + 0.1 * np.minimum(DOSE, 10) - 0.4 * np.maximum(DOSE - 10, 0)
    assert breakpoint_test(*_counts(turned), DOSE, flips=499).facts["verdict"] == "turns at 10"


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((0.0, 0.2), (0.5, 0.2), "threshold"),
        ((0.3, 0.1), (0.5, 0.1), "threshold"),
        ((-0.1, 0.2), (0.5, 0.1), "threshold"),
        ((0.6, 0.2), (0.5, 0.1), "flattens"),
        ((0.5, 0.2), (-0.6, 0.7), "flattens"),  # steeper downwards, but not shown to be
        ((0.6, 0.7), (0.5, 0.1), "threshold"),  # less steep, but the slope before is not shown
        ((0.5, 0.2), (-0.6, 0.2), "turns"),
        ((-0.3, 0.4), (0.3, 0.4), "bends"),
    ],
)
def test_a_verdict_rests_on_slopes_that_are_shown(
    before: tuple[float, float], after: tuple[float, float], verdict: str
) -> None:
    slopes = tuple(
        Estimate(term=term, estimate=value, conf_low=value - half, conf_high=value + half)
        for term, (value, half) in (("slope_before", before), ("slope_after", after))
    )
    assert _verdict(True, 4, slopes) == f"{verdict} at 4"


def test_no_effect_is_undecided_not_gradual() -> None:
    # Clusters that mirror each other: no bend and no slope, exactly.
    events = np.array([[4, 5, 6, 5, 4], [6, 5, 4, 5, 6]] * 10)
    result = breakpoint_test(events, np.full((20, 5), 10), DOSE, flips=199)
    assert result.facts["verdict"] == "undecided"
    assert result["bend"].p_value == pytest.approx(1.0)


def test_profile_is_the_likelihood_of_a_logit_with_a_hinge() -> None:
    events, n = (part.sum(axis=0) for part in _counts(-2 + 0.3 * np.maximum(DOSE - 8, 0), n_clusters=5))
    found = _profile(events[None].astype(float), n[None].astype(float), DOSE)[0]
    for k, value in zip((8, 10, 12), found, strict=True):
        x = sm.add_constant(np.column_stack([DOSE, np.maximum(DOSE - k, 0)]))
        fitted = sm.GLM(np.column_stack([events, n - events]), x, family=sm.families.Binomial()).fit()
        expected = np.sum(events * np.log(fitted.mu) + (n - events) * np.log(1 - fitted.mu))
        assert value == pytest.approx(expected, rel=1e-9)


def test_the_search_is_paid_for() -> None:
    rng = np.random.default_rng(7)
    dose, found, runs = np.arange(8.0), 0, 200
    for _ in range(runs):
        events = rng.binomial(30, 1 / (1 + np.exp(1 - 0.1 * dose - rng.normal(0, 0.2, (20, 1)))))
        found += (breakpoint_test(events, np.full((20, 8), 30), dose, flips=99)["bend"].p_value or 1) <= 0.05
    # 0.05 with a standard error of 0.015; the best of six candidates at its own p-value would be over 0.1.
    assert 0.01 <= found / runs <= 0.095


def test_order_of_clusters_does_not_matter() -> None:
    events, n = _counts(-2 + 0.05 * DOSE)
    first, again = (breakpoint_test(e, n, DOSE, flips=99) for e in (events, events[::-1]))
    assert first["bend"].p_value == again["bend"].p_value


@pytest.mark.parametrize(
    ("events", "dose", "reason"),
    [
        ([[1, 2, 3], [1, 1, 2]], [0, 1, 2], "3 doses: a breakpoint needs at least 4"),
        ([[1, 2, 3, 4], [1, 1, 2, 3]], [0, 1, 2, 2], "3 doses"),
        ([[1, 2, 3, 4]], [0, 1, 2, 3], "1 cluster"),
        ([[0, 0, 0, 0], [0, 0, 0, 0]], [0, 1, 2, 3], "never seen"),
        ([[0, 0, 0, 4], [0, 0, 0, 3]], [0, 1, 2, 3], "separation"),
    ],
)
def test_refusals_are_named(events: list, dose: list, reason: str) -> None:
    result = breakpoint_test(events, np.full(np.shape(events), 5), dose, flips=9)
    assert result.estimates == ()
    assert result.facts["verdict"] == "undecided"
    assert reason in result.status


def test_no_record_is_named() -> None:
    assert breakpoint_test(np.zeros((2, 4)), np.zeros((2, 4)), [0, 1, 2, 3]).status == "no record"

"""Trend tests: against R's prop.trend.test, by exact enumeration, and where there is nothing to test."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2
from statsmodels.stats.contingency_tables import Table

from analysis.inference.trend import clustered_trend, cochran_armitage


def test_cochran_armitage_is_prop_trend_test() -> None:
    # R: prop.trend.test(c(83, 90, 129, 70), c(86, 93, 136, 82)): X-squared = 8.2249, df = 1, p-value = 0.004132
    trend = cochran_armitage([83, 90, 129, 70], [86, 93, 136, 82], [1, 2, 3, 4])["trend"]
    assert trend.statistic is not None
    assert trend.statistic**2 == pytest.approx(8.2249, abs=5e-5)
    assert trend.statistic < 0  # the share falls: 97, 97, 95, 85 %
    assert trend.p_value == pytest.approx(0.004132, abs=5e-7)


def test_cochran_armitage_is_the_ordinal_association_of_statsmodels() -> None:
    events, n, dose = np.array([4, 9, 7, 15]), np.array([30, 31, 28, 33]), np.array([0.0, 8, 12, 13])
    other = Table(np.array([events, n - events])).test_ordinal_association(row_scores=np.array([1, 0]), col_scores=dose)
    z = cochran_armitage(events, n, dose)["trend"].statistic
    # statsmodels takes the variance of a permutation, which divides by n - 1 in place of n.
    assert z == pytest.approx(other.zscore * np.sqrt(n.sum() / (n.sum() - 1)), rel=1e-9)


EVENTS = np.array([[1, 2, 4], [0, 1, 1], [3, 3, 5], [2, 1, 2], [0, 0, 3], [1, 1, 0], [2, 4, 4], [1, 3, 2]])


def test_sign_flips_are_those_of_full_enumeration() -> None:
    # Contributions with five answers everywhere: (events at dose 2 - events at dose 0), as the mean dose is 1.
    score = EVENTS[:, 2] - EVENTS[:, 0]
    assert score.tolist() == [3, 1, 2, 0, 3, -1, 2, 1]
    flips = [abs(np.dot(sign, score)) >= abs(score.sum()) for sign in product((-1, 1), repeat=8)]
    result = clustered_trend(EVENTS, np.full((8, 3), 5), [0, 1, 2], flips=40_000)
    trend = result["trend"]
    assert trend.p_value == pytest.approx(np.mean(flips), abs=0.003)  # 4 standard errors of 40,000 flips
    # z = 11 / sqrt(9 + 1 + 4 + 9 + 1 + 4 + 1)
    assert trend.statistic == pytest.approx(11 / np.sqrt(29), rel=1e-12)
    assert (result.n, result.n_clusters, result.n_events) == (120, 8, int(EVENTS.sum()))


def test_p_value_is_never_0_and_small_ones_get_ten_times_the_flips() -> None:
    events = np.tile([0, 5], (60, 1))
    result = clustered_trend(events, np.full((60, 2), 5), [0, 1], flips=99)
    # No flip of 60 signs is as far; 10 x 99 are drawn.
    assert result["trend"].p_value == 1 / 991
    assert result.facts["flips"] == 990
    # Contributions of alternating sign are as good as none: the first flips do.
    even = np.array([[0, 5], [5, 0]] * 30)
    result = clustered_trend(even, np.full((60, 2), 5), [0, 1], flips=99)
    assert result["trend"].p_value == 1
    assert result.facts["flips"] == 99


def test_a_small_p_value_is_near_that_of_all_flips() -> None:
    # Nine clusters up and one down by the same: of 2^10 signs those of 0 or 1 of one kind are as far, 2 (1 + 10).
    events = np.array([[0, 5]] * 9 + [[5, 0]])
    result = clustered_trend(events, np.full((10, 2), 5), [0, 1], flips=399)
    exact = 22 / 1024
    assert result.facts["flips"] in (399, 3990)
    assert result["trend"].p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 399))


def test_order_of_clusters_and_levels_does_not_matter() -> None:
    n = np.full((8, 3), 5)
    first = clustered_trend(EVENTS, n, [0, 1, 2], flips=199)["trend"]
    again = clustered_trend(EVENTS[::-1, ::-1], n, [2, 1, 0], flips=199)["trend"]
    assert (first.statistic, first.p_value) == (again.statistic, again.p_value)


def test_levels_of_one_dose_are_added_up() -> None:
    n = np.full((8, 3), 5)
    merged = np.column_stack([EVENTS[:, 0] + EVENTS[:, 1], EVENTS[:, 2]])
    first = clustered_trend(EVENTS, n, [0, 0, 2], flips=199)["trend"]
    again = clustered_trend(merged, np.column_stack([n[:, 0] * 2, n[:, 2]]), [0, 2], flips=199)["trend"]
    assert first.statistic == pytest.approx(again.statistic)
    assert first.p_value == again.p_value


def test_a_cluster_with_records_at_one_dose_only_says_nothing() -> None:
    alone = clustered_trend([[2, 4], [1, 3]], [[5, 5], [5, 5]], [0, 1], flips=99)["trend"]
    more = clustered_trend([[2, 4], [1, 3], [0, 5]], [[5, 5], [5, 5], [0, 5]], [0, 1], flips=99)["trend"]
    assert more.statistic == pytest.approx(alone.statistic)


def test_size_holds_where_trends_differ_by_cluster() -> None:
    rng = np.random.default_rng(3)
    dose, rejected, naive, runs = np.array([0.0, 1, 2, 3]), 0, 0, 300
    for _ in range(runs):
        eta = rng.normal(-0.5, 0.5, (25, 1)) + rng.normal(0, 0.4, (25, 1)) * (dose - 1.5)
        events = rng.binomial(40, 1 / (1 + np.exp(-eta)))
        n = np.full((25, 4), 40)
        rejected += (clustered_trend(events, n, dose, flips=199)["trend"].p_value or 1) <= 0.05
        naive += (cochran_armitage(events.sum(axis=0), n.sum(axis=0), dose)["trend"].p_value or 1) <= 0.05
    assert 0.01 <= rejected / runs <= 0.09
    assert naive / runs > 0.3


def test_no_tail_is_lost_in_the_normal_distribution() -> None:
    trend = cochran_armitage([10, 90], [100, 100], [0, 1])["trend"]
    # Two groups: z^2 is Pearson's chi-squared, 200 (10 x 10 - 90 x 90)^2 / (100 x 100 x 100 x 100) = 128.
    assert trend.statistic == pytest.approx(np.sqrt(128), rel=1e-12)
    assert trend.p_value == pytest.approx(chi2.sf(128, 1), rel=1e-9)


@pytest.mark.parametrize(
    ("events", "n", "dose", "reason"),
    [
        ([[0, 0], [0, 0]], [[5, 5], [5, 5]], [0, 1], "never seen"),
        ([[5, 5], [5, 5]], [[5, 5], [5, 5]], [0, 1], "always seen"),
        ([[1, 2], [2, 2]], [[5, 5], [5, 5]], [3, 3], "one dose only"),
        ([[1, 0], [2, 0]], [[5, 0], [5, 0]], [0, 1], "one dose only (0)"),
        ([[0, 0]], [[0, 0]], [0, 1], "no record"),
        ([[1, 3]], [[5, 5]], [0, 1], "1 cluster"),
        ([[1, 1], [4, 4]], [[5, 5], [5, 5]], [0, 1], "no cluster whose events move"),
    ],
)
def test_nothing_to_test_is_named(events: list, n: list, dose: list, reason: str) -> None:
    result = clustered_trend(events, n, dose, flips=9)
    assert result.estimates == ()
    assert reason in result.status


def test_cochran_armitage_names_one_level() -> None:
    assert "one dose only" in cochran_armitage([1], [5], [0]).status


@pytest.mark.parametrize("events", [[[1, 6]], [[1, np.nan]], [[1, 2, 3]]])
def test_impossible_counts_are_refused(events: list) -> None:
    with pytest.raises(ValueError):
        clustered_trend(events, [[5, 5]], [0, 1])

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import t
from statsmodels.stats.proportion import proportion_confint

from analysis.inference.bounded import Moves, interval
from analysis.inference.proportion import none_seen, shares, wilson


def test_by_hand() -> None:
    # 1 of 2: z = 1.959964, z^2 = 3.841459. centre = (0.5 + z^2/4) / (1 + z^2/2) = 0.5;
    # half = z sqrt(0.25/2 + z^2/16) / (1 + z^2/2) = 1.959964 x sqrt(0.365091) / 2.920729 = 0.405469
    low, high = wilson(1, 2)
    assert (float(low), float(high)) == pytest.approx((0.094531, 0.905469), abs=5e-7)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
def test_equals_statsmodels(counts: tuple[int, int], level: float) -> None:
    # statsmodels.stats.proportion.proportion_confint(count, nobs, alpha=1 - level, method="wilson")
    low, high = wilson(*counts, level)
    expected = proportion_confint(*counts, alpha=1 - level, method="wilson")
    np.testing.assert_allclose((low, high), expected, rtol=1e-12, atol=1e-14)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


def test_ends_are_exact_and_nothing_of_nothing_is_missing() -> None:
    low, high = wilson([0, 7, 0], [7, 7, 0])
    assert low[0] == 0
    assert high[1] == 1
    assert high[0] > 0
    assert low[1] < 1
    assert np.isnan(low[2])
    assert np.isnan(high[2])


def of(events: list[float], trials: list[float], **given: Any) -> tuple[float, float, float]:
    found = shares(np.zeros(len(events), dtype=np.int64), np.array(events), np.array(trials), 1, **given)
    return float(found.value[0]), float(found.low[0]), float(found.high[0])


def test_a_share_has_the_clustered_interval_of_statsmodels_in_log_odds() -> None:
    rng = np.random.default_rng(2)
    trials = np.full(40, 25.0)
    events = rng.binomial(25, rng.beta(2, 3, 40)).astype(float)
    # statsmodels.api.OLS of each cluster's share on a constant: error of a mean, G - 1 degrees of freedom.
    fit = sm.OLS(events / trials, np.ones(40)).fit()
    p = float(fit.params[0])
    wide = t.ppf(0.975, 39) * float(fit.bse[0]) / (p * (1 - p))
    assert of(events.tolist(), trials.tolist()) == pytest.approx((p, *expit(logit(p) + np.array([-wide, wide]))))


def test_unequal_clusters_have_the_jackknifes_error_and_kishs_degrees_of_freedom() -> None:
    events, trials = np.array([3.0, 1, 10, 2]), np.array([5.0, 4, 20, 11])
    found = shares(np.zeros(5, dtype=np.int64), np.append(events, 0), np.append(trials, 0), 1)
    left = [(events.sum() - e) / (trials.sum() - n) for e, n in zip(events, trials, strict=True)]
    assert found.std_error[0] == pytest.approx(np.sqrt(3 / 4 * np.square(left - np.mean(left)).sum()))
    assert found.df[0] == pytest.approx(40**2 / (25 + 16 + 400 + 121) - 1)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=30), st.sampled_from([0.25, 0.6, 1.0]))
def test_none_seen_is_the_bound_of_moves_that_are_all_0(sizes: list[int], reach: float) -> None:
    n = np.array(sizes, dtype=float)
    moves = Moves(net=np.zeros(len(n)), n=n, reach=reach)
    found = none_seen(np.zeros(len(n), dtype=np.int64), n, 1, tail=0.025, reach=reach)[0]
    assert found == pytest.approx(interval(moves, moves, 0.95)[1], abs=2e-5)


def test_without_an_event_or_with_nothing_else() -> None:
    bound = 0.25 * (1 - 0.025 ** (1 / 12))
    assert of([0.0] * 12, [9.0] * 12) == pytest.approx((0, 0, bound))
    assert of([9.0] * 12, [9.0] * 12) == pytest.approx((1, 1 - bound, 1))
    # Items that are their own templates may be events wholly: the rule of three.
    assert of([0.0] * 300, [1.0] * 300)[2] == pytest.approx(1 - 0.025 ** (1 / 300))


def test_no_interval_where_the_error_is_not_known() -> None:
    for events, trials in (([1.0], [4.0]), ([1.0, 1.0], [4.0, 4.0]), ([9.0, 0.0], [100.0, 1.0])):
        value, low, high = of(events, trials)
        assert not np.isnan(value)
        assert np.isnan(low)
        assert np.isnan(high)
    assert np.isnan(of([0.0], [0.0])).all()


@given(st.lists(st.integers(0, 8), min_size=3, max_size=20), st.integers(0, 19))
def test_one_event_more_never_lowers_an_end_far(events: list[int], place: int) -> None:
    # The upper end of a share is at least that of none, the lower at most that of nothing else.
    trials = [8.0] * len(events)
    value, low, high = of([float(count) for count in events], trials)
    if not np.isnan(low):
        assert 0 <= low <= value <= high <= 1
        assert high >= of([0.0] * len(events), trials)[2] - 1e-12
        assert low <= of(trials, trials)[1] + 1e-12


def test_several_shares_are_each_as_alone() -> None:
    events, trials, code = np.array([3.0, 1, 0, 5, 2, 0]), np.array([5.0, 4, 7, 9, 3, 7]), np.array([0, 2, 1, 0, 2, 1])
    found = shares(code, events, trials, 3)
    for number in range(3):
        mine = code == number
        alone = of(events[mine].tolist(), trials[mine].tolist())
        assert [found.value[number], found.low[number], found.high[number]] == pytest.approx(alone, nan_ok=True)

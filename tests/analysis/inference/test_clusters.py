"""Change by cluster: against hand values, other libraries, brute force, and what must not matter."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from analysis.inference.clusters import (
    NO_CHANGE,
    cluster_bootstrap,
    effective_clusters,
    jackknife,
    jackknife_change,
    ratio,
    shares_of,
    sign_flip,
    sign_flips,
)

BEFORE = np.array([[2, 10], [1, 10], [4, 10], [0, 10], [3, 10]], dtype=float)
AFTER = np.array([[3, 10], [4, 10], [4, 10], [2, 10], [5, 10]], dtype=float)


def test_equal_clusters_give_the_paired_t_test() -> None:
    # With clusters of one size the change is the mean of the clusters' changes, and its jackknife is the t-test's.
    change = jackknife_change(BEFORE, AFTER)["difference"]
    t, p = ttest_1samp((AFTER - BEFORE)[:, 0] / 10, 0)
    assert change.estimate == pytest.approx(0.16)  # 18 / 50 - 10 / 50
    assert change.statistic == pytest.approx(t)
    assert change.p_value == pytest.approx(p)
    low, high = ttest_1samp((AFTER - BEFORE)[:, 0] / 10, 0).confidence_interval(0.95)
    assert (change.conf_low, change.conf_high) == pytest.approx((low, high))


def test_unequal_clusters_are_close_to_the_cluster_robust_regression() -> None:
    rng = np.random.default_rng(1)
    trials = rng.integers(5, 40, size=80)
    old = rng.binomial(trials, rng.beta(2, 4, size=80))
    new = rng.binomial(trials, rng.beta(2, 3, size=80))
    change = jackknife_change(np.column_stack([old, trials]), np.column_stack([new, trials]))["difference"]
    # statsmodels OLS of the answers on run, cov_type="cluster": the linearised variance of the same difference.
    answers, run, group = [], [], []
    for which, events in ((0, old), (1, new)):
        for cluster, (event, trial) in enumerate(zip(events, trials, strict=True)):
            answers += [1] * event + [0] * (trial - event)
            run += [which] * trial
            group += [cluster] * trial
    fit = sm.OLS(answers, sm.add_constant(run)).fit(cov_type="cluster", cov_kwds={"groups": np.array(group)})
    assert change.estimate == pytest.approx(fit.params[1])
    assert change.std_error == pytest.approx(fit.bse[1], rel=0.03)


def test_errors_of_unequal_clusters_by_hand() -> None:
    # 1 of 1, 0 of 1 and 0 of 2: 1/4. Without each 0, 1/3 and 1/2, mean 5/18; squares about it 25 + 1 + 16 of 18^2.
    # The variance is 2/3 x 42/324 = 7/81. Of 4 trials in 1, 1 and 2: 16/6 effective clusters, 5/3 degrees of freedom.
    found = jackknife(np.array([[1, 1], [0, 1], [0, 2]]))["value"]
    assert found.estimate == 1 / 4
    assert found.std_error == pytest.approx(7**0.5 / 9)
    assert found.df == pytest.approx(5 / 3)
    assert found.conf_low == pytest.approx(1 / 4 - student.ppf(0.975, 5 / 3) * 7**0.5 / 9)
    assert found.p_value == pytest.approx(2 * student.sf(9 / 7**0.5 / 4, 5 / 3))
    # Before 0 of 1, 1 of 1 and 1 of 2 (2/4): without each 2/3, 1/3, 1/2. Changes -2/3, 0, 0 beside -1/4.
    change = jackknife_change(np.array([[0, 1], [1, 1], [1, 2]]), np.array([[1, 1], [0, 1], [0, 2]]))["difference"]
    assert change.estimate == -1 / 4
    # Mean -2/9; squares (4/9)^2 + 2 (2/9)^2 = 24/81; 2/3 of that.
    assert change.std_error == pytest.approx((16 / 81) ** 0.5)


def test_an_enumerated_exchange_is_brute_force() -> None:
    result = sign_flip(BEFORE, AFTER)
    gaps = []
    for signs in itertools.product([0, 1], repeat=5):
        swap = np.array(signs, dtype=bool)[:, None]
        old, new = np.where(swap, AFTER, BEFORE), np.where(swap, BEFORE, AFTER)
        gaps.append(abs(new[:, 0].sum() / 50 - old[:, 0].sum() / 50))
    # Changes 1, 3, 0, 2, 2 in tenths: only all signs alike (and the 0 either way) reach 8: 4 of 32.
    assert sum(gap >= 0.16 - 1e-12 for gap in gaps) == 4
    assert result["difference"].p_value == 4 / 32
    assert (result.facts["exchanges"], result.facts["exact"]) == (32, True)


def test_statistics_share_their_exchanges_and_each_is_brute_force() -> None:
    old, new = np.array([[2.0, 9], [1, 8], [4, 7]]), np.array([[3.0, 8], [4, 9], [4, 4]])

    def odds(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(sums[..., 0] / (sums[..., 1] - sums[..., 0]))

    found = sign_flips(old, new, {"rate": ratio, "odds": odds})
    for name, statistic in (("rate", ratio), ("odds", odds)):
        gaps = []
        for signs in itertools.product([False, True], repeat=3):
            swap = np.array(signs)[:, None]
            one, other = np.where(swap, new, old).sum(axis=0), np.where(swap, old, new).sum(axis=0)
            gaps.append(abs(float(statistic(other) - statistic(one))))
        assert found[name]["difference"].p_value == np.mean(np.array(gaps) >= gaps[0] - 1e-12)


def test_random_exchanges_agree_with_all_of_them_and_are_never_zero() -> None:
    rng = np.random.default_rng(2)
    old, new = (np.column_stack([rng.integers(0, 10, 12), np.full(12, 10)]) for _ in range(2))
    exact = sign_flip(old, new)["difference"].p_value
    assert exact is not None
    drawn = sign_flip(np.vstack([old, [[0, 0]] * 3]), np.vstack([new, [[0, 0]] * 3]), exchanges=9999)
    assert drawn.facts["exact"] is False
    assert drawn["difference"].p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))
    far = sign_flip(np.tile([[0.0, 10.0]], (40, 1)), np.tile([[10.0, 10.0]], (40, 1)), exchanges=999)
    assert far["difference"].p_value == 1 / 1000


def test_exchanged_runs_turn_the_sign_and_nothing_else() -> None:
    one, other = jackknife_change(BEFORE, AFTER)["difference"], jackknife_change(AFTER, BEFORE)["difference"]
    assert one.estimate == pytest.approx(-(other.estimate or 0))
    assert (one.conf_low, one.conf_high) == pytest.approx((-(other.conf_high or 0), -(other.conf_low or 0)))
    assert sign_flip(BEFORE, AFTER)["difference"].p_value == sign_flip(AFTER, BEFORE)["difference"].p_value


def test_more_seeds_of_the_same_answers_do_not_sharpen_anything() -> None:
    once, five = jackknife_change(BEFORE, AFTER), jackknife_change(5 * BEFORE, 5 * AFTER)
    assert once["difference"].std_error == pytest.approx(five["difference"].std_error)
    assert sign_flip(BEFORE, AFTER)["difference"].p_value == sign_flip(5 * BEFORE, 5 * AFTER)["difference"].p_value


def test_the_order_of_clusters_does_not_matter() -> None:
    order = [3, 1, 4, 0, 2]
    one, other = jackknife_change(BEFORE, AFTER), jackknife_change(BEFORE[order], AFTER[order])
    assert one["difference"].conf_low == pytest.approx(other["difference"].conf_low)
    assert (
        sign_flip(BEFORE, AFTER)["difference"].p_value == sign_flip(BEFORE[order], AFTER[order])["difference"].p_value
    )


def test_bootstrap_error_is_near_the_analytic_one() -> None:
    rng = np.random.default_rng(3)
    old, new = (np.column_stack([rng.binomial(20, 0.3, 60), np.full(60, 20)]) for _ in range(2))
    found = cluster_bootstrap(old, new, resamples=4000)["difference"]
    # Mean of 60 independent changes: their standard deviation (of n) over sqrt(60).
    analytic = np.std((new - old)[:, 0] / 20) / np.sqrt(60)
    assert found.std_error == pytest.approx(analytic, rel=0.05)
    assert found.estimate is not None
    assert found.conf_low is not None
    assert found.conf_low < found.estimate


def test_the_interval_covers_and_the_tests_keep_their_level() -> None:
    # 20 templates of 4 to 40 items; no change on average, but each template moves on its own.
    rng = np.random.default_rng(4)
    covered = rejected = 0
    rounds = 400
    for _ in range(rounds):
        trials = rng.integers(4, 40, size=20)
        base, move = rng.normal(-1, 0.8, 20), rng.normal(0, 0.5, 20)
        old = rng.binomial(trials, 1 / (1 + np.exp(-(base + move))))
        new = rng.binomial(trials, 1 / (1 + np.exp(-(base - move))))
        pairs = (np.column_stack([events, trials]) for events in (old, new))
        before, after = pairs
        change = jackknife_change(before, after)["difference"]
        assert change.conf_low is not None
        assert change.conf_high is not None
        covered += change.conf_low <= 0 <= change.conf_high
        p = sign_flip(before, after, exchanges=199)["difference"].p_value
        assert p is not None
        rejected += p <= 0.05
    # Four standard errors of a share of 400: 0.95 +- 0.044 and 0.05 +- 0.044.
    assert covered / rounds >= 0.906
    assert rejected / rounds <= 0.094


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ([[0, 0]], [[1, 2]], "undefined at baseline: nothing to take the share of"),
        ([[1, 2]], [[0, 0]], "undefined after compression: nothing to take the share of"),
        ([[1, 2]], [[2, 2]], "one template only: no interval"),
        ([[1, 2], [0, 0]], [[2, 2], [0, 0]], "one template only: no interval"),
        ([[1, 2], [1, 2]], [[2, 2], [0, 0]], "undefined without one of the templates: no interval"),
        ([[1, 3], [1, 2]], [[2, 3], [2, 2]], "60% of the trials are of one template: no interval"),
        # Kish: (7 + 1 + 1 + 1)^2 / (49 + 3) = 1.92 of 4 templates.
        (
            [[1, 7], [0, 1], [0, 1], [0, 1]],
            [[3, 7], [1, 1], [0, 1], [0, 1]],
            "70% of the trials are of one template: no interval",
        ),
        ([[1, 2], [1, 2]], [[2, 2], [2, 2]], "every template shows the same: its error is not known"),
        ([[1, 2], [0, 3]], [[1, 2], [0, 3]], NO_CHANGE),
        ([[0, 2], [0, 3]], [[0, 1], [0, 3]], NO_CHANGE),
    ],
)
def test_what_can_not_be_told_is_said(before: list[list[int]], after: list[list[int]], status: str) -> None:
    result = jackknife_change(before, after)
    assert result.status == status
    assert all(estimate.conf_low is None and estimate.p_value is None for estimate in result.estimates)
    assert not result.summary["estimate"].astype(object).map(lambda value: value != value).fillna(False).any()


def test_exchange_and_bootstrap_at_the_edges() -> None:
    same = sign_flip(BEFORE, BEFORE)
    assert (same["difference"].p_value, same.status) == (1.0, NO_CHANGE)
    assert sign_flip([[1, 2]], [[2, 2]])["difference"].p_value == 1.0
    assert sign_flip([[0, 0]], [[1, 2]]).estimates == ()
    assert cluster_bootstrap([[0, 0]], [[1, 2]]).estimates == ()
    assert cluster_bootstrap([[1, 2]], [[2, 2]]).status == "one template only: no interval"
    half = cluster_bootstrap([[1, 2], [0, 0]], [[2, 2], [0, 0]])
    assert half.status == "undefined in more than a tenth of the resamples"
    with pytest.raises(ValueError, match=r"counts \[clusters, columns\] of one shape"):
        jackknife_change([[1, 2]], [[1, 2], [3, 4]])


def test_degrees_of_freedom_are_the_effective_clusters_minus_one() -> None:
    # Kish (1965): 30^2 / (10^2 + 10^2 + 5^2 + 5^2) = 3.6.
    assert effective_clusters([10, 10, 5, 5, 0]) == pytest.approx(3.6)
    assert (effective_clusters([7, 7, 7]), effective_clusters([0, 0])) == (3, 0)
    before = np.array([[3, 10], [1, 10], [2, 5], [0, 5]], dtype=float)
    after = np.array([[5, 10], [4, 10], [2, 5], [1, 5]], dtype=float)
    change = jackknife_change(before, after)["difference"]
    assert change.df == pytest.approx(2.6)
    assert change.std_error is not None
    assert change.conf_high == pytest.approx(0.2 + student.ppf(0.975, 2.6) * change.std_error)
    # Both runs have a say: shares 0.8 and 0.2 of one, 0.2 and 0.8 of the other make two even clusters.
    assert shares_of([4, 1], [10, 40]) == pytest.approx([1, 1])
    assert shares_of([4, 1], [0, 0]) == pytest.approx([0.8, 0.2])
    # Of a statistic of one's own nothing is known, unless it is said.
    own = jackknife_change(before, after, lambda sums: ratio(sums))["difference"]
    assert own.df == 3
    told = jackknife_change(before, after, lambda sums: ratio(sums), size=[10, 10, 5, 5])["difference"]
    assert (told.df, told.conf_low) == pytest.approx((change.df, change.conf_low))
    with pytest.raises(ValueError, match="size of each of 4 clusters"):
        jackknife_change(before, after, size=[1, 2, 3])


def test_clusters_without_trials_change_nothing() -> None:
    # A cautious model names somebody in few templates: the others are no evidence.
    empty = np.zeros((40, 2))
    few, many = (
        jackknife_change(BEFORE, AFTER),
        jackknife_change(*(np.vstack([side, empty]) for side in (BEFORE, AFTER))),
    )
    assert (few.n_clusters, many.n_clusters) == (5, 5)
    assert many["difference"] == few["difference"]


@pytest.mark.parametrize("kind", ["pareto", "dominant"])
def test_the_interval_covers_where_few_templates_tell_most(kind: str) -> None:
    # With clusters - 1 degrees of freedom it covers 0.908 (sizes of a Pareto distribution, index 1.2) and 0.906 (one
    # template as large as the 24 others together) of 2,000 such data sets.
    rng = np.random.default_rng(5)
    covered, told = 0, 0
    for _ in range(400):
        trials = np.array([24 * 24] + 24 * [24]) if kind == "dominant" else np.ceil(8 * (1 + rng.pareto(1.2, 25)))
        base, move = rng.normal(-1, 0.8, 25), rng.normal(0, 0.5, 25)
        sides = (rng.binomial(trials.astype(int), 1 / (1 + np.exp(-(base + sign * move)))) for sign in (1, -1))
        before, after = (np.column_stack([events, trials]) for events in sides)
        change = jackknife_change(before, after)["difference"]
        if change.conf_low is not None and change.conf_high is not None:
            told += 1
            covered += change.conf_low <= 0 <= change.conf_high
    assert told >= 360
    assert covered / told >= 0.93


def test_ratio_is_nan_without_trials_and_t_has_the_clusters_degrees_of_freedom() -> None:
    assert np.isnan(ratio(np.array([0.0, 0.0])))
    change = jackknife_change(BEFORE, AFTER, level=0.9)["difference"]
    assert change.std_error is not None
    assert change.conf_high == pytest.approx(0.16 + student.ppf(0.95, 4) * change.std_error)

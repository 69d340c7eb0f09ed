"""McNemar's test and the tests of square tables, against published numbers and statsmodels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, norm
from statsmodels.stats.contingency_tables import SquareTable
from statsmodels.stats.contingency_tables import mcnemar as reference

from analysis.inference.paired import mcnemar, tango_interval
from analysis.inference.square import bowker, stuart_maxwell

# Unaided distance vision of 7,477 women, right eye by left eye (Stuart 1953; Agresti, Categorical Data Analysis).
VISION = [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
def test_exact_p_is_that_of_statsmodels(lost: int, gained: int, same: int) -> None:
    n = lost + gained + same
    result = mcnemar(lost, gained, n)
    if n == 0:
        assert (result.status, result.estimates) == ("no pair", ())
        return
    # statsmodels.stats.contingency_tables.mcnemar(table, exact=True)
    expected = reference([[same, lost], [gained, 0]], exact=True).pvalue if lost + gained else 1.0
    assert result["risk_difference"].p_value == pytest.approx(expected)
    assert result["risk_difference"].estimate == pytest.approx((gained - lost) / n)


def test_mid_p_by_hand() -> None:
    # 2 of 8: exact 2 (1 + 8 + 28) / 256 = 74 / 256; the mid-p-value takes off the observed 28 / 256.
    result = mcnemar(2, 6, 20)
    assert result["risk_difference"].p_value == pytest.approx(74 / 256)
    assert result["mid_p"].p_value == pytest.approx(46 / 256)
    assert result["odds_ratio"].estimate == 3.0
    # Equal counts: 2 (1/2 P(X = 3) + P(X < 3)) = 1 for 6 pairs.
    # 3 of 6 is the single outcome in the middle: 1 - 20 / 64 / 2. Fagerland et al. have 0.877 of 5 and 5.
    assert mcnemar(3, 3, 10)["mid_p"].p_value == pytest.approx(54 / 64)
    assert mcnemar(5, 5, 10)["mid_p"].p_value == pytest.approx(0.877, abs=5e-4)


@pytest.mark.parametrize(("lost", "gained"), [pair for pair in itertools.product(range(8), repeat=2) if any(pair)])
def test_mid_p_is_that_of_every_outcome_counted(lost: int, gained: int) -> None:
    signs = np.array(list(itertools.product((0, 1), repeat=lost + gained))).sum(axis=1)
    far, mine = np.abs(2 * signs - lost - gained), abs(gained - lost)
    expected = ((far > mine) + 0.5 * (far == mine)).mean()
    assert mcnemar(lost, gained, 20)["mid_p"].p_value == pytest.approx(expected)


def test_odds_ratio_has_clopper_and_pearsons_interval() -> None:
    found = mcnemar(5, 12, 40)["odds_ratio"]
    # scipy.stats.binomtest(12, 17).proportion_ci(method="exact"), as odds
    low, high = binomtest(12, 17).proportion_ci(method="exact")
    assert (found.conf_low, found.conf_high) == pytest.approx((low / (1 - low), high / (1 - high)))
    alone = mcnemar(0, 4, 10)["odds_ratio"]
    assert (alone.estimate, alone.conf_high) == (None, None)
    assert alone.conf_low is not None
    none = mcnemar(4, 0, 10)["odds_ratio"]
    assert (none.estimate, none.conf_low) == (0.0, 0.0)


def test_mid_p_interval_leaves_the_tails_that_it_should() -> None:
    found = mcnemar(5, 12, 40)["odds_ratio_mid_p"]
    assert found.conf_low is not None
    assert found.conf_high is not None
    low, high = (end / (1 + end) for end in (found.conf_low, found.conf_high))
    # Half of the observed 12 of 17 belongs to either tail.
    assert binom.sf(12, 17, low) + binom.pmf(12, 17, low) / 2 == pytest.approx(0.025)
    assert binom.cdf(11, 17, high) + binom.pmf(12, 17, high) / 2 == pytest.approx(0.025)
    exact = mcnemar(5, 12, 40)["odds_ratio"]
    assert (exact.conf_low or 0) < found.conf_low < found.conf_high < (exact.conf_high or 0)
    alone = mcnemar(0, 4, 10)["odds_ratio_mid_p"]
    # No lost pair: p^4 / 2 = 0.025 at the lower end.
    assert alone.conf_low == pytest.approx(0.05**0.25 / (1 - 0.05**0.25))
    assert (alone.estimate, alone.conf_high) == (None, None)


def test_approval_of_the_president() -> None:
    # R: mcnemar.test(matrix(c(794, 86, 150, 570), nrow = 2), correct = FALSE): 17.356, df = 1, p-value = 3.099e-05
    # statsmodels: mcnemar(..., exact=False, correction=False)
    found = mcnemar(150, 86, 1600)["chi_squared"]
    expected = reference([[794, 150], [86, 570]], exact=False, correction=False)
    assert found.statistic == pytest.approx(17.356, abs=5e-4)
    assert found.p_value == pytest.approx(3.099e-05, abs=5e-9)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_airway_responsiveness() -> None:
    # Bentur et al. 2009, as in Fagerland, Lydersen & Laake (2013, 2014): 7 and 1 of 21; exact p 0.070, mid-p 0.039,
    # asymptotic 0.034, Tango's interval -0.517 to -0.026.
    result = mcnemar(7, 1, 21)
    found = [result["risk_difference"].p_value, result["mid_p"].p_value, result["chi_squared"].p_value]
    assert found == pytest.approx([0.070, 0.039, 0.034], abs=5e-4)
    ends = (result["risk_difference"].conf_low, result["risk_difference"].conf_high)
    assert ends == pytest.approx((-0.517, -0.026), abs=5e-4)


def _profile(gained: int, lost: int, n: int, difference: float) -> float:
    """Score statistic with the discordant probability found by maximising the likelihood numerically."""

    def loss(q: float) -> float:
        p, rest = q + difference, 1 - 2 * q - difference
        terms = ((gained, p), (lost, q), (n - gained - lost, rest))
        return -sum(count * np.log(value) if value > 0 else (-1e9 if count else 0.0) for count, value in terms)

    low, high = max(0.0, -difference), (1 - difference) / 2
    q = minimize_scalar(loss, bounds=(low + 1e-13, high - 1e-13), method="bounded", options={"xatol": 1e-12}).x
    return float((gained - lost - n * difference) / np.sqrt(n * (2 * q + difference * (1 - difference))))


@pytest.mark.parametrize(("lost", "gained", "n"), [(5, 12, 40), (1, 9, 50), (20, 22, 300), (3, 3, 12), (0, 6, 30)])
def test_tangos_ends_are_where_the_score_reaches_the_quantile(lost: int, gained: int, n: int) -> None:
    low, high = tango_interval(lost, gained, n)
    z = norm.ppf(0.975)
    assert _profile(gained, lost, n, low) == pytest.approx(z, abs=2e-3)
    assert _profile(gained, lost, n, high) == pytest.approx(-z, abs=2e-3)
    assert low < (gained - lost) / n < high


def test_tango_without_discordant_pairs_and_at_the_end() -> None:
    # With no discordant pair the score is sqrt(n d^2 / (|d| (1 - |d|) + ...)): d = z^2 / (n + z^2) by hand.
    z2 = norm.ppf(0.975) ** 2
    assert tango_interval(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)))
    low, high = tango_interval(0, 10, 10)
    assert 0 < low < 1
    assert high == 1.0
    assert tango_interval(10, 0, 10) == pytest.approx((-high, -low))


def test_no_discordant_pair_is_named() -> None:
    result = mcnemar(0, 0, 50)
    assert result.status == "no discordant pair"
    assert result["risk_difference"].p_value == 1.0
    assert [estimate.term for estimate in result.estimates] == ["risk_difference", "mid_p"]
    with pytest.raises(ValueError, match="lost=3, gained=3, n=5"):
        mcnemar(3, 3, 5)


def test_vision_data() -> None:
    # Published: Stuart-Maxwell 11.96, 3 df, p 0.0075; Bowker 19.11, 6 df, p 0.004 (R: DescTools, mcnemar.test).
    homogeneity, symmetry = stuart_maxwell(VISION)["homogeneity"], bowker(VISION)["symmetry"]
    assert (homogeneity.statistic, homogeneity.df) == pytest.approx((11.96, 3), abs=0.005)
    assert homogeneity.p_value == pytest.approx(0.0075, abs=5e-5)
    assert (symmetry.statistic, symmetry.df) == pytest.approx((19.11, 6), abs=0.005)
    assert symmetry.p_value == pytest.approx(0.004, abs=5e-5)


def test_two_diagnoses() -> None:
    # Fleiss, Levin & Paik (2003), two raters: Stuart-Maxwell 14.00, 2 df, p 0.000912 (R package
    # contingencytables: FleissEveritt_test_paired_cxc(fleiss_2003)).
    found = stuart_maxwell([[35, 5, 0], [15, 20, 5], [10, 5, 5]])["homogeneity"]
    assert (found.statistic, found.df) == pytest.approx((14.0, 2))
    assert found.p_value == pytest.approx(0.000912, abs=5e-7)


def test_roles_that_only_change_in_pairs_give_the_sum_of_their_tests() -> None:
    # 1 with 2 and 3 with 4: the covariance is singular twice over; McNemar's 8^2 / 20 and 5^2 / 25 by hand.
    table = [[9, 14, 0, 0], [6, 9, 0, 0], [0, 0, 9, 15], [0, 0, 10, 9]]
    found = stuart_maxwell(table)
    assert found["homogeneity"].statistic == pytest.approx(64 / 20 + 25 / 25)
    assert found["homogeneity"].df == 2
    assert found.status == "2 of 3 degrees of freedom: some roles have no discordant pair"


def test_the_order_of_roles_and_of_runs_does_not_matter() -> None:
    table = np.array(VISION)
    order = [2, 0, 3, 1]
    for test in (stuart_maxwell, bowker):
        once = test(table).estimates[0].statistic
        assert test(table.T).estimates[0].statistic == pytest.approx(once)
        assert test(table[np.ix_(order, order)]).estimates[0].statistic == pytest.approx(once)


@given(st.lists(st.integers(1, 60), min_size=9, max_size=9))
def test_square_tables_are_those_of_statsmodels(cells: list[int]) -> None:
    table = np.array(cells).reshape(3, 3)
    square = SquareTable(table, shift_zeros=False)
    for ours, theirs in ((stuart_maxwell(table), square.homogeneity()), (bowker(table), square.symmetry())):
        assert ours.estimates[0].statistic == pytest.approx(theirs.statistic, abs=1e-8)
        assert ours.estimates[0].df == theirs.df
        assert ours.estimates[0].p_value == pytest.approx(theirs.pvalue, abs=1e-10)


def test_a_role_that_never_changes_has_no_say() -> None:
    two = stuart_maxwell([[50, 12, 0], [30, 40, 0], [0, 0, 9]])
    # McNemar's (12 - 30)^2 / 42 on the two roles that do.
    assert two["homogeneity"].statistic == pytest.approx(18**2 / 42)
    assert two["homogeneity"].df == 1
    assert two.status == "1 of 2 degrees of freedom: some roles have no discordant pair"
    assert bowker([[50, 12, 0], [30, 40, 0], [0, 0, 9]])["symmetry"].df == 1
    for test in (stuart_maxwell, bowker):
        assert test(np.diag([3, 4, 5])).status == "no discordant pair"
        assert (test(np.diag([3, 4, 5])).n, test(np.diag([3, 4, 5])).n_events) == (12, 0)
        assert test(np.zeros((3, 3))).status == "no pair"
        assert test([[1, 2, 0], [3, 1, 0], [0, 1, 1]]).status.startswith("6 discordant pairs")
        with pytest.raises(ValueError, match="square table"):
            test([[1, 2, 3]])


def test_roles_that_no_pair_joins_are_tested_apart() -> None:
    # Two answers change places between roles 0 and 1, others between 2 and 3: two McNemar tests in one.
    table = np.diag([5.0, 6, 7, 8])
    table[0, 1], table[1, 0], table[2, 3], table[3, 2] = 12, 4, 3, 9
    found = stuart_maxwell(table)["homogeneity"]
    assert found.df == 2
    assert found.statistic == pytest.approx((12 - 4) ** 2 / 16 + (3 - 9) ** 2 / 12)
    # A million pairs beside one: the rank is counted and hangs on no tolerance.
    table[2, 3], table[0, 1] = 1, 10**12
    table[3, 2] = 0
    found = stuart_maxwell(table)["homogeneity"]
    assert found.df == 2
    assert found.statistic == pytest.approx((10**12 - 4) ** 2 / (10**12 + 4) + 1)

"""The sources' tests as we measure them, against the literal procedure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, chi2

from validity.reference import benchmark_permutation, pooled_chi2


def test_pooled_chi2_by_hand() -> None:
    # 20 of 100 and 30 of 100: Yates' statistic 200 (|20 x 70 - 30 x 80| - 100)^2 / (50 x 150 x 100 x 100) = 2.16.
    assert pooled_chi2(20, 30, 100) == pytest.approx(chi2.sf(2.16, 1))
    assert math.isnan(pooled_chi2(0, 0, 100))


def test_permutation_has_the_distribution_of_the_literal_one() -> None:
    rng = np.random.default_rng(4)
    difference = rng.choice([-1.0, -0.4, 0.0, 0.0, 0.2, 0.4], size=60)
    ours = np.mean([benchmark_permutation(difference, np.random.default_rng(i), draws=4000) for i in range(5)])
    literal = []
    for _ in range(20_000):
        swapped = np.where(rng.random(60) < 0.5, difference, -difference)
        literal.append(abs(swapped[rng.integers(60, size=60)].sum()) >= abs(difference.sum()) - 1e-9)
    # Both are shares of 20,000 draws: a standard error of at most 0.0035 each.
    assert ours == pytest.approx(np.mean(literal), abs=0.02)


def test_without_resampling_it_is_the_exact_sign_test_for_equal_differences() -> None:
    # Nine items up, three down: P(|2 X - 12| >= 6) for X of twelve fair coins.
    difference = np.array([1.0] * 9 + [-1.0] * 3 + [0.0] * 20)
    exact = 2 * binom.sf(8, 12, 0.5)
    ours = benchmark_permutation(difference, np.random.default_rng(0), draws=40_000, resample=False)
    assert ours == pytest.approx(exact, abs=0.01)  # five standard errors of 40,000 draws


def test_permutation_never_gives_zero_and_sees_no_change_as_none() -> None:
    assert benchmark_permutation(np.ones(50), np.random.default_rng(0)) == 1 / 1000
    assert benchmark_permutation(np.zeros(50), np.random.default_rng(0)) == 1

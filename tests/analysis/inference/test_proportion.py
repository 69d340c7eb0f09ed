from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from analysis.inference.proportion import wilson


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

"""Intervals in log-odds: by the delta method, and none where there was none."""

from __future__ import annotations

import pytest
from scipy.special import expit, logit
from scipy.stats import t

from analysis.inference._log_odds import on_log_odds
from analysis.inference.clusters import jackknife
from analysis.inference.result import Estimate


def test_the_interval_is_that_of_the_logit() -> None:
    found = on_log_odds(Estimate(term="x", estimate=0.1, std_error=0.03, df=7.5, conf_low=0.03, conf_high=0.17), 0.95)
    # scipy.stats.t.interval of the logit, whose error is 0.03 / (0.1 x 0.9).
    ends = t.interval(0.95, 7.5, logit(0.1), 0.03 / 0.09)
    assert (found.conf_low, found.conf_high) == pytest.approx(tuple(expit(ends)))


@pytest.mark.parametrize("counts", [[[3, 7], [1, 1], [0, 1], [0, 1]], [[1, 2]], [[0, 3], [0, 3]], [[1, 2], [1, 2]]])
def test_without_an_interval_there_is_none_in_log_odds(counts: list[list[int]]) -> None:
    # One large template (Kish: 10^2 / 52), one alone, no event, the same in all.
    (given,) = jackknife(counts).estimates
    found = on_log_odds(given, 0.95)
    assert found == given
    assert (found.conf_low, found.conf_high) == (None, None)

"""Intervals of shares on the scale of log-odds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from .result import Estimate

__all__ = ["on_log_odds"]


def on_log_odds(estimate: Estimate, level: float) -> Estimate:
    """An estimate in (0, 1) with its t interval taken in log-odds and brought back: logit r -+ t se / (r (1 - r)).

    The interval stays within [0, 1], and holds better where r is near an end and its distribution skew. Without an
    interval to begin with (no known error, fewer than two effective clusters), and at 0 or 1, the estimate is given
    back as it is.
    """
    value, error, df = estimate.estimate, estimate.std_error, estimate.df
    if value is None or error is None or not df or estimate.conf_low is None or not 0 < value < 1:
        return estimate
    reach = t.isf((1 - level) / 2, df) * error / (value * (1 - value))
    low, high = (float(end) for end in expit(logit(value) + np.array([-reach, reach])))
    return replace(estimate, conf_low=low, conf_high=high)

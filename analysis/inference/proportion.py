"""Intervals for a proportion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

__all__ = ["LEVEL", "wilson"]

LEVEL = 0.95
"""Confidence level of every interval in the tables."""


def wilson(
    count: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Wilson's score interval of a proportion, the units taken as independent.

    The ends are the two p0 with |count / n - p0| = z sqrt(p0 (1 - p0) / n), z the normal quantile of
    (1 + level) / 2 (Wilson 1927): inside [0, 1], and of positive width at 0 and at n events too.

    Args:
        count: Events, 0 to n; an array, or a number for one proportion.
        n: Trials, of a shape that broadcasts with `count`.
        level: Two-sided confidence level in (0, 1).

    Returns:
        Lower and upper ends, float64, of the broadcast shape. NaN where n is 0.
    """
    events, trials = np.broadcast_arrays(np.asarray(count, dtype=float), np.asarray(n, dtype=float))
    z = float(norm.ppf((1 + level) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = events / trials
        scale = 1 + z * z / trials
        center = (p + z * z / (2 * trials)) / scale
        half = z * np.sqrt((p * (1 - p) + z * z / (4 * trials)) / trials) / scale
        # At 0 or n events the exact end is 0 or 1; rounding would leave a hair of either sign.
        low = np.where((events == 0) & (trials > 0), 0.0, center - half)
        high = np.where((events == trials) & (trials > 0), 1.0, center + half)
    return low, high

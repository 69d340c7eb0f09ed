"""Empirical-Bayes shrinkage of many noisy estimates towards their common mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

__all__ = ["FEWEST", "Shrunken", "shrink"]

FEWEST = 3
"""Estimates that shrinkage needs: below it the variance between them is hardly an estimate at all."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shrunken:
    """Shrunken estimates, in the unit of those that came in."""

    mean: Floats
    """[k] posterior means, each between its raw estimate and the common mean."""
    low: Floats
    """[k] lower ends of the posterior intervals."""
    high: Floats
    tau: float
    """Standard deviation between the true values, estimated; 0 where the estimates differ no more than noise."""


def shrink(estimate: Floats, std_error: Floats, level: float = 0.95) -> Shrunken | None:
    """Shrink estimates by the normal-normal model y_i ~ N(theta_i, s_i^2), theta_i ~ N(mu, tau^2).

    tau^2 by DerSimonian and Laird (1986): max(0, (Q - (k - 1)) / (sum w - sum w^2 / sum w)) with w = 1 / s^2
    and Q = sum w (y - weighted mean)^2. With v = 1 / (s^2 + tau^2) and B = s^2 / (s^2 + tau^2), mu is the
    v-weighted mean, the posterior mean B mu + (1 - B) y, and its variance (1 - B) s^2 + B^2 / sum v (Efron
    and Morris 1973; Morris 1983, without his term for the uncertainty of tau^2: at few estimates the
    intervals are somewhat short). Estimates are taken as independent and s_i as known.

    Args:
        estimate: [k] raw estimates.
        std_error: [k] their standard errors, all positive.
        level: Level of the posterior intervals, in (0, 1).

    Returns:
        The shrunken estimates; None for fewer than FEWEST.

    Raises:
        ValueError: If a standard error is not positive and finite.
    """
    if not bool(np.all((std_error > 0) & np.isfinite(std_error))):
        raise ValueError(f"standard errors must be positive and finite, got {std_error}")
    if len(estimate) < FEWEST:
        return None
    variance = std_error**2
    weight = 1 / variance
    q = float(np.sum(weight * (estimate - np.average(estimate, weights=weight)) ** 2))
    spread = (q - (len(estimate) - 1)) / (weight.sum() - np.sum(weight**2) / weight.sum())
    tau2 = max(0.0, float(spread))
    total = 1 / (variance + tau2)
    common = float(np.average(estimate, weights=total))
    pull = variance * total
    mean = pull * common + (1 - pull) * estimate
    half = float(norm.ppf((1 + level) / 2)) * np.sqrt((1 - pull) * variance + pull**2 / total.sum())
    return Shrunken(mean=mean, low=mean - half, high=mean + half, tau=tau2**0.5)

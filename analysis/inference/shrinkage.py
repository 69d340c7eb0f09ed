"""Empirical-Bayes shrinkage of many noisy estimates towards their common mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from ._rounding import settled

__all__ = ["FEWEST", "Shrunken", "shrink"]

FEWEST = 4
"""Estimates that shrinkage needs: Morris' factor (k - 3) / (k - 1) is 0 below it."""

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


def shrink(
    estimate: Floats, covariance: Floats, weight: Floats, df: npt.ArrayLike, level: float = 0.95
) -> Shrunken | None:
    """Shrink estimates by the normal-normal model y ~ N(theta, S), theta_i ~ N(mu, tau^2).

    With a = weight / sum of weight: mu = sum a y; tau^2 is the moment estimate for given weights (DerSimonian and
    Kacker 2007), max(0, (sum a (y - mu)^2 - sum a diag(P S P')) / sum a diag(P P')) with P = I - 1 a', so that
    estimates may share data. At a diagonal S and weights 1 / diag(S) it is DerSimonian and Laird's (1986).

    With s^2 = diag(S) and B = (k - 3) / (k - 1) s^2 / (s^2 + tau^2), the posterior mean is B mu + (1 - B) y, and its
    variance (1 - B) s^2 + B^2 var(mu) + 2 / (k - 3) B^2 (y - mu)^2 with var(mu) = a' S a + tau^2 sum a^2 (Morris
    1983): the factor and the last term are for the uncertainty of tau^2, so that even estimates that differ no
    more than noise are not made one. Intervals take Student's quantile, each estimate with its own degrees of freedom:
    where the true values differ an estimate hardly leans on the others, and is known as well as its own templates tell.

    In families of 8 or 12 groups of 3 to 40 templates, 600 simulated each, 95 % intervals cover 0.94 to 0.96 where the
    true values differ (by a third of a template's spread and more) and 0.98 where they do not. With the degrees of
    freedom of all templates together it was 0.87 to 0.94, and 0.77 to 0.90 in the groups of fewest templates.

    Args:
        estimate: [k] raw estimates.
        covariance: [k, k] their covariance S, with a positive diagonal.
        weight: [k] positive weights of the common mean that do not depend on the estimates.
        df: [k] degrees of freedom that each variance was estimated with, or one for all.
        level: Level of the posterior intervals, in (0, 1).

    Returns:
        The shrunken estimates; None for fewer than FEWEST.

    Raises:
        ValueError: If a variance or a weight is not positive and finite.
    """
    variance = np.diagonal(covariance)
    if not bool(np.all((variance > 0) & np.isfinite(variance) & (weight > 0) & np.isfinite(weight))):
        raise ValueError(f"variances and weights must be positive and finite, got {variance} and {weight}")
    k = len(estimate)
    if k < FEWEST:
        return None
    share = weight / weight.sum()
    common = float(share @ estimate)
    centred = np.eye(k) - share
    noise = share @ np.diagonal(centred @ covariance @ centred.T)
    spread = share @ (estimate - common) ** 2
    excess = settled(spread - noise, spread + noise)
    tau2 = max(0.0, float(excess / (share @ np.diagonal(centred @ centred.T))))
    pull = (k - 3) / (k - 1) * variance / (variance + tau2)
    mean = pull * common + (1 - pull) * estimate
    of_common = share @ covariance @ share + tau2 * share @ share
    of_pull = 2 / (k - 3) * (estimate - common) ** 2
    half = t.isf((1 - level) / 2, np.broadcast_to(df, k)) * np.sqrt(
        (1 - pull) * variance + pull**2 * (of_common + of_pull)
    )
    return Shrunken(mean=mean, low=mean - half, high=mean + half, tau=tau2**0.5)

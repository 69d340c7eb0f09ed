"""What the largest of many group changes would be by chance: groups that share templates, drawn together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, t

from ._rounding import RELATIVE, settled

__all__ = ["Ratios", "null_extremes", "ratios", "simultaneous_quantiles"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Ratios of sums over clusters, one per group, and how well they are known."""

    ratio: Floats
    """[groups] sum of net / sum of n; NaN without units."""
    std_error: Floats
    """[groups] NaN with fewer than two clusters; 0 where all clusters give the same ratio."""
    covariance: Floats
    """[groups, groups] the ratios' covariance: groups that share clusters move together."""
    clusters: Ints
    """[groups] clusters with a unit of the group."""
    effective: Floats
    """[groups] the number of equally large clusters that weigh as evenly; NaN without units."""


def ratios(net: Floats, n: Floats) -> Ratios:
    """Estimate ratios of sums with their cluster-robust errors.

    Linearised (Cochran 1977, section 6.3): with u_g = net_g - ratio n_g, the variance is E / (E - 1) sum u_g^2 /
    (sum n)^2, where E = (sum n)^2 / sum n^2 is Kish's (1965) effective number of clusters: G of equal size, fewer
    where some are much larger. G / (G - 1) in its place is a little too small for groups of few templates.

    Args:
        net: [clusters, groups] numerator of each cluster.
        n: [clusters, groups] denominator, 0 for a cluster without the group.

    Returns:
        The ratios.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        total = n.sum(axis=0)
        ratio = net.sum(axis=0) / total
        clusters = np.count_nonzero(n, axis=0)
        effective = total**2 / np.sum(n**2, axis=0)
        factor = np.where(clusters > 1, effective / (effective - 1), np.nan)
        # Clusters that all give the group's ratio differ from it by rounding alone.
        apart = settled(net - ratio * n, np.abs(net) + np.abs(ratio) * n)
        pull = np.where(n > 0, apart, 0.0) * np.sqrt(factor) / total
    covariance = pull.T @ pull
    error = np.sqrt(np.diagonal(covariance))
    return Ratios(ratio=ratio, std_error=error, covariance=covariance, clusters=clusters, effective=effective)


def simultaneous_quantiles(net: Floats, n: Floats, block: Ints, *, level: float, resamples: int, seed: int) -> Floats:
    """Multipliers of the standard errors that make the intervals of all groups hold at once.

    Max-T on the scale of p-values (min-P; Westfall and Young 1993, section 2.3): clusters are drawn with
    replacement within their block, once for all groups, so that groups sharing templates move together; each
    group's |deviation| gets its rank among the resamples as a p-value; the (1 - level) quantile of their
    smallest p-value is the level at which each group's own interval has to be made. The multiplier is Student's
    quantile there, with the group's effective clusters - 1 degrees of freedom. Ranks, because groups of few
    templates have longer tails, which would otherwise set the multiplier of all.

    Args:
        net: [clusters, groups] numerator of each cluster, at least one group.
        n: [clusters, groups] denominator.
        block: [clusters] number of the block (category) that a cluster is drawn within.
        level: Joint confidence level in (0, 1).
        resamples: How many; the smallest p-value that can be told is 1 / resamples.
        seed: Of the resamples.

    Returns:
        [groups] multipliers, each at least that of the single interval; infinite with fewer than two clusters.
    """
    weight = _weights(tuple(block.tolist()), resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs((weight @ net) / (weight @ n) - net.sum(axis=0) / n.sum(axis=0))
    # A resample may hold no template of a small group: it says nothing of this group, and of the others all.
    away = np.nan_to_num(away, nan=0.0)
    # Ties (resamples that a few templates make equal) are broken: shared, they would make the level too lenient for
    # Student's quantile, which knows no ties.
    p_value = (resamples + 1 - rankdata(away, method="ordinal", axis=0)) / resamples
    smallest = np.sort(p_value.min(axis=1))
    # The largest level that at most 1 - level of the resamples fall to; never below Bonferroni's, which always holds.
    # 1 - 0.9 is a hair below 0.1, and a tenth of 100 resamples is 10 of them.
    allowed = (1 - level) * resamples * (1 + RELATIVE)
    reached = smallest[np.searchsorted(smallest, smallest, side="right") <= allowed]
    each = max(float(reached.max(initial=0.0)), (1 - level) / net.shape[1])
    tail = min(each, 1 - level) / 2
    effective = n.sum(axis=0) ** 2 / np.sum(n**2, axis=0)
    return np.where(np.count_nonzero(n, axis=0) > 1, t.isf(tail, np.maximum(effective - 1, 1e-9)), np.inf)


@lru_cache(maxsize=8)
def _weights(block: tuple[int, ...], resamples: int, seed: int) -> Floats:
    """How often each resample has each cluster, [resamples, clusters]; the same for every run of the same items."""
    rng = np.random.default_rng(seed)
    home = np.array(block)
    weight = np.zeros((resamples, len(block)))
    for number in np.unique(home):
        inside = np.flatnonzero(home == number)
        weight[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=resamples)
    return weight


def null_extremes(net: Floats, n: Floats, *, flips: int, seed: int) -> Floats:
    """Largest |ratio| over groups when nothing changed: each cluster's changes get one sign, + or - alike.

    Without a change the two runs of a pair are exchangeable, so a template's net change is as likely of either
    sign; one sign a template keeps its items and the groups that share it together.

    Args:
        net: [clusters, groups] net change of each cluster, at least one group.
        n: [clusters, groups] units.
        flips: Random sign flips.
        seed: Of the random signs.

    Returns:
        [flips] largest |sum of signed net / sum of n| over the groups.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(flips, len(net)))
    return np.asarray(np.max(np.abs(signs @ net) / n.sum(axis=0), axis=1), dtype=np.float64)

"""What the largest of many group changes would be by chance: groups that share templates, drawn together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, t

__all__ = ["null_extremes", "ratio_error", "simultaneous_quantiles"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ratio_error(net: Floats, n: Floats) -> tuple[Floats, Floats, Ints]:
    """Ratios of sums over clusters with their cluster-robust standard errors.

    The ratio is sum net / sum n; its linearised variance G / (G - 1) sum (net_g - ratio n_g)^2 / (sum n)^2
    over the G clusters that have a unit of the group (Cochran 1977, section 6.3).

    Args:
        net: [clusters, groups] numerator of each cluster.
        n: [clusters, groups] denominator, 0 for a cluster without the group.

    Returns:
        Ratio [groups] (NaN without units), standard error [groups] (NaN with fewer than two clusters),
        number of clusters [groups].
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = net.sum(axis=0) / n.sum(axis=0)
        clusters = np.count_nonzero(n, axis=0)
        residual = np.where(n > 0, net - ratio * n, 0.0)
        factor = np.where(clusters > 1, clusters / (clusters - 1.0), np.nan)
        error = np.sqrt(factor * np.sum(residual**2, axis=0)) / n.sum(axis=0)
    return ratio, error, clusters


def simultaneous_quantiles(net: Floats, n: Floats, block: Ints, *, level: float, draws: int, seed: int) -> Floats:
    """Multipliers of the standard errors that make the intervals of all groups hold at once.

    Max-T on the scale of p-values (min-P; Westfall and Young 1993, section 2.3): clusters are drawn with
    replacement within their block, once for all groups, so that groups sharing templates move together; each
    group's |deviation| gets its rank among the draws as a p-value; the (1 - level) quantile of the draws'
    smallest p-value is the level at which each group's own interval has to be made. The multiplier is Student's
    quantile there, with the group's clusters - 1 degrees of freedom. Ranks, because groups of few templates have
    longer tails, which would otherwise set the multiplier of all.

    Args:
        net: [clusters, groups] numerator of each cluster, at least one group.
        n: [clusters, groups] denominator.
        block: [clusters] number of the block (category) that a cluster is drawn within.
        level: Joint confidence level in (0, 1).
        draws: Bootstrap draws; the smallest p-value that can be told is 1 / draws.
        seed: Of the random draws.

    Returns:
        [groups] multipliers, each at least that of the single interval; infinite with fewer than two clusters.
    """
    rng = np.random.default_rng(seed)
    weight = np.zeros((draws, len(block)))
    for number in np.unique(block):
        inside = np.flatnonzero(block == number)
        weight[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs((weight @ net) / (weight @ n) - net.sum(axis=0) / n.sum(axis=0))
    # A draw may hold no template of a small group: it says nothing of this group, and of the others all.
    away = np.nan_to_num(away, nan=0.0)
    # Ties (draws that a few templates make equal) are broken: shared, they would make the level too lenient for
    # Student's quantile, which knows no ties.
    p_value = (draws + 1 - rankdata(away, method="ordinal", axis=0)) / draws
    smallest = np.sort(p_value.min(axis=1))
    # The largest level that at most 1 - level of the draws fall to; never below Bonferroni's, which always holds.
    reached = smallest[np.searchsorted(smallest, smallest, side="right") <= (1 - level) * draws]
    each = max(float(reached.max(initial=0.0)), (1 - level) / net.shape[1])
    tail = min(each, 1 - level) / 2
    freedom = np.count_nonzero(n, axis=0) - 1
    return np.where(freedom > 0, t.isf(tail, np.maximum(freedom, 1)), np.inf)


def null_extremes(net: Floats, n: Floats, *, draws: int, seed: int) -> Floats:
    """Largest |ratio| over groups when nothing changed: each cluster's changes get one sign, + or - alike.

    Without a change the two runs of a pair are exchangeable, so a template's net change is as likely of either
    sign; one sign a template keeps its items and the groups that share it together.

    Args:
        net: [clusters, groups] net change of each cluster, at least one group.
        n: [clusters, groups] units.
        draws: Sign patterns.
        seed: Of the random signs.

    Returns:
        [draws] largest |sum of signed net / sum of n| over the groups.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(net)))
    return np.asarray(np.max(np.abs(signs @ net) / n.sum(axis=0), axis=1), dtype=np.float64)

"""More than two roles, twice: has their distribution changed, and are changes as frequent in both directions?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2

from .result import Estimate, Result

__all__ = ["bowker", "stuart_maxwell"]

Floats = npt.NDArray[np.float64]


def stuart_maxwell(table: npt.ArrayLike) -> Result:
    """Stuart and Maxwell's test that both runs choose each role equally often (marginal homogeneity).

    With d the differences of the margins and V their covariance under the null, V_ii = n_i. + n_.i - 2 n_ii and
    V_ij = -(n_ij + n_ji), the statistic is d' V^- d with the rank of V as degrees of freedom (Stuart 1955, Maxwell
    1970). V is the Laplacian of the graph whose edges are the roles with discordant pairs, so that its rank is K less
    the parts which these edges join the roles into: K - 1 unless a role has no discordant pair, which has no say.

    Args:
        table: [roles, roles] counts of pairs, baseline in rows.

    Returns:
        Term "homogeneity" with statistic, df and p_value; none without a discordant pair, and the status says so.
    """
    counts, discordant = _square(table)
    method = "Stuart-Maxwell test, pairs independent"
    n, events = int(counts.sum()), int(discordant.sum())
    if not events:
        return Result(method=method, n=n, n_events=0, status="no discordant pair" if n else "no pair")
    difference = counts.sum(axis=1) - counts.sum(axis=0)
    both = discordant + discordant.T
    covariance = np.diag(both.sum(axis=1)) - both
    # One role of each part is told by the others: without it the matrix has full rank, whatever the rounding.
    _, part = connected_components(both, directed=False)
    kept = np.setdiff1d(np.arange(len(counts)), np.unique(part, return_index=True)[1])
    statistic = float(difference[kept] @ np.linalg.solve(covariance[np.ix_(kept, kept)], difference[kept]))
    return _tested(method, "homogeneity", statistic, len(kept), n, events, len(counts) - 1)


def bowker(table: npt.ArrayLike) -> Result:
    """Bowker's test that each change is as frequent as its reverse (symmetry).

    The sum over pairs of roles of (n_ij - n_ji)^2 / (n_ij + n_ji), with as many degrees of freedom as there are pairs
    of roles with a discordant pair (Bowker 1948).

    Args:
        table: [roles, roles] counts of pairs, baseline in rows.

    Returns:
        Term "symmetry" with statistic, df and p_value; none without a discordant pair.
    """
    counts, discordant = _square(table)
    method = "Bowker's test, pairs independent"
    n, events = int(counts.sum()), int(discordant.sum())
    if not events:
        return Result(method=method, n=n, n_events=0, status="no discordant pair" if n else "no pair")
    rows, columns = np.triu_indices(len(counts), 1)
    sums = counts[rows, columns] + counts[columns, rows]
    gaps = counts[rows, columns] - counts[columns, rows]
    statistic = float((gaps[sums > 0] ** 2 / sums[sums > 0]).sum())
    return _tested(method, "symmetry", statistic, int((sums > 0).sum()), n, events, len(rows))


def _square(table: npt.ArrayLike) -> tuple[Floats, Floats]:
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(f"expected a square table of counts, got shape {counts.shape}")
    return counts, counts - np.diag(np.diag(counts))


def _tested(method: str, term: str, statistic: float, df: int, n: int, events: int, most: int) -> Result:
    status = "ok"
    if df < most:
        status = f"{df} of {most} degrees of freedom: some roles have no discordant pair"
    if events < 10:
        status = f"{events} discordant pairs: the chi-squared approximation is poor below 10"
    estimate = Estimate(term=term, statistic=statistic, df=df, p_value=float(chi2.sf(statistic, df)))
    return Result(method=method, estimates=(estimate,), n=n, n_events=events, status=status)

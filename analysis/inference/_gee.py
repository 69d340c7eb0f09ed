"""Estimating equations of a clustered logistic model, on counts: fit, sandwich and its small-sample form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from ._logit import Floats, Ints, Records, absolute_scores, by_code, columns_by_code, fit_logit
from ._rounding import settled

__all__ = ["GeeFit", "effective_df", "fit_gee", "told_of"]


@dataclass(frozen=True, kw_only=True)
class GeeFit:
    """Coefficients with their covariances."""

    beta: Floats
    """[terms]"""
    cov: Floats
    """[terms, terms] cluster-robust, bias-reduced (Mancl and DeRouen 2001); 0 for a term that no cluster moves."""
    cov_unit: Floats | None
    """[terms, terms] robust with the units (items) as the clusters; None if no units were given."""
    working: str
    """exchangeable or independence."""
    correlation: float
    """Of the working correlation; 0 for independence."""
    converged: bool
    told: Floats
    """[clusters, terms, terms] what each cluster tells: its part of the coefficients' model-based covariance."""
    note: str = ""
    """Why the working correlation is not the one that was asked for; empty if it is."""

    def df(self, rows: Floats) -> Floats:
        """Degrees of freedom of linear combinations of the coefficients, [rows] of [rows, terms]; at least 0."""
        return effective_df(self.told, rows)


def effective_df(told: Floats, rows: Floats) -> Floats:
    """The degrees of freedom that a sandwich over clusters has for linear combinations c of coefficients.

    A cluster of information Q_c has the part v_c = c' B^-1 Q_c B^-1 c in the combination's variance, which is their
    sum; with parts as weights, the effective number of clusters is Kish's (1965), (sum v)^2 / sum v^2. The degrees of
    freedom are one less, or clusters minus terms if these are fewer. Clusters of one size and one set of doses are
    clusters minus terms; those with few records, or without the doses that tell of c, hardly count.

    Args:
        told: [clusters, terms, terms] B^-1 Q_c B^-1.
        rows: [rows, terms]

    Returns:
        [rows]
    """
    parts = np.maximum(np.einsum("ri,cij,rj->rc", rows, told, rows), 0.0)
    squares = np.square(parts).sum(axis=1)
    effective = parts.sum(axis=1) ** 2 / np.where(squares > 0, squares, 1.0)
    return np.asarray(np.clip(np.minimum(effective - 1, told.shape[0] - told.shape[1]), 0.0, None))


def fit_gee(records: Records, *, fine: tuple[Records, Ints] | None = None, working: str = "exchangeable") -> GeeFit:
    """Fit P(event) = expit(design @ beta) with one correlation for all pairs of records of a cluster.

    The correlation is the moment estimate of Liang and Zeger (1986), as in statsmodels: mean product of the
    Pearson residuals over the pairs, divided by the scale, both with their counts less the number of terms. All
    sums over records are sums over cells, since the records of a cell share their mean. Where the exchangeable
    form does not converge, or its correlation leaves the range of a correlation matrix, independence is taken.

    Bias reduction: with U_c the score of cluster c, Q_c its information and B their sum, the adjusted score
    D' V^-1 (I - H_c)^-1 (y - mu) is B (B - Q_c)^-1 U_c (Woodbury), so the covariance is the sum over clusters of
    g g' with g = (B - Q_c)^-1 U_c.

    Args:
        records: Cells; a maximum likelihood estimate must exist.
        fine: For cov_unit: the same records in cells that lie within a unit, and the unit of each cell.
        working: exchangeable or independence.

    Raises:
        numpy.linalg.LinAlgError: If one cluster alone carries a term, so that there is no variance.
    """
    start, ok = fit_logit(records)
    beta, alpha, note = start, 0.0, ""
    if working == "exchangeable":
        found = _iterate(records, start)
        if found is None:
            working, note = "independence", "exchangeable correlation did not converge: independence taken"
        else:
            beta, alpha, ok = *found, True
    score, information = _parts(records, beta, alpha)
    total = information.sum(axis=0)
    rest = total - information
    if np.linalg.cond(rest).max() > 1e12:
        raise np.linalg.LinAlgError("one cluster alone carries a term")
    influence = np.linalg.solve(rest, score[:, :, None])[:, :, 0]
    # Clusters that all show the same move a term by rounding alone.
    size = absolute_scores(records, beta) / (1 - alpha)
    influence = settled(influence, np.einsum("cij,cj->ci", np.abs(np.linalg.inv(rest)), size))
    cov_unit = None if fine is None else _unit_covariance(records, beta, alpha, *fine, total)
    return GeeFit(
        beta=beta,
        cov=influence.T @ influence,
        cov_unit=cov_unit,
        working=working,
        correlation=alpha,
        converged=ok,
        told=_told(information, np.linalg.inv(total)),
        note=note,
    )


def told_of(records: Records, beta: Floats) -> Floats:
    """`GeeFit.told` at any coefficients, records taken as independent."""
    information = _parts(records, beta, 0.0)[1]
    return _told(information, np.linalg.inv(information.sum(axis=0)))


def _told(information: Floats, bread: Floats) -> Floats:
    return np.asarray(np.einsum("ij,cjk,kl->cil", bread, information, bread))


def _iterate(records: Records, beta: Floats) -> tuple[Floats, float] | None:
    """Alternate the correlation and a Fisher step; None without convergence to a legal correlation."""
    size = by_code(records.n, records.cluster, records.n_clusters)
    if size.max() < 2:
        return None
    lowest = -1 / (size.max() - 1)
    for _ in range(100):
        alpha = _correlation(records, beta, size)
        if not lowest < alpha < 1:
            return None
        score, information = _parts(records, beta, alpha)
        step = np.linalg.solve(information.sum(axis=0), score.sum(axis=0))
        if not np.isfinite(step).all() or np.abs(step).max() > 20:
            return None
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            return beta, _correlation(records, beta, size)
    return None


def _correlation(records: Records, beta: Floats, size: Floats) -> float:
    """Moment estimate of the common correlation."""
    mean = expit(records.design @ beta)
    squares = float(
        np.sum((records.events * (1 - mean) ** 2 + (records.n - records.events) * mean**2) / _variance(mean))
    )
    residual = (records.events - records.n * mean) / np.sqrt(_variance(mean))
    products = (np.sum(by_code(residual, records.cluster, records.n_clusters) ** 2) - squares) / 2
    terms = len(beta)
    pairs = float(np.sum(size * (size - 1)) / 2)
    if pairs <= terms or size.sum() <= terms:
        return 0.0
    return float(products / (pairs - terms) / (squares / (size.sum() - terms)))


def _parts(records: Records, beta: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Score [clusters, terms] and information [clusters, terms, terms] of each cluster.

    The inverse of an exchangeable matrix of size m is (I - k J) / (1 - alpha), k = alpha / (1 - alpha + alpha m).
    """
    x, code, size = records.design, records.cluster, records.n_clusters
    mean = expit(x @ beta)
    root = np.sqrt(_variance(mean))
    residual = (records.events - records.n * mean) / root
    row = root[:, None] * x
    terms = x.shape[1]
    k = alpha / (1 - alpha + alpha * by_code(records.n, code, size))
    whole = columns_by_code(records.n[:, None] * row, code, size)
    score = columns_by_code(residual[:, None] * row, code, size)
    score = score - (k * by_code(residual, code, size))[:, None] * whole
    information: Floats = np.empty((size, terms, terms))
    # Product by product: all of them at once would be terms^2 numbers a cell.
    for i in range(terms):
        for j in range(i + 1):
            information[:, i, j] = information[:, j, i] = by_code(row[:, i] * row[:, j] * records.n, code, size)
    information = information - k[:, None, None] * whole[:, :, None] * whole[:, None, :]
    return score / (1 - alpha), information / (1 - alpha)


def _unit_covariance(records: Records, beta: Floats, alpha: float, fine: Records, unit: Ints, total: Floats) -> Floats:
    """Sandwich whose middle is summed over units: each one's share of its cluster's score, units independent."""
    code, size = records.cluster, records.n_clusters
    k = alpha / (1 - alpha + alpha * by_code(records.n, code, size))
    root = np.sqrt(_variance(expit(records.design @ beta)))
    whole = k[:, None] * columns_by_code((records.n * root)[:, None] * records.design, code, size)
    mean = expit(fine.design @ beta)
    root = np.sqrt(_variance(mean))
    residual = (fine.events - fine.n * mean) / root
    n_units = int(unit.max()) + 1
    home = np.zeros(n_units, dtype=np.int64)
    home[unit] = fine.cluster
    score = columns_by_code((residual * root)[:, None] * fine.design, unit, n_units)
    score = (score - by_code(residual, unit, n_units)[:, None] * whole[home]) / (1 - alpha)
    used = len(np.unique(unit))
    bread = np.linalg.inv(total)
    largest = absolute_scores(replace(fine, cluster=unit, n_clusters=n_units), beta) / (1 - alpha)
    influence = settled(score @ bread, largest @ np.abs(bread))
    return np.asarray(influence.T @ influence * (used / max(used - 1, 1)))


def _variance(mean: Floats) -> Floats:
    return np.maximum(mean * (1 - mean), 1e-12)

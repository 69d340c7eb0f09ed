"""Likelihood of a logistic model with one normal intercept per cluster, by adaptive Gauss-Hermite quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ._gee import effective_df, told_of
from ._logit import Floats, Records, absolute_scores, by_code, columns_by_code
from ._rounding import settled

__all__ = ["MixedFit", "MixedLikelihood", "fit_mixed"]


_SEARCHED = 1e-6
"""Share of its summands' size below which a cluster's score is 0: the search stops at 1e-7."""


@dataclass(frozen=True, kw_only=True)
class MixedFit:
    """Maximum of the likelihood. Parameters: the coefficients, then the standard deviation of the intercepts."""

    beta: Floats
    sd: float
    log_likelihood: float
    """Of the single records, so without binomial coefficients."""
    cov_model: Floats
    """[terms + 1, terms + 1] inverse of the observed information."""
    cov: Floats
    """As a sandwich over clusters, times n_clusters / (n_clusters - 1); 0 for what no cluster moves."""
    told: Floats
    """[clusters, terms, terms] as in `GeeFit`, of the records taken as independent."""
    converged: bool

    def df(self, rows: Floats) -> Floats:
        """Degrees of freedom of linear combinations of the coefficients, as those of `GeeFit`."""
        return effective_df(self.told, rows)


class MixedLikelihood:
    """Log-likelihood and scores of one data set, at any parameters.

    The intercept is sd x u with u standard normal. Per cluster the integrand's mode and curvature are found by
    Newton's method, and the nodes are set there (Liu and Pierce 1994).
    """

    def __init__(self, records: Records, nodes: int) -> None:
        self.records = records
        place, weight = np.polynomial.hermite.hermgauss(nodes)
        self._place = np.sqrt(2.0) * place
        self._log_weight = np.log(weight) + place**2 + 0.5 * np.log(2.0)
        self._mode: Floats = np.zeros(records.n_clusters)

    def __call__(self, beta: Floats, sd: float) -> tuple[float, Floats]:
        """Log-likelihood, and the score of each cluster [clusters, terms + 1]."""
        data = self.records
        code, size = data.cluster, data.n_clusters
        eta = data.design @ beta
        mode, curvature = self._modes(eta, sd)
        spread = 1 / np.sqrt(curvature)
        u = mode[:, None] + spread[:, None] * self._place
        shifted = eta[:, None] + sd * u[code]
        cells = data.events[:, None] * shifted - data.n[:, None] * np.logaddexp(0, shifted)
        log_joint = columns_by_code(cells, code, size) - 0.5 * u**2 - 0.5 * np.log(2 * np.pi)
        log_terms = log_joint + self._log_weight + np.log(spread)[:, None]
        top = log_terms.max(axis=1, keepdims=True)
        share = np.exp(log_terms - top)
        total = share.sum(axis=1, keepdims=True)
        share = share / total
        residual = data.events[:, None] - data.n[:, None] * expit(shifted)
        mean_residual = np.sum(residual * share[code], axis=1)
        score = columns_by_code(mean_residual[:, None] * data.design, code, size)
        along_sd = by_code(np.sum(residual * share[code] * u[code], axis=1), code, size)
        return float(np.sum(top + np.log(total))), np.column_stack([score, along_sd])

    def _modes(self, eta: Floats, sd: float) -> tuple[Floats, Floats]:
        """Mode and curvature of u in each cluster, from the last modes on."""
        data = self.records
        u = self._mode
        for _ in range(50):
            mean = expit(eta + sd * u[data.cluster])
            slope = sd * by_code(data.events - data.n * mean, data.cluster, data.n_clusters) - u
            curvature = 1 + sd**2 * by_code(data.n * mean * (1 - mean), data.cluster, data.n_clusters)
            # The integrand is log-concave; a step of at most 1 keeps Newton's method from jumping over the mode.
            step = np.clip(slope / curvature, -1, 1)
            u = u + step
            if np.abs(step).max() < 1e-8:
                break
        self._mode = u
        mean = expit(eta + sd * u[data.cluster])
        return u, 1 + sd**2 * by_code(data.n * mean * (1 - mean), data.cluster, data.n_clusters)


def fit_mixed(records: Records, start: Floats, nodes: int) -> MixedFit:
    """Maximise the likelihood from coefficients near it.

    The search runs in coordinates that the independent records' information makes round. The likelihood is even
    in sd, so that sd is free to cross 0 and its absolute value is given.
    """
    likelihood = MixedLikelihood(records, nodes)
    mean = expit(records.design @ start)
    information = records.design.T @ (records.design * (records.n * mean * (1 - mean))[:, None])
    terms = len(start)
    turn = np.eye(terms + 1)
    turn[:terms, :terms] = np.linalg.cholesky(np.linalg.inv(information)) * np.sqrt(records.n.sum())
    origin = np.append(start, 0.5)
    count = records.n.sum()

    def loss(z: Floats) -> tuple[float, Floats]:
        at = origin + turn @ z
        value, score = likelihood(at[:terms], float(at[terms]))
        return -value / count, -(turn.T @ score.sum(axis=0)) / count

    found = minimize(loss, np.zeros(terms + 1), jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 200})
    at = origin + turn @ found.x
    value, score = likelihood(at[:terms], float(at[terms]))
    hessian = _hessian(likelihood, at, turn)
    inverse = np.asarray(np.linalg.pinv(hessian), dtype=np.float64)
    # Along sd a record's score is that along the constant, times an intercept of about 1.
    size = absolute_scores(records, at[:terms])
    size = np.column_stack([size, size.max(axis=1)])
    influence = settled(score @ inverse, size @ np.abs(inverse), _SEARCHED)
    at_rest = bool(np.abs(found.jac).max() < 1e-5 and np.linalg.eigvalsh(hessian).min() > -1e-6 * count)
    return MixedFit(
        beta=at[:terms],
        sd=abs(float(at[terms])),
        log_likelihood=value,
        cov_model=inverse,
        cov=influence.T @ influence * (records.n_clusters / max(records.n_clusters - 1, 1)),
        told=told_of(records, at[:terms]),
        converged=at_rest,
    )


def _hessian(likelihood: MixedLikelihood, at: Floats, turn: Floats) -> Floats:
    """Observed information by central differences of the score, in the round coordinates and turned back."""
    size, width = len(at), 1e-4
    out = np.empty((size, size))
    for i in range(size):
        ends = [at + sign * width * turn[:, i] for sign in (1, -1)]
        high, low = (likelihood(end[:-1], float(end[-1]))[1].sum(axis=0) for end in ends)
        out[i] = -(turn.T @ (high - low)) / (2 * width)
    back = np.linalg.inv(turn)
    return np.asarray(back.T @ ((out + out.T) / 2) @ back)

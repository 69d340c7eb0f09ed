"""What the logistic models share: records as counts, the maximum likelihood fit, and why there may be none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.special import expit

__all__ = [
    "EVENTS_PER_TERM",
    "Floats",
    "Records",
    "absolute_scores",
    "by_code",
    "columns_by_code",
    "fit_logit",
    "no_estimate",
    "separated",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVENTS_PER_TERM = 10
"""Events (or records without it, if fewer) per slope below which a maximum likelihood slope is not to be trusted
(Peduzzi et al. 1996)."""

_TINY = 1e-7


@dataclass(frozen=True, kw_only=True)
class Records:
    """Records with yes or no as outcome, those that share covariates, cluster and unit given as counts."""

    events: Floats
    """[cells] records with the event."""
    n: Floats
    """[cells] records, above 0."""
    design: Floats
    """[cells, terms], the constant among them."""
    cluster: Ints
    """[cells] number of the cluster, 0 to n_clusters - 1, every number used."""
    n_clusters: int

    @classmethod
    def of(
        cls,
        events: npt.ArrayLike,
        n: npt.ArrayLike,
        design: npt.ArrayLike,
        cluster: npt.ArrayLike | None = None,
    ) -> Records:
        """Check the arrays, leave out cells without records, and number the clusters.

        Raises:
            ValueError: If lengths differ, a value is missing or not finite, or events exceed records.
        """
        y, m, x = (np.asarray(values, dtype=np.float64) for values in (events, n, design))
        label = np.arange(len(y)) if cluster is None else np.asarray(cluster)
        if x.ndim != 2 or not len(y) == len(m) == len(x) == len(label):
            raise ValueError(
                f"one row per cell is needed everywhere: {len(y)} events, {len(m)} n, design {x.shape}, "
                f"{len(label)} clusters"
            )
        if not all(np.isfinite(values).all() for values in (y, m, x)):
            raise ValueError("events, n and design must be finite: leave out records with a missing value")
        if (y < 0).any() or (y > m).any():
            raise ValueError("events must lie between 0 and n in every cell")
        used = m > 0
        names, code = np.unique(label[used], return_inverse=True)
        return cls(
            events=y[used],
            n=m[used],
            design=x[used],
            cluster=code.astype(np.int64).reshape(-1),
            n_clusters=len(names),
        )


def by_code(values: Floats, code: Ints, size: int) -> Floats:
    """Sum of the values of each code: [size]."""
    return np.bincount(code, weights=values, minlength=size).astype(np.float64)


def columns_by_code(values: Floats, code: Ints, size: int) -> Floats:
    """Sum of the rows of each code: [size, columns]."""
    return np.stack([np.bincount(code, weights=column, minlength=size) for column in values.T], axis=1)


def absolute_scores(records: Records, beta: Floats) -> Floats:
    """Sum over the records of each cluster of |(outcome - mean) x|: what its score is added up from, without signs.

    [clusters, terms]; the scale that a score is told from rounding by.
    """
    mean = expit(records.design @ beta)
    away = records.events * (1 - mean) + (records.n - records.events) * mean
    return columns_by_code(away[:, None] * np.abs(records.design), records.cluster, records.n_clusters)


def fit_logit(records: Records, max_iterations: int = 60) -> tuple[Floats, bool]:
    """Maximum likelihood of P(event) = expit(design @ beta), records taken as independent.

    Newton's method, a step halved while it lowers the likelihood. Gives the coefficients and whether the last
    step was below 1e-10; a model that `no_estimate` names must not be fitted.
    """
    x, y, n = records.design, records.events, records.n
    beta: Floats = np.zeros(x.shape[1])
    value = log_likelihood(beta, records)
    for _ in range(max_iterations):
        mean = expit(x @ beta)
        information = x.T @ (x * (n * mean * (1 - mean))[:, None])
        try:
            step = np.linalg.solve(information, x.T @ (y - n * mean))
        except np.linalg.LinAlgError:
            return beta, False
        for _ in range(30):
            tried = log_likelihood(beta + step, records)
            if tried >= value - 1e-12 * abs(value):
                break
            step = step / 2
        beta, value = beta + step, tried
        if np.abs(step).max() < 1e-10:
            return beta, True
    return beta, False


def log_likelihood(beta: Floats, records: Records) -> float:
    """Log-likelihood of the single records, so without the binomial coefficients."""
    eta = records.design @ beta
    return float(np.sum(records.events * eta - records.n * np.logaddexp(0, eta)))


def no_estimate(records: Records, terms: tuple[str, ...]) -> str | None:
    """Why there is no maximum likelihood estimate: one outcome, collinear terms, separation; None if there is one."""
    events, n = records.events.sum(), records.n.sum()
    if n == 0:
        return "no record"
    if not 0 < events < n:
        return f"the event is {'never' if events == 0 else 'always'} seen in {n:.0f} records"
    scale = np.abs(records.design).max(axis=0)
    scaled = np.unique(records.design / np.where(scale > 0, scale, 1), axis=0)
    ranks = [0, *(int(np.linalg.matrix_rank(scaled[:, : i + 1])) for i in range(scaled.shape[1]))]
    collinear = [name for i, name in enumerate(terms) if ranks[i + 1] == ranks[i]]
    if collinear:
        return f"{', '.join(collinear)} can't be told from the terms before: collinear"
    directions = separated(records)
    if directions:
        return f"separation: the records split perfectly along {', '.join(terms[i] for i in directions)}"
    return None


def separated(records: Records) -> tuple[int, ...]:
    """Terms of a direction that separates the outcomes, completely or quasi-completely; empty if there is none.

    Such a direction b has x @ b >= 0 wherever there are events, <= 0 wherever there are other records, and is not
    0 at all of them (Albert and Anderson 1984). Linear programming over -1 <= b <= 1 finds it (Konis 2007).
    """
    x, code = np.unique(records.design, axis=0, return_inverse=True)
    code = code.reshape(-1)
    y, n = (by_code(values, code, len(x)) for values in (records.events, records.n))
    scale = np.abs(x).max(axis=0)
    x = x / np.where(scale > 0, scale, 1)
    sign = np.where(y == n, 1.0, np.where(y == 0, -1.0, 0.0))
    pure, mixed = x[sign != 0] * sign[sign != 0, None], x[sign == 0]
    # Covariate patterns with both outcomes already tie down every direction.
    if not len(pure) or (len(mixed) and np.linalg.matrix_rank(mixed) == x.shape[1]):
        return ()
    found = linprog(
        -pure.sum(axis=0),
        A_ub=-pure,
        b_ub=np.zeros(len(pure)),
        A_eq=mixed if len(mixed) else None,
        b_eq=np.zeros(len(mixed)) if len(mixed) else None,
        bounds=(-1, 1),
        method="highs",
    )
    if found.status != 0 or -found.fun < _TINY:
        return ()
    return tuple(int(i) for i in np.flatnonzero(np.abs(found.x) > _TINY))

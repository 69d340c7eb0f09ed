"""Mixed logistic regression with one normal intercept per cluster: a check of the population-averaged model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ._logit import Records, fit_logit, no_estimate
from ._mixed import MixedFit, fit_mixed
from .gee import interval, odds_ratio, too_few_clusters
from .result import Estimate, Result

__all__ = ["ATTENUATION", "NODES", "mixed_fit", "mixed_logit"]

NODES = 9
"""Quadrature nodes, around each cluster's own mode."""

ATTENUATION = (16 * np.sqrt(3) / (15 * np.pi)) ** 2
"""c² of Zeger, Liang and Albert (1988): a conditional slope divided by sqrt(1 + c² sd²) is about the population's."""


def mixed_logit(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    design: npt.ArrayLike,
    cluster: npt.ArrayLike,
    *,
    terms: Sequence[str] | None = None,
    nodes: int = NODES,
    level: float = 0.95,
) -> Result:
    """Fit logit P(event) = design @ beta + a random intercept of the cluster, by maximum likelihood.

    The intercepts are normal with mean 0; adaptive Gauss-Hermite quadrature, as in R lme4's glmer(nAGQ = nodes).
    Coefficients are those of a given cluster, further from 0 than the population's. Standard errors are sandwiches
    over clusters, since records of an item are more alike than the model's one intercept allows; statistics are
    compared with t on the effective clusters' degrees of freedom, as for the GEE.

    Args:
        events: [cells] records with the event.
        n: [cells] records.
        design: [cells, terms], the constant among them.
        cluster: [cells] label of the cluster.
        terms: Names of the columns; x0, x1, ... if left out. Terms named "intercept" get no odds ratio.
        nodes: Quadrature nodes, at least 5: the score is the integrand's, exact only where the quadrature is.
        level: Confidence level.

    Returns:
        Per term its coefficient; "sd", the standard deviation of the intercepts; "odds_ratio TERM"; and
        "population TERM", the slope of the population that the model implies (`ATTENUATION`). Facts: log-likelihood of
        the single records, convergence, and the model-based standard errors as std_error_model TERM. No estimates, and
        the reason as `status`, where the maximum likelihood estimate does not exist, there are no more clusters than
        terms, or the search does not converge.

    Raises:
        ValueError: If lengths differ, values are not finite, events exceed n, or nodes are fewer than 5.
    """
    if nodes < 5:
        raise ValueError(f"nodes must be at least 5, not {nodes}")
    records = Records.of(events, n, design, cluster)
    names = tuple(terms) if terms is not None else tuple(f"x{i}" for i in range(records.design.shape[1]))
    fit = mixed_fit(records, names, nodes)
    return Result(
        method="mixed logit, random intercept per cluster",
        estimates=_estimates(fit, names, level) if isinstance(fit, MixedFit) else (),
        n=int(records.n.sum()),
        n_clusters=records.n_clusters,
        n_events=int(records.events.sum()),
        level=level,
        status="ok" if isinstance(fit, MixedFit) else fit,
        facts=_facts(fit, names, nodes) if isinstance(fit, MixedFit) else {"converged": False},
    )


def mixed_fit(records: Records, terms: tuple[str, ...], nodes: int = NODES) -> MixedFit | str:
    """The fit, or why there is none."""
    reason = no_estimate(records, terms) or too_few_clusters(records.n_clusters, len(terms))
    if reason:
        return f"not fitted: {reason}"
    try:
        fit = fit_mixed(records, fit_logit(records)[0], nodes)
    except np.linalg.LinAlgError as error:
        return f"not fitted: {error}"
    return fit if fit.converged else "not fitted: no convergence"


def _estimates(fit: MixedFit, terms: tuple[str, ...], level: float) -> tuple[Estimate, ...]:
    errors = np.sqrt(np.diag(fit.cov))
    df = fit.df(np.eye(len(terms)))
    plain = [interval(name, fit.beta[i], float(errors[i]), df[i], level) for i, name in enumerate(terms)]
    slopes = [entry for entry in plain if entry.term != "intercept"]
    shrink = 1 / np.sqrt(1 + ATTENUATION * fit.sd**2)
    population = [
        Estimate(term=f"population {entry.term}", estimate=shrink * (entry.estimate or 0.0)) for entry in slopes
    ]
    return (*plain, Estimate(term="sd", estimate=fit.sd), *(odds_ratio(entry) for entry in slopes), *population)


def _facts(fit: MixedFit, terms: tuple[str, ...], nodes: int) -> dict[str, object]:
    model = {f"std_error_model {name}": float(np.sqrt(fit.cov_model[i, i])) for i, name in enumerate(terms)}
    return {"log_likelihood": fit.log_likelihood, "nodes": nodes, "converged": True, **model}

"""A logistic regression on grouped records that refuses where there is no estimate to give."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
import statsmodels.api as sm
from scipy.stats import chi2

from ...inference._logit import Records, no_estimate
from ...inference.proportion import LEVEL

__all__ = ["NotFittedError", "fit_logistic"]


class NotFittedError(ValueError):
    """There is no maximum likelihood estimate, or it was not found; the message says why."""


def fit_logistic(design: pd.DataFrame, events: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Fit P(event) = 1 / (1 + exp(-design @ b)) by maximum likelihood.

    Records that share all covariates are given together, as counts. The likelihood, and so every number, is
    that of `statsmodels.api.Logit` on one row per record; memory does not grow with the records.

    Args:
        design: One row per covariate pattern, a column per term, the constant among them.
        events: Events of each pattern.
        n: Records of each pattern, at least 1.

    Returns:
        One row per term: term, estimate, std_error, statistic, p_value, conf_low, conf_high, odds_ratio with
        its interval, and the model's numbers (df_model, llf, llnull, llr_p_value, pseudo_r2, aic, bic,
        converged, cov_type) repeated in every row.

    Raises:
        NotFittedError: If all records have one outcome, terms are collinear, some direction separates the
            outcomes (the likelihood then grows without end), or the iteration does not converge.
    """
    _refuse_without_estimate(design, events, n)
    # Each pattern twice, once per outcome, weighted by its records: the Bernoulli likelihood itself.
    outcome = np.repeat([1.0, 0.0], len(design))
    weight = np.concatenate([events, n - events]).astype(float)
    x = pd.concat([design, design], ignore_index=True).astype(float)
    used = weight > 0
    model = sm.GLM(outcome[used], x[used], family=sm.families.Binomial(), freq_weights=weight[used])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What they warn of is refused above, or is `converged` below.
        # A deviance of 1e5 is good to 1e-11: without the relative part, the last bit decides on convergence.
        result = model.fit(tol=1e-12, rtol=1e-13, maxiter=100)
    if not result.converged:
        raise NotFittedError("no convergence in 100 iterations")
    return _term_rows(result, int(n.sum()))


def _term_rows(result: sm.GLM, n: int) -> pd.DataFrame:
    """The result as one row per term."""
    ends = result.conf_int(alpha=1 - LEVEL)
    out = pd.DataFrame(
        {
            "estimate": result.params,
            "std_error": result.bse,
            "statistic": result.tvalues,
            "p_value": result.pvalues,
            "conf_low": ends[0],
            "conf_high": ends[1],
        }
    )
    for ratio, log in (
        ("odds_ratio", "estimate"),
        ("odds_ratio_low", "conf_low"),
        ("odds_ratio_high", "conf_high"),
    ):
        out[ratio] = np.exp(out[log])
    df, llf, llnull = len(out) - 1, float(result.llf), float(result.llnull)
    return (
        out.rename_axis("term")
        .reset_index()
        .assign(
            df_model=df,
            llf=llf,
            llnull=llnull,
            llr_p_value=float(chi2.sf(2 * (llf - llnull), df)),
            pseudo_r2=1 - llf / llnull,
            aic=-2 * llf + 2 * (df + 1),
            bic=-2 * llf + np.log(n) * (df + 1),
            converged=True,
            cov_type=str(result.cov_type),
        )
    )


def _refuse_without_estimate(design: pd.DataFrame, events: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> None:
    """Raise where the maximum likelihood estimate is not unique or not finite."""
    if not 0 < events.sum() < n.sum():
        raise NotFittedError(f"the stereotype is chosen in {events.sum()} of {n.sum()} records: nothing to explain")
    reason = no_estimate(Records.of(events, n, design), tuple(map(str, design.columns)))
    if reason:
        raise NotFittedError(reason)

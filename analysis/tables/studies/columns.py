"""What the tables of the studies' own tests hold."""

from __future__ import annotations

from ...answers.measures import SRS
from ...schema.columns import Table, count, flag, number, text
from ...schema.shared import (
    BASE_MODEL,
    COHENS_H,
    CONDITION,
    CONF_HIGH,
    CONF_LOW,
    CONVERGED,
    ESTIMATE,
    FILTER,
    KEYS,
    N_BASELINE,
    N_EVENTS,
    N_ITEMS,
    N_RUNS,
    ODDS_RATIO,
    ODDS_RATIO_ENDS,
    P_VALUE,
    REFERENCE,
    STATISTIC,
    STATUS,
    STD_ERROR,
    TASK,
    TERM,
    UNIT,
    N,
    against_baseline,
)
from ..measured import measure_column

__all__ = ["STUDY_LOGISTIC", "STUDY_TESTS"]

_SRS_BASELINE, _SRS_DELTA = against_baseline("srs")

STUDY_TESTS = Table(
    name="study_tests",
    doc="The studies' chi-squared tests and Cohen's h of run against baseline, as published.",
    columns=(
        *KEYS,
        UNIT.here("In words."),
        N_BASELINE.here("Answered."),
        N.here("Answered after compression."),
        _SRS_BASELINE,
        measure_column(SRS),
        _SRS_DELTA,
        count(
            "count_baseline",
            "Stereotype count at baseline as the studies rebuild it, int(srs x n): can be 1 low.",
            nullable=True,
        ),
        count("count", "Likewise after compression.", nullable=True),
        number("min_expected", "Smallest expected count of the 2 x 2 table; the test is unreliable below 5."),
        number("chi2", "Chi-squared statistic with Yates' correction, 1 degree of freedom."),
        P_VALUE,
        flag("significant", "Whether p_value < 0.05.", nullable=True),
        text("significance", "*** below 0.001, ** below 0.01, * below 0.05, else '-'.", nullable=True),
        COHENS_H.here("Of srs."),
        text(
            "effect_size",
            "Band of |cohens_h|: negligible < 0.2 <= small < 0.5 <= medium < 0.8 <= large.",
            nullable=True,
        ),
        STATUS,
    ),
)


STUDY_LOGISTIC = Table(
    name="study_logistic",
    doc="The studies' logistic regressions of 'stereotype chosen' on bits or sparsity; one row per term.",
    columns=(
        text("form", "bits (pooled over models) or sparsity (one model at a time)."),
        BASE_MODEL.here("'all' for the pooled form."),
        TASK,
        FILTER,
        CONDITION,
        UNIT.here("In words."),
        TERM.here(
            "const, bits, sparsity_percent, category_<name>, method_<name>; missing if nothing was fitted.",
            nullable=True,
        ),
        ESTIMATE.here("Per bit, per percentage point, or against the reference level."),
        STD_ERROR,
        STATISTIC.here("estimate / std_error, a z."),
        P_VALUE.here("Of the z."),
        CONF_LOW.here("Of estimate: 95 %, Wald."),
        CONF_HIGH,
        ODDS_RATIO.here("exp(estimate)."),
        *ODDS_RATIO_ENDS,
        REFERENCE.here("Of the dummies."),
        N.here("Answered records in the model."),
        N_EVENTS.here("The stereotype was chosen."),
        N_RUNS.here("Baselines included."),
        N_ITEMS.here("Each counted once per base model."),
        count("df_model", "Terms besides the constant.", nullable=True),
        number("llf", "Log-likelihood."),
        number("llnull", "Log-likelihood of the constant alone."),
        number("llr_p_value", "p-value of the likelihood ratio test against the constant alone."),
        number("pseudo_r2", "McFadden's 1 - llf / llnull."),
        number("aic", "Akaike's criterion."),
        number("bic", "Schwarz's criterion."),
        CONVERGED,
        text("cov_type", "Covariance of the estimates: nonrobust, as in the studies.", nullable=True),
        STATUS,
    ),
)

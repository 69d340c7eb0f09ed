"""What the tables of the studies' own tests hold."""

from __future__ import annotations

from ...schema.columns import Column, Table, count, number, text
from ...schema.shared import BASELINE, CATEGORY, CONDITION, FILTER, RUN, STATUS, TASK

__all__ = ["STUDY_LOGISTIC", "STUDY_TESTS"]

STUDY_TESTS = Table(
    name="study_tests",
    doc="The studies' chi-squared tests and Cohen's h of run against baseline, as published.",
    columns=(
        RUN,
        BASELINE,
        TASK,
        FILTER,
        CONDITION,
        CATEGORY,
        text("unit", "What the test takes as independent, in words."),
        count("n_baseline", "Answered at baseline."),
        count("n", "Answered after compression."),
        number("srs_baseline", "Stereotype reliance score at baseline; in [0, 1]."),
        number("srs", "Stereotype reliance score after compression; in [0, 1]."),
        number("srs_delta", "srs minus srs_baseline."),
        count(
            "count_baseline",
            "Stereotype count at baseline as the studies rebuild it, int(srs x n): can be 1 low.",
            nullable=True,
        ),
        count("count", "Likewise after compression.", nullable=True),
        number("min_expected", "Smallest expected count of the 2 x 2 table; the test is unreliable below 5."),
        number("chi2", "Chi-squared statistic with Yates' correction, 1 degree of freedom."),
        number("p_value", "Its p-value, two-sided, not corrected for multiplicity."),
        Column(name="significant", kind="boolean", nullable=True, doc="Whether p_value < 0.05."),
        text("significance", "*** below 0.001, ** below 0.01, * below 0.05, else '-'.", nullable=True),
        number("cohens_h", "2 (asin sqrt srs - asin sqrt srs_baseline); in [-pi, pi]."),
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
        text("model", "Base model, or 'all' for the pooled form."),
        TASK,
        FILTER,
        CONDITION,
        text("unit", "What the regression takes as independent, in words."),
        text(
            "term",
            "const, bits, sparsity_percent, category_<name>, method_<name>; missing if nothing was fitted.",
            nullable=True,
        ),
        number(
            "estimate",
            "Coefficient, in log-odds per bit, per percentage point, or against the reference level.",
        ),
        number("std_error", "Its standard error."),
        number("statistic", "estimate / std_error, a z."),
        number("p_value", "Two-sided p-value of the z, not corrected for multiplicity."),
        number("conf_low", "Lower end of the 95 % Wald interval of the estimate."),
        number("conf_high", "Upper end."),
        number("odds_ratio", "exp(estimate)."),
        number("odds_ratio_low", "exp(conf_low)."),
        number("odds_ratio_high", "exp(conf_high)."),
        text("reference", "Reference levels of the dummies."),
        count("n", "Answered records in the model."),
        count("n_events", "Records that chose the stereotype."),
        count("n_runs", "Runs in the model, baselines included."),
        count("n_items", "Different items, each counted once per base model."),
        count("df_model", "Terms besides the constant.", nullable=True),
        number("llf", "Log-likelihood."),
        number("llnull", "Log-likelihood of the constant alone."),
        number("llr_p_value", "p-value of the likelihood ratio test against the constant alone."),
        number("pseudo_r2", "McFadden's 1 - llf / llnull."),
        number("aic", "Akaike's criterion."),
        number("bic", "Schwarz's criterion."),
        Column(
            name="converged",
            kind="boolean",
            nullable=True,
            doc="Whether the fit converged; missing if none was tried.",
        ),
        text("cov_type", "Covariance of the estimates: nonrobust, as in the studies.", nullable=True),
        STATUS,
    ),
)

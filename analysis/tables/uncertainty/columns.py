"""Declarations of the tables of uncertainty."""

from __future__ import annotations

from ...schema.columns import Table, number, text
from ...schema.shared import (
    BASE_MODEL,
    CONF_HIGH,
    CONF_LOW,
    CONVERGED,
    DF,
    ESTIMATE,
    KEYS,
    N_CLUSTERS,
    N_FLIPS,
    N_ITEMS,
    ODDS_RATIO,
    ODDS_RATIO_ENDS,
    P_VALUE,
    RATE,
    REFERENCE,
    STATISTIC,
    STATUS,
    STD_ERROR,
    TERM,
    VALUE,
    N,
)

__all__ = ["RISK_CURVE", "UNCERTAINTY_BINS", "UNCERTAINTY_MODEL", "UNCERTAINTY_SCORES"]

_FLIP = text(
    "flip",
    "response (another option), or bias (an answer toward or against the stereotype before and neither after, or the "
    "other way round).",
)

UNCERTAINTY_BINS = Table(
    name="uncertainty_bins",
    doc="Flip rate by the baseline's uncertainty about the item.",
    columns=(
        *KEYS,
        _FLIP,
        text(
            "bins",
            "entropy_thirds (entropy over log2 of the number of options, up to 1/3, up to 2/3, above: the "
            "benchmark's), entropy_quantiles, margin_quantiles (thirds of the items; margin is 1 minus margin, so that "
            "high is uncertain), calibrated_thirds (chance that the baseline's answer is not the keyed one, up to 1/3, "
            "up to 2/3, above; isotonic in the margin, fitted on other templates).",
        ),
        text("bin", "low, medium or high uncertainty."),
        number("lower", "Lowest value in the bin."),
        number("upper", "Highest value in the bin."),
        N_ITEMS.here("In the bin."),
        N.here("Pairs in the bin."),
        N_FLIPS,
        RATE.here("n_flips / n."),
        CONF_LOW.here("Jackknife over templates."),
        CONF_HIGH,
        STATUS,
    ),
)

UNCERTAINTY_SCORES = Table(
    name="uncertainty_scores",
    doc="How well the baseline's uncertainty tells which answers will flip.",
    columns=(
        *KEYS,
        _FLIP,
        text(
            "score",
            "auroc_margin, auroc_entropy, auroc_calibrated (chance that a flipped answer's item is the less certain of "
            "two), ratio_entropy_thirds, ratio_margin_quantiles, ratio_calibrated_thirds (flip rate of the high bin "
            "over that of the low one), "
            "aurc_margin (area under the risk curve), brier_skill (1 - Brier score of the calibrated chance of a flip "
            "over that of the flip rate alone).",
        ),
        N_ITEMS.here("With a baseline probability and a paired answer."),
        N_CLUSTERS,
        N.here("Pairs."),
        N_FLIPS,
        VALUE.here("The score."),
        CONF_LOW.here("Jackknife over templates; of a ratio in logarithms, of an AUROC in log-odds."),
        CONF_HIGH,
        STATUS,
    ),
)

RISK_CURVE = Table(
    name="risk_curve",
    doc="Flip rate among the items that the baseline is most certain of.",
    columns=(
        *KEYS,
        _FLIP,
        number("coverage", "Share of the items that are kept, the most certain (largest margin) first."),
        number("least_margin", "Smallest margin (of the two likeliest options) among them."),
        N.here("Pairs of these items."),
        N_FLIPS,
        RATE.here("n_flips / n."),
    ),
)

UNCERTAINTY_MODEL = Table(
    name="uncertainty_model",
    doc="Logistic regression of a response flip on the baseline's margin, the dose and the method, all runs of a base "
    "model together, one row a term; covariance robust to templates.",
    columns=(
        BASE_MODEL,
        *KEYS[2:5],
        TERM.here("const, margin (per 0.1), sparsity (per 10 points), bits_less (per bit below 16), method_<name>."),
        ESTIMATE.here("Per unit of the term, or against the reference method."),
        STD_ERROR.here("Cluster-robust by template, bias-reduced (Mancl and DeRouen)."),
        STATISTIC.here("estimate / std_error."),
        DF.here("Effective templates minus 1, by what each tells of the term; at most templates minus terms."),
        P_VALUE,
        CONF_LOW.here("Of estimate."),
        CONF_HIGH,
        ODDS_RATIO.here("exp(estimate)."),
        *ODDS_RATIO_ENDS,
        REFERENCE.here("The method; missing where there is one only.", nullable=True),
        N.here("Pairs."),
        N_FLIPS,
        N_CLUSTERS,
        CONVERGED,
        STATUS,
    ),
)

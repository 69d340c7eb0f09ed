"""Declarations of the tables of uncertainty."""

from __future__ import annotations

from ...schema.columns import Column, Table, count, number, text
from ...schema.shared import KEYS

__all__ = ["RISK_CURVE", "UNCERTAINTY_BINS", "UNCERTAINTY_MODEL", "UNCERTAINTY_SCORES"]

_STATUS = text("status", "'ok', or why the row holds no or only part of a result.")
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
        count("n_items", "Items in the bin."),
        count("n", "Paired answers in the bin."),
        count("n_flips", "Flips."),
        number("rate", "n_flips / n; in [0, 1]."),
        number("conf_low", "Lower end of its interval: jackknife over templates."),
        number("conf_high", "Upper end."),
        _STATUS,
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
        count("n_items", "Items with a baseline probability and a paired answer."),
        count("n_clusters", "Templates that they form."),
        count("n", "Paired answers."),
        count("n_flips", "Flips."),
        number("value", "The score."),
        number(
            "conf_low",
            "Lower end of its interval: jackknife over templates; of a ratio in logarithms, of an AUROC in log-odds.",
        ),
        number("conf_high", "Upper end."),
        _STATUS,
    ),
)

RISK_CURVE = Table(
    name="risk_curve",
    doc="Flip rate among the items that the baseline is most certain of.",
    columns=(
        *KEYS,
        _FLIP,
        number("coverage", "Share of the items that are kept, the most certain (largest margin) first."),
        number("margin", "Smallest margin among them."),
        count("n", "Paired answers of these items."),
        count("n_flips", "Flips among them."),
        number("rate", "n_flips / n."),
    ),
)

UNCERTAINTY_MODEL = Table(
    name="uncertainty_model",
    doc="Logistic regression of a response flip on the baseline's margin, the dose and the method, all runs of a base "
    "model together, one row a term; covariance robust to templates.",
    columns=(
        text("base_model", "Base model."),
        *KEYS[2:5],
        text("term", "const, margin (per 0.1), sparsity (per 10 points), bits_less (per bit below 16), method_<name>."),
        number("estimate", "Log-odds per unit, or against the reference method."),
        number("std_error", "Its cluster-robust standard error."),
        number("statistic", "estimate / std_error."),
        number("p_value", "Two-sided, from Student's t with templates minus 1 degrees of freedom."),
        number("conf_low", "Lower end of its interval (95 % unless asked otherwise)."),
        number("conf_high", "Upper end."),
        number("odds_ratio", "exp(estimate)."),
        number("odds_ratio_low", "exp(conf_low)."),
        number("odds_ratio_high", "exp(conf_high)."),
        text("reference", "Reference method.", nullable=True),
        count("n", "Paired answers."),
        count("n_flips", "Flips."),
        count("n_clusters", "Templates."),
        Column(name="converged", kind="boolean", nullable=True, doc="Whether the fit converged."),
        _STATUS,
    ),
)

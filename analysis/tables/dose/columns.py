"""The tables of dose-response: what each holds."""

from __future__ import annotations

from ...schema.columns import Table, count, number, text
from ...schema.shared import CONDITION, FILTER, TASK

__all__ = ["DOSE_CURVES", "DOSE_RESPONSE", "DOSE_TESTS"]


_KEYS = (
    text("base_model", "Model before compression."),
    text("baseline", "Label of the run that the others are compared with."),
    TASK,
    FILTER,
    CONDITION,
    text("category", "Category of the items, or 'all' for all of the task's items pooled."),
    text("method", "Compression method, or 'all': the methods of this dose pooled."),
    text(
        "outcome",
        "new_bias: an item without a stereotypical answer at baseline gets one (items at risk only, the baseline is no "
        "record); stereotype: an answer picks the stereotype (answered answers, the baseline's among them).",
    ),
    text("unit", "What one record is: item or answer."),
    text("dose", "bits or sparsity. Runs with both are left out."),
)
_STEP = text("step", "The dose's unit, so that an odds ratio above 1 means more with more compression.")
_N_CLUSTERS = count("n_clusters", "Templates of the items: the independent units.")
_LEVEL = number("level", "Confidence level of the intervals.")

DOSE_RESPONSE = Table(
    name="dose_response",
    doc="Logistic regression of an outcome on bits or sparsity, by method, templates as the independent units.",
    columns=(
        *_KEYS,
        _STEP,
        text(
            "term",
            "dose: the slope (of all methods together for method 'all'); 'dose x M': slope of method M minus that of "
            "the first method by name; interaction: the test that all methods have one slope.",
        ),
        text(
            "model",
            "gee: population-averaged, robust to clusters; firth: penalised, records taken as independent; none.",
        ),
        number("estimate", "Change of the log-odds per step."),
        number("std_error", "Cluster-robust by template, bias-reduced (Mancl and DeRouen); firth: Wald."),
        number("std_error_item", "Robust with items as the clusters, for comparison; missing for firth."),
        number("statistic", "estimate / std_error; interaction: Wald F; firth: penalised likelihood ratio."),
        number("df", "n_clusters - terms; of interaction, the denominator's; firth: 1, of chi-squared."),
        number("p_value", "Two-sided, uncorrected."),
        number("conf_low", "Lower end of the interval of estimate; firth: profile penalised likelihood."),
        number("conf_high", "Upper end."),
        number("odds_ratio", "exp(estimate): odds of the outcome per step; for 'dose x M' a ratio of odds ratios."),
        number("odds_ratio_low", "Lower end of its interval."),
        number("odds_ratio_high", "Upper end."),
        number("marginal_effect", "Mean change of the probability per step over the records, in percentage points."),
        number("marginal_effect_low", "Lower end of its interval (delta method); missing for firth."),
        number("marginal_effect_high", "Upper end."),
        text("working_correlation", "independence: the mean prediction is the observed share.", nullable=True),
        number("exchangeable_estimate", "The slope under an exchangeable working correlation: a check."),
        number("exchangeable_conf_low", "Lower end of its cluster-robust interval."),
        number("exchangeable_conf_high", "Upper end."),
        number("correlation", "Estimated correlation of two records of a template, given the dose, in that fit."),
        text("exchangeable_status", "'ok', or why there is no check; missing where it is not made.", nullable=True),
        number("mixed_estimate", "The slope in a mixed logit with a random intercept per template: a check."),
        number("mixed_conf_low", "Lower end of its cluster-robust interval."),
        number("mixed_conf_high", "Upper end."),
        number("mixed_sd", "Standard deviation of the templates' intercepts, in log-odds."),
        number("mixed_population", "The population's slope that the mixed logit implies: to compare with estimate."),
        text("mixed_status", "'ok', or why there is no check; missing where it is not made.", nullable=True),
        count("n", "Records."),
        count("n_events", "Records with the outcome."),
        count("n_items", "Items with a record."),
        count("n_items_left_out", "Items of the baseline that some but not all of the runs hold."),
        _N_CLUSTERS,
        count("n_doses", "Different doses with a record, the baseline's among them for stereotype."),
        count("n_runs", "Runs, likewise."),
        _LEVEL,
        text("status", "'ok'; what weakens the fit; or why it is penalised or missing."),
    ),
)

DOSE_CURVES = Table(
    name="dose_curves",
    doc="Observed share and predicted probability of an outcome at each dose, by method.",
    columns=(
        *_KEYS,
        number("dose_value", "Bits, or sparsity in percent; 16 or 0 for the baseline."),
        number("dose_steps", "The same in steps: 16 - bits, or sparsity in tens of points."),
        count("n_runs", "Runs of this dose."),
        count("n", "Records."),
        count("n_events", "Records with the outcome."),
        number("rate", "n_events / n; in [0, 1]."),
        number("predicted", "Probability by the model of dose_response; in [0, 1]."),
        number("predicted_low", "Lower end of its pointwise band, by the interval on the logit scale; gee only."),
        number("predicted_high", "Upper end."),
        text("model", "gee, firth or none, as in dose_response."),
        _LEVEL,
        text("status", "As in dose_response."),
    ),
)

DOSE_TESTS = Table(
    name="dose_tests",
    doc="Does an outcome move with the dose, and is there a threshold? By method.",
    columns=(
        *_KEYS,
        _STEP,
        text(
            "test",
            "trend: within templates, by sign flips of templates; trend_iid: Cochran-Armitage, records taken as "
            "independent, for comparison; breakpoint: one bend against a straight line in log-odds, by sign flips.",
        ),
        number(
            "statistic", "z of a trend, above 0 for more with more compression; breakpoint: largest score statistic."
        ),
        number("p_value", "Two-sided, uncorrected; breakpoint: the search over doses is accounted for."),
        text(
            "verdict",
            "breakpoint only. threshold at X: bends, steeper beyond X (with more compression); flattens at X: bends, "
            "less steep beyond X or no slope shown there; turns at X: rises on one side and falls on the other; bends "
            "at X: bends, and no slope is shown on either side; gradual: no bend shown, but a slope on the near side "
            "of X already; undecided. X is in bits or in percent of sparsity.",
            nullable=True,
        ),
        number("breakpoint", "The interior dose at which the bent line fits best: bits, or sparsity in percent."),
        number("breakpoint_low", "Lower end of its interval over resampled templates; only where the line bends."),
        number("breakpoint_high", "Upper end."),
        number("slope_before", "Change of the log-odds per step on the side of the baseline, the breakpoint given."),
        number("slope_before_low", "Lower end of its interval, templates independent."),
        number("slope_before_high", "Upper end."),
        number("slope_after", "The same beyond the breakpoint."),
        number("slope_after_low", "Lower end of its interval."),
        number("slope_after_high", "Upper end."),
        count("n", "Records."),
        count("n_events", "Records with the outcome."),
        _N_CLUSTERS,
        count("n_doses", "Different doses with a record."),
        count("flips", "Random sign flips; missing for trend_iid.", nullable=True),
        count("seed", "Their seed; missing for trend_iid.", nullable=True),
        _LEVEL,
        text("status", "'ok'; what weakens the result; or why there is none."),
    ),
)

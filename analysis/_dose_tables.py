"""The tables of dose-response: what each holds."""

from __future__ import annotations

from analysis.columns import Table
from analysis.columns import count as _count
from analysis.columns import number as _number
from analysis.columns import text as _text

__all__ = ["DOSE_CURVES", "DOSE_RESPONSE", "DOSE_TESTS"]


_KEYS = (
    _text("base_model", "Model before compression."),
    _text("baseline", "Label of the run that the others are compared with."),
    _text("task", "lm-eval task name."),
    _text("filter", "lm-eval filter of the answers; 'none' where there is none."),
    _text("condition", "ambig or disambig; 'none' where the benchmark has no such split."),
    _text("category", "Category of the items, or 'all' for all of the task's items pooled."),
    _text("method", "Compression method, or 'all': the methods of this dose pooled."),
    _text(
        "outcome",
        "new_bias: an item without a stereotypical answer at baseline gets one (items at risk only, the baseline is no "
        "record); stereotype: an answer picks the stereotype (answered answers, the baseline's among them).",
    ),
    _text("unit", "What one record is: item or answer."),
    _text("dose", "bits or sparsity. Runs with both are left out."),
)
_STEP = _text("step", "The dose's unit, so that an odds ratio above 1 means more with more compression.")
_N_CLUSTERS = _count("n_clusters", "Templates of the items: the independent units.")
_LEVEL = _number("level", "Confidence level of the intervals.")

DOSE_RESPONSE = Table(
    name="dose_response",
    doc="Logistic regression of an outcome on bits or sparsity, by method, templates as the independent units.",
    columns=(
        *_KEYS,
        _STEP,
        _text(
            "term",
            "dose: the slope (of all methods together for method 'all'); 'dose x M': slope of method M minus that of "
            "the first method by name; interaction: the test that all methods have one slope.",
        ),
        _text(
            "model",
            "gee: population-averaged, robust to clusters; firth: penalised, records taken as independent; none.",
        ),
        _number("estimate", "Change of the log-odds per step."),
        _number("std_error", "Cluster-robust by template, bias-reduced (Mancl and DeRouen); firth: Wald."),
        _number("std_error_item", "Robust with items as the clusters, for comparison; missing for firth."),
        _number("statistic", "estimate / std_error; interaction: Wald F; firth: penalised likelihood ratio."),
        _number("df", "n_clusters - terms; of interaction, the denominator's; firth: 1, of chi-squared."),
        _number("p_value", "Two-sided, uncorrected."),
        _number("conf_low", "Lower end of the interval of estimate; firth: profile penalised likelihood."),
        _number("conf_high", "Upper end."),
        _number("odds_ratio", "exp(estimate): odds of the outcome per step; for 'dose x M' a ratio of odds ratios."),
        _number("odds_ratio_low", "Lower end of its interval."),
        _number("odds_ratio_high", "Upper end."),
        _number("marginal_effect", "Mean change of the probability per step over the records, in percentage points."),
        _number("marginal_effect_low", "Lower end of its interval (delta method); missing for firth."),
        _number("marginal_effect_high", "Upper end."),
        _text("working_correlation", "independence: the mean prediction is the observed share.", nullable=True),
        _number("exchangeable_estimate", "The slope under an exchangeable working correlation: a check."),
        _number("exchangeable_conf_low", "Lower end of its cluster-robust interval."),
        _number("exchangeable_conf_high", "Upper end."),
        _number("correlation", "Estimated correlation of two records of a template, given the dose, in that fit."),
        _text("exchangeable_status", "'ok', or why there is no check; missing where it is not made.", nullable=True),
        _number("mixed_estimate", "The slope in a mixed logit with a random intercept per template: a check."),
        _number("mixed_conf_low", "Lower end of its cluster-robust interval."),
        _number("mixed_conf_high", "Upper end."),
        _number("mixed_sd", "Standard deviation of the templates' intercepts, in log-odds."),
        _number("mixed_population", "The population's slope that the mixed logit implies: to compare with estimate."),
        _text("mixed_status", "'ok', or why there is no check; missing where it is not made.", nullable=True),
        _count("n", "Records."),
        _count("n_events", "Records with the outcome."),
        _count("n_items", "Items with a record."),
        _count("n_items_left_out", "Items of the baseline that some but not all of the runs hold."),
        _N_CLUSTERS,
        _count("n_doses", "Different doses with a record, the baseline's among them for stereotype."),
        _count("n_runs", "Runs, likewise."),
        _LEVEL,
        _text("status", "'ok'; what weakens the fit; or why it is penalised or missing."),
    ),
)

DOSE_CURVES = Table(
    name="dose_curves",
    doc="Observed share and predicted probability of an outcome at each dose, by method.",
    columns=(
        *_KEYS,
        _number("dose_value", "Bits, or sparsity in percent; 16 or 0 for the baseline."),
        _number("dose_steps", "The same in steps: 16 - bits, or sparsity in tens of points."),
        _count("n_runs", "Runs of this dose."),
        _count("n", "Records."),
        _count("n_events", "Records with the outcome."),
        _number("rate", "n_events / n; in [0, 1]."),
        _number("predicted", "Probability by the model of dose_response; in [0, 1]."),
        _number("predicted_low", "Lower end of its pointwise band, by the interval on the logit scale; gee only."),
        _number("predicted_high", "Upper end."),
        _text("model", "gee, firth or none, as in dose_response."),
        _LEVEL,
        _text("status", "As in dose_response."),
    ),
)

DOSE_TESTS = Table(
    name="dose_tests",
    doc="Does an outcome move with the dose, and is there a threshold? By method.",
    columns=(
        *_KEYS,
        _STEP,
        _text(
            "test",
            "trend: within templates, by sign flips of templates; trend_iid: Cochran-Armitage, records taken as "
            "independent, for comparison; breakpoint: one bend against a straight line in log-odds, by sign flips.",
        ),
        _number(
            "statistic", "z of a trend, above 0 for more with more compression; breakpoint: largest score statistic."
        ),
        _number("p_value", "Two-sided, uncorrected; breakpoint: the search over doses is accounted for."),
        _text(
            "verdict",
            "breakpoint only. threshold at X: bends, steeper beyond X (with more compression); flattens at X: bends, "
            "less steep beyond X or no slope shown there; turns at X: rises on one side and falls on the other; bends "
            "at X: bends, and no slope is shown on either side; gradual: no bend shown, but a slope on the near side "
            "of X already; undecided. X is in bits or in percent of sparsity.",
            nullable=True,
        ),
        _number("breakpoint", "The interior dose at which the bent line fits best: bits, or sparsity in percent."),
        _number("breakpoint_low", "Lower end of its interval over resampled templates; only where the line bends."),
        _number("breakpoint_high", "Upper end."),
        _number("slope_before", "Change of the log-odds per step on the side of the baseline, the breakpoint given."),
        _number("slope_before_low", "Lower end of its interval, templates independent."),
        _number("slope_before_high", "Upper end."),
        _number("slope_after", "The same beyond the breakpoint."),
        _number("slope_after_low", "Lower end of its interval."),
        _number("slope_after_high", "Upper end."),
        _count("n", "Records."),
        _count("n_events", "Records with the outcome."),
        _N_CLUSTERS,
        _count("n_doses", "Different doses with a record."),
        _count("draws", "Random sign flips; missing for trend_iid.", nullable=True),
        _count("seed", "Their seed; missing for trend_iid.", nullable=True),
        _LEVEL,
        _text("status", "'ok'; what weakens the result; or why there is none."),
    ),
)

"""The tables of dose-response: what each holds."""

from __future__ import annotations

from ...answers.measures import UNANSWERED_RATE
from ...schema.columns import Table, count, ends, flag, number, text
from ...schema.shared import (
    BASE_MODEL,
    BASELINE,
    CATEGORY,
    CONDITION,
    CONF_HIGH,
    CONF_LOW,
    DF,
    ESTIMATE,
    FAMILY,
    FAMILY_SIZE,
    FILTER,
    LEVEL,
    METHOD,
    MODEL,
    N_CLUSTERS,
    N_DOSES,
    N_EVENTS,
    N_ITEMS,
    N_RUNS,
    ODDS_RATIO,
    ODDS_RATIO_ENDS,
    OUTCOME,
    P_VALUE,
    P_VALUE_BH,
    P_VALUE_HOLM,
    RATE,
    SEED,
    STATISTIC,
    STATUS,
    STD_ERROR,
    TASK,
    TERM,
    TEST,
    UNIT,
    VERDICT,
    N,
)
from ..measured import measure_column

__all__ = ["DOSE_CURVES", "DOSE_RESPONSE", "DOSE_TESTS"]


_KEYS = (
    BASE_MODEL,
    BASELINE.here("All runs of the row are."),
    TASK,
    FILTER,
    CONDITION,
    CATEGORY,
    METHOD.here("'all' for the methods of this dose pooled, each variant one of them."),
    OUTCOME.here(
        "net_bias: an answered item has a stereotypical answer, the baseline's among the records, so that the change "
        "between two doses is new minus resolved bias; stereotype: an answer picks the stereotype (answered answers, "
        "the baseline's among them); new_bias: an item without a stereotypical answer at baseline gets one; "
        "resolved_bias: an item with one has none (items at risk only, the baseline is no record).",
    ),
    UNIT.here("item or answer: what one record is. Templates are what is independent."),
    text("dose", "bits or sparsity. Runs with both are left out."),
    flag(
        "primary",
        "Whether the outcome has a direction: net_bias and stereotype. New and resolved bias rise with any churn that "
        "grows with the dose, so that neither says anything without the net.",
    ),
)
_STEP = text("step", "The dose's unit, so that an odds ratio above 1 means more with more compression.")
_RECORDS = N.here("Records.")

DOSE_RESPONSE = Table(
    name="dose_response",
    doc="Logistic regression of an outcome on bits or sparsity, by method, templates as the independent units.",
    columns=(
        *_KEYS,
        _STEP,
        TERM.here(
            "dose: the slope (of all methods together for method 'all'); 'dose x M': slope of method M minus that of "
            "the first method by name; interaction: the test that all methods have one slope.",
        ),
        MODEL,
        ESTIMATE.here("Per step."),
        STD_ERROR.here("Cluster-robust by template, bias-reduced (Mancl and DeRouen); missing for firth."),
        number("std_error_item", "Robust with items as the clusters, for comparison; missing for firth."),
        STATISTIC.here("estimate / std_error; interaction: Wald F; missing for firth."),
        DF.here(
            "Effective templates minus 1, by what each tells of the term, at most n_clusters - terms; of "
            "interaction, the smallest of its slopes'."
        ),
        P_VALUE.here("Of the slope, missing for firth; dose_tests has the test that decides, corrected."),
        CONF_LOW.here("Of estimate; missing for firth."),
        CONF_HIGH,
        number(
            "p_value_records",
            "firth only: penalised likelihood ratio, records taken as independent. Where all events are of few "
            "templates it finds a slope that is not there in most cases.",
        ),
        number("records_low", "firth only: lower end of estimate's profile interval, records taken as independent."),
        number("records_high", "Its upper end."),
        ODDS_RATIO.here("exp(estimate): per step; for 'dose x M' a ratio of odds ratios."),
        *ODDS_RATIO_ENDS,
        number("marginal_effect", "Mean change of the probability per step over the records, in percentage points."),
        *ends("marginal_effect", "Delta method; none for firth."),
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
        _RECORDS,
        N_EVENTS,
        N_ITEMS.here("With a record."),
        count("n_items_left_out", "Items of the baseline that some but not all of the runs hold."),
        N_CLUSTERS,
        N_DOSES.here("The baseline's among them for primary outcomes."),
        N_RUNS.here("Likewise."),
        LEVEL,
        STATUS.here("Also what weakens the fit, why it is penalised, or why nothing is said of missing answers."),
    ),
)

DOSE_CURVES = Table(
    name="dose_curves",
    doc="Observed share and predicted probability of an outcome at each dose, by method.",
    columns=(
        *_KEYS,
        number("dose_value", "Bits, or sparsity in percent; 16 or 0 for the baseline."),
        number("dose_steps", "The same in steps: 16 - bits, or sparsity in tens of points."),
        N_RUNS.here("Of this dose."),
        _RECORDS,
        N_EVENTS,
        RATE.here("n_events / n."),
        number(
            "rate_change",
            "rate minus the baseline's, of primary outcomes: for net_bias new minus resolved bias; in [-1, 1].",
        ),
        measure_column(UNANSWERED_RATE).here("Of these items."),
        number("predicted", "Probability by the model of dose_response; in [0, 1]."),
        *ends("predicted", "Pointwise, by the interval on the logit scale; gee only."),
        MODEL,
        LEVEL,
        STATUS.here("As in dose_response."),
    ),
)

DOSE_TESTS = Table(
    name="dose_tests",
    doc="Does an outcome move with the dose, and is there a threshold? By method.",
    columns=(
        *_KEYS,
        _STEP,
        TEST.here(
            "trend: within templates, by sign flips of templates; trend_iid: Cochran-Armitage, records taken as "
            "independent, for comparison; breakpoint: one bend against a straight line in log-odds, by sign flips.",
        ),
        STATISTIC.here("z of a trend, above 0 for more with more compression; breakpoint: largest score statistic."),
        P_VALUE.here(
            "breakpoint: the search over doses is accounted for. Missing where missing answers differ between the "
            "doses by more than the margin."
        ),
        P_VALUE_HOLM.here("Primary outcomes only."),
        P_VALUE_BH.here("Likewise."),
        FAMILY.here("Pooled categories form one family, single ones another.", nullable=True),
        FAMILY_SIZE.here("Missing outside of a family.", nullable=True),
        VERDICT.here(
            "trend: rises or falls with compression (after Holm), undecided, or withheld (missing answers differ "
            "between the doses by more than the margin); spread, of net_bias: it moves, but the stereotypical choice "
            "is not shown to do so, as where probabilities become more even. "
            "breakpoint: threshold at X: bends, steeper beyond X (with more compression); flattens at X: bends, "
            "less steep beyond X or no slope shown there; turns at X: rises on one side and falls on the other; bends "
            "at X: bends, and no slope is shown on either side; gradual: no bend shown, but a slope on the near side "
            "of X already; undecided; withheld. X is in bits or in percent of sparsity. "
            "Of new and resolved bias: 'net' and the verdict on the trend of net_bias.",
            nullable=True,
        ),
        number(
            "step_change",
            "trend: linear change of the share per step, in percentage points, within templates.",
        ),
        *ends(
            "step_change",
            "Templates independent, no one's moves beyond the setting reach; missing answers at their worst.",
        ),
        number("breakpoint", "The interior dose at which the bent line fits best: bits, or sparsity in percent."),
        *ends("breakpoint", "Over resampled templates; only where the line bends."),
        number("slope_before", "Change of the log-odds per step on the side of the baseline, the breakpoint given."),
        *ends("slope_before", "Templates independent."),
        number("slope_after", "The same beyond the breakpoint."),
        *ends("slope_after", "Templates independent."),
        _RECORDS,
        N_EVENTS,
        N_CLUSTERS,
        N_DOSES,
        count(
            "flips",
            "Random sign flips, more for a small p-value; missing for trend_iid.",
            nullable=True,
        ),
        SEED.here("Missing for trend_iid.", nullable=True),
        LEVEL,
        STATUS.here("Also what weakens the result."),
    ),
)

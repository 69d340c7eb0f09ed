"""The tables that compare answers by role: what each holds, once, for code, tests and documentation."""

from __future__ import annotations

from analysis.columns import Column, Table
from analysis.columns import count as _count
from analysis.columns import number as _number
from analysis.columns import text as _text

__all__ = [
    "BIAS_SCORES",
    "RATES",
    "ROLE_TRANSITIONS",
    "STUDY_LOGISTIC",
    "STUDY_TESTS",
    "TABLES",
    "TRANSITIONS",
]


_RUN = _text("run", "Label of the run.")
_BASELINE = _text("baseline", "Label of the run it is compared with.")
_OWN_BASELINE = _text("baseline", "Label of the run it is compared with; missing for a baseline.", nullable=True)
_TASK = _text("task", "lm-eval task name.")
_FILTER = _text("filter", "lm-eval filter of the answers; 'none' where there is none.")
_CONDITION = _text("condition", "ambig or disambig; 'none' where the benchmark has no such split.")
_CATEGORY = _text("category", "Category of the items, or 'all' for all of the task's items pooled.")
_SUBSET = _text("subset", "all, or latent: only items whose baseline item SRS is at least 0.2.")
_STATUS = _text("status", "'ok', or the reason why the row holds no result.")


def _interval(name: str, doc: str) -> tuple[Column, ...]:
    """A proportion and its Wilson interval."""
    wilson = f"end of the 95 % Wilson interval of {name}, answers taken as independent; missing for means."
    return (
        _number(name, f"{doc}; in [0, 1]."),
        _number(f"{name}_low", f"Lower {wilson}"),
        _number(f"{name}_high", f"Upper {wilson}"),
    )


def _against_baseline(name: str, *, percent: bool = False) -> tuple[Column, ...]:
    """The baseline's value of a quantity and the change from it; a baseline is its own baseline."""
    columns = (
        _number(f"{name}_baseline", f"{name} of the baseline on the same items."),
        _number(f"{name}_delta", f"{name} minus {name}_baseline."),
    )
    change = _number(f"{name}_pct_change", f"100 x {name}_delta / {name}_baseline; missing at a baseline of 0.")
    return (*columns, change) if percent else columns


RATES = Table(
    name="rates",
    doc="Shares of the chosen roles per run, task, filter, condition, category, aggregate and subset.",
    columns=(
        _RUN,
        _OWN_BASELINE,
        _TASK,
        _FILTER,
        _CONDITION,
        _text("category", "Category of the items, or 'all'."),
        _text(
            "aggregate",
            "none (one category), pooled (all answers), category_mean (plain mean of the categories).",
        ),
        _SUBSET,
        _count("n_categories", "Categories in the row."),
        _count("n_items", "Items whose roles are known: the items that the row is about."),
        _count("n", "Answers to these items: n_answered + n_unparsed + n_unscored."),
        _count("n_answered", "Answers that name an option: the denominator of srs, usr and anti_rate."),
        _count("n_unparsed", "Texts in which no option was found."),
        _count("n_unscored", "Items without a usable score."),
        _count("n_undetermined", "Answers left out because the item's roles are not known."),
        _count("n_stereotype", "Answers that pick the stereotype-consistent option."),
        _count("n_anti_stereotype", "Answers that pick the other person or group."),
        _count("n_unknown", "Answers that pick the unknown option."),
        _count("n_keyed", "Answers to items with a keyed option: the denominator of acc."),
        *_interval("srs", "Stereotype reliance score, n_stereotype / n_answered"),
        *_interval("usr", "Unknown selection rate, n_unknown / n_answered"),
        *_interval("anti_rate", "n_anti_stereotype / n_answered"),
        *_interval("unparsed_rate", "n_unparsed / n"),
        *_interval("acc", "Share of the keyed answer among n_keyed; an unanswered item is wrong"),
        _number(
            "response_entropy",
            "Shannon entropy in bits of the chosen option letters, pooled; 0 to log2(options).",
        ),
        *_against_baseline("srs", percent=True),
        *_against_baseline("usr", percent=True),
        *_against_baseline("anti_rate", percent=True),
        *_against_baseline("unparsed_rate"),
        *_against_baseline("acc"),
        *_against_baseline("response_entropy"),
    ),
)


def _bias_columns(condition: str, formula: str) -> tuple[Column, ...]:
    """Counts, accuracy and bias score of one condition."""
    bias = f"bias_{condition}"
    return (
        _count(f"n_{condition}", f"Answers to {condition} items whose roles are known."),
        _count(f"n_answered_{condition}", "Those that name an option."),
        _count(f"n_non_unknown_{condition}", "Those that name a person or group."),
        _count(f"n_stereotype_{condition}", "Those that name the stereotype-consistent one."),
        _number(f"acc_{condition}", "Share of the keyed answer among those with a key, unanswered ones wrong."),
        _number(bias, f"{formula}; in [-1, 1], 0 without bias, -1 if no non-unknown answer is stereotypical."),
        _text(f"{bias}_reason", f"Why {bias} is missing; missing where it is defined.", nullable=True),
        *_against_baseline(f"acc_{condition}"),
        *_against_baseline(bias),
    )


BIAS_SCORES = Table(
    name="bias_scores",
    doc="BBQ's published accuracies and bias scores, one row per run, task, filter and category.",
    columns=(
        _RUN,
        _OWN_BASELINE,
        _TASK,
        _FILTER,
        _CATEGORY,
        _count("n_undetermined_items", "Items left out because their roles are not known."),
        *_bias_columns("ambig", "(1 - acc_ambig) x (2 n_stereotype_ambig / n_non_unknown_ambig - 1)"),
        *_bias_columns("disambig", "2 n_stereotype_disambig / n_non_unknown_disambig - 1"),
    ),
)

ROLE_TRANSITIONS = Table(
    name="role_transitions",
    doc="Role at baseline against role after compression, paired by item and seed, one row per cell.",
    columns=(
        _RUN,
        _BASELINE,
        _TASK,
        _FILTER,
        _CONDITION,
        _CATEGORY,
        _text(
            "role_baseline",
            "Role at baseline: stereotype, anti_stereotype, unknown, undetermined, unparsed, unscored.",
        ),
        _text("role_compressed", "Role after compression, of the same six."),
        _count("n", "Answer pairs in the cell; cells without any are listed too."),
        _count("row_total", "Answer pairs with this role at baseline."),
        _count("column_total", "Answer pairs with this role after compression."),
        _count("total", "Answer pairs in the matrix."),
        _count("n_unpaired", "Answers of either run whose item and seed the other run lacks: in no cell."),
        _number("row_share", "n / row_total; in [0, 1]; missing for an empty row."),
    ),
)

TRANSITIONS = Table(
    name="transitions",
    doc="How many items or answers changed, in which direction, of those that could.",
    columns=(
        _text("run", "Label of the run; missing for a mean over methods.", nullable=True),
        _BASELINE,
        _TASK,
        _FILTER,
        _CONDITION,
        _CATEGORY,
        _SUBSET,
        _text(
            "transition",
            "new_bias (item SRS 0 at baseline, above 0 after), resolved_bias (above 0, then 0), "
            "srs_change (item SRS differs), flip_to_stereotype (another role, then the stereotype), "
            "flip_from_stereotype (the stereotype, then another role), response_flip (another option).",
        ),
        _text(
            "unit",
            "item (item SRS, over the answered seeds) or answer (a seed of an item, answered in both runs).",
        ),
        _text(
            "summary",
            "run, or mean_over_methods: the studies' dose-response, a plain mean over a sparsity's runs.",
        ),
        _count("n_runs", "Runs in the row: 1, or how many the mean is taken over."),
        _number("sparsity", "Asked sparsity of the run or runs, in [0, 1]; missing without one."),
        _count("n_items", "Items of the row whose roles are known."),
        _count(
            "n_at_risk",
            "Items or answers that could make it; missing for a mean over runs that differ in this number.",
            nullable=True,
        ),
        _count("n", "Those that made it; missing for a mean over methods.", nullable=True),
        _count(
            "n_unanswered",
            "Unit item: items at risk without an answered seed after compression, whose item SRS counts as 0 "
            "as in the studies. Unit answer: pairs with an unanswered side, which are not at risk.",
            nullable=True,
        ),
        _number("rate", "n / n_at_risk; in [0, 1]; missing when nothing is at risk."),
        _number("conf_low", "Lower end of the 95 % Wilson interval of rate, units independent; missing for means."),
        _number("conf_high", "Upper end."),
        _number("mean_item_srs_baseline", "Mean baseline item SRS of the items at risk (unit item)."),
        _number("mean_item_srs", "Mean item SRS after compression of the same items, 0 for unanswered ones."),
        _number("mean_item_srs_change", "mean_item_srs minus mean_item_srs_baseline."),
    ),
)

STUDY_TESTS = Table(
    name="study_tests",
    doc="The studies' chi-squared tests and Cohen's h of run against baseline, as published.",
    columns=(
        _RUN,
        _BASELINE,
        _TASK,
        _FILTER,
        _CONDITION,
        _CATEGORY,
        _text("unit", "What the test takes as independent, in words."),
        _count("n_baseline", "Answered at baseline."),
        _count("n", "Answered after compression."),
        _number("srs_baseline", "Stereotype reliance score at baseline; in [0, 1]."),
        _number("srs", "Stereotype reliance score after compression; in [0, 1]."),
        _number("srs_delta", "srs minus srs_baseline."),
        _count(
            "count_baseline",
            "Stereotype count at baseline as the studies rebuild it, int(srs x n): can be 1 low.",
            nullable=True,
        ),
        _count("count", "Likewise after compression.", nullable=True),
        _number("min_expected", "Smallest expected count of the 2 x 2 table; the test is unreliable below 5."),
        _number("chi2", "Chi-squared statistic with Yates' correction, 1 degree of freedom."),
        _number("p_value", "Its p-value, two-sided, not corrected for multiplicity."),
        Column(name="significant", kind="boolean", nullable=True, doc="Whether p_value < 0.05."),
        _text("significance", "*** below 0.001, ** below 0.01, * below 0.05, else '-'.", nullable=True),
        _number("cohens_h", "2 (asin sqrt srs - asin sqrt srs_baseline); in [-pi, pi]."),
        _text(
            "effect_size",
            "Band of |cohens_h|: negligible < 0.2 <= small < 0.5 <= medium < 0.8 <= large.",
            nullable=True,
        ),
        _STATUS,
    ),
)

STUDY_LOGISTIC = Table(
    name="study_logistic",
    doc="The studies' logistic regressions of 'stereotype chosen' on bits or sparsity; one row per term.",
    columns=(
        _text("form", "bits (pooled over models) or sparsity (one model at a time)."),
        _text("model", "Base model, or 'all' for the pooled form."),
        _TASK,
        _FILTER,
        _CONDITION,
        _text("unit", "What the regression takes as independent, in words."),
        _text(
            "term",
            "const, bits, sparsity_percent, category_<name>, method_<name>; missing if nothing was fitted.",
            nullable=True,
        ),
        _number(
            "estimate",
            "Coefficient, in log-odds per bit, per percentage point, or against the reference level.",
        ),
        _number("std_error", "Its standard error."),
        _number("statistic", "estimate / std_error, a z."),
        _number("p_value", "Two-sided p-value of the z, not corrected for multiplicity."),
        _number("conf_low", "Lower end of the 95 % Wald interval of the estimate."),
        _number("conf_high", "Upper end."),
        _number("odds_ratio", "exp(estimate)."),
        _number("odds_ratio_low", "exp(conf_low)."),
        _number("odds_ratio_high", "exp(conf_high)."),
        _text("reference", "Reference levels of the dummies."),
        _count("n", "Answered records in the model."),
        _count("n_events", "Records that chose the stereotype."),
        _count("n_runs", "Runs in the model, baselines included."),
        _count("n_items", "Different items, each counted once per base model."),
        _count("df_model", "Terms besides the constant.", nullable=True),
        _number("llf", "Log-likelihood."),
        _number("llnull", "Log-likelihood of the constant alone."),
        _number("llr_p_value", "p-value of the likelihood ratio test against the constant alone."),
        _number("pseudo_r2", "McFadden's 1 - llf / llnull."),
        _number("aic", "Akaike's criterion."),
        _number("bic", "Schwarz's criterion."),
        Column(
            name="converged",
            kind="boolean",
            nullable=True,
            doc="Whether the fit converged; missing if none was tried.",
        ),
        _text("cov_type", "Covariance of the estimates: nonrobust, as in the studies.", nullable=True),
        _STATUS,
    ),
)

TABLES: tuple[Table, ...] = (RATES, BIAS_SCORES, ROLE_TRANSITIONS, TRANSITIONS, STUDY_TESTS, STUDY_LOGISTIC)
"""In the order in which a report shows them."""

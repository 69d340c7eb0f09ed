"""What the tables of transitions hold."""

from __future__ import annotations

from ...schema.columns import Table, count, number, text
from ...schema.shared import BASELINE, CATEGORY, CONDITION, FILTER, RUN, SUBSET, TASK

__all__ = ["ROLE_TRANSITIONS", "TRANSITIONS"]

ROLE_TRANSITIONS = Table(
    name="role_transitions",
    doc="Role at baseline against role after compression, paired by item and seed, one row per cell.",
    columns=(
        RUN,
        BASELINE,
        TASK,
        FILTER,
        CONDITION,
        CATEGORY,
        text(
            "role_baseline",
            "Role at baseline, as the benchmark names it (BBQ: stereotype, anti_stereotype, unknown, undetermined), "
            "several on one axis joined by '|'; or unparsed, unscored.",
        ),
        text("role_compressed", "Role after compression, likewise."),
        text(
            "axis_baseline",
            "Axis of that role: toward, against, neutral, off, undetermined (on none); or unparsed, unscored.",
        ),
        text("axis_compressed", "Axis of the role after compression."),
        count("n", "Answer pairs in the cell; cells without any are listed too."),
        count("row_total", "Answer pairs with this role at baseline."),
        count("column_total", "Answer pairs with this role after compression."),
        count("total", "Answer pairs in the matrix."),
        count("n_unpaired", "Answers of either run whose item and seed the other run lacks: in no cell."),
        number("row_share", "n / row_total; in [0, 1]; missing for an empty row."),
    ),
)


TRANSITIONS = Table(
    name="transitions",
    doc="How many items or answers changed, in which direction, of those that could.",
    columns=(
        text("run", "Label of the run; missing for a mean over methods.", nullable=True),
        BASELINE,
        TASK,
        FILTER,
        CONDITION,
        CATEGORY,
        SUBSET,
        text(
            "transition",
            "new_bias (item SRS 0 at baseline, above 0 after), resolved_bias (above 0, then 0), "
            "srs_change (item SRS differs), flip_to_stereotype (another axis, then toward the stereotype), "
            "flip_from_stereotype (the reverse), response_flip (another option).",
        ),
        text(
            "unit",
            "item (item SRS, over the answered seeds) or answer (a seed of an item, answered in both runs).",
        ),
        text(
            "summary",
            "run, or mean_over_methods: the studies' dose-response, a plain mean over a sparsity's runs.",
        ),
        count("n_runs", "Runs in the row: 1, or how many the mean is taken over."),
        number("sparsity", "Asked sparsity of the run or runs, in [0, 1]; missing without one."),
        count("n_items", "Items of the row whose direction is told."),
        count(
            "n_at_risk",
            "Items or answers that could make it; missing for a mean over runs that differ in this number.",
            nullable=True,
        ),
        count("n", "Those that made it; missing for a mean over methods.", nullable=True),
        count(
            "n_unanswered",
            "Unit item: items at risk without an answered seed after compression, whose item SRS counts as 0 "
            "as in the studies. Unit answer: pairs with an unanswered side, which are not at risk.",
            nullable=True,
        ),
        number("rate", "n / n_at_risk; in [0, 1]; missing when nothing is at risk."),
        number("conf_low", "Lower end of the 95 % Wilson interval of rate, units independent; missing for means."),
        number("conf_high", "Upper end."),
        number("mean_item_srs_baseline", "Mean baseline item SRS of the items at risk (unit item)."),
        number("mean_item_srs", "Mean item SRS after compression of the same items, 0 for unanswered ones."),
        number("mean_item_srs_change", "mean_item_srs minus mean_item_srs_baseline."),
    ),
)

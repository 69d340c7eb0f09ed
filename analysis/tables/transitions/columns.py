"""What the tables of transitions hold."""

from __future__ import annotations

from ...schema.columns import Table, count, number, text
from ...schema.shared import (
    AXIS_BASELINE,
    BASELINE,
    CATEGORY,
    CONDITION,
    CONF_HIGH,
    CONF_LOW,
    FILTER,
    KEYS,
    N_AT_RISK,
    N_ITEMS,
    N_RUNS,
    P_VALUE,
    RATE,
    ROLE_BASELINE,
    RUN,
    SIGNED_EVENTS,
    SPARSITY,
    STATUS,
    SUBSET,
    TASK,
    TRANSITION,
    UNIT,
    N,
)

__all__ = ["ROLE_TRANSITIONS", "TRANSITIONS"]

ROLE_TRANSITIONS = Table(
    name="role_transitions",
    doc="Role at baseline against role after compression, paired by item and seed, one row per cell.",
    columns=(
        *KEYS,
        ROLE_BASELINE.here(
            "BBQ: stereotype, anti_stereotype, unknown, undetermined; several on one axis joined by '|'; or unparsed, "
            "unscored."
        ),
        text("role_compressed", "Role after compression, likewise."),
        AXIS_BASELINE.here("Or unparsed, unscored."),
        text("axis_compressed", "Axis of the role after compression."),
        N.here("Pairs in the cell; cells without any are listed too."),
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
        RUN.here("Missing for a mean over methods.", nullable=True),
        BASELINE,
        TASK,
        FILTER,
        CONDITION,
        CATEGORY,
        SUBSET,
        TRANSITION.here(
            "With several texts an item, net_bias also answers to probabilities that become more even; net_flips does "
            "not. No net of latent items: chosen for what they showed at baseline, they can hardly but resolve."
        ),
        UNIT.here("item (item SRS, over the answered seeds) or answer (a seed of an item, answered in both runs)."),
        text(
            "summary",
            "run, or mean_over_methods: the studies' dose-response, a plain mean over the methods of a sparsity. None "
            "where a method is there in two variants.",
        ),
        text("methods", "Methods that the mean is over, each counted once; missing for a run.", nullable=True),
        N_RUNS.here("1, or how many runs the methods of the mean have."),
        SPARSITY,
        N_ITEMS.here("Their direction is told."),
        N_AT_RISK.here(
            "net_bias: items with an answered seed in both runs, since each can make one of new and resolved bias. "
            "net_flips: pairs answered on both sides. Missing for a mean over runs that differ in this number.",
            nullable=True,
        ),
        SIGNED_EVENTS.here(f"{SIGNED_EVENTS.note} Missing for a mean over methods.", nullable=True),
        count(
            "n_unanswered",
            "Unit item: items at risk without an answered seed after compression, whose item SRS counts as 0 "
            "as in the studies. Unit answer, and net_bias: with an unanswered side, which are not at risk.",
            nullable=True,
        ),
        RATE.here("n_events / n_at_risk; of a net, in [-1, 1]."),
        CONF_LOW.here(
            "Templates independent: jackknife on the scale of log-odds; for a rate of 0 or 1, and for nets, by what "
            "one template may move at most (setting reach). Of nets missing answers are at their worst. Means "
            "have none."
        ),
        CONF_HIGH,
        P_VALUE.here("Nets only: of no net change, missing answers at their worst."),
        number("mean_item_srs_baseline", "Mean baseline item SRS of the items at risk (unit item)."),
        number("mean_item_srs", "Mean item SRS after compression of the same items, 0 for unanswered ones."),
        number("mean_item_srs_change", "mean_item_srs minus mean_item_srs_baseline."),
        STATUS.here("Of the interval."),
    ),
)

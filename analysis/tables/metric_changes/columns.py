"""Declaration of the table of metrics."""

from __future__ import annotations

from ...schema.columns import Table, flag, number, text
from ...schema.shared import (
    BASELINE,
    CONF_HIGH,
    CONF_LOW,
    FILTER,
    FLIP_RATE,
    METRIC,
    N_CLUSTERS,
    N_GAINED,
    N_ITEMS,
    N_LEFT_OUT,
    N_LOST,
    RUN,
    STATUS,
    TASK,
    UNIT,
    VALUE,
    VALUE_BASELINE,
    N,
)

__all__ = ["AGGREGATE", "INDICATOR", "METRIC_CHANGES", "NUMBER"]

INDICATOR, NUMBER, AGGREGATE = "0/1", "number", "aggregate"
"""Kinds of a metric."""

METRIC_CHANGES = Table(
    name="metric_changes",
    doc="Every metric of every task and filter beside the baseline's on the same lines: value, change and interval.",
    columns=(
        RUN,
        BASELINE,
        TASK.here("Or a group of tasks that the results file has a value of: all lines of its tasks."),
        FILTER,
        METRIC.here("Any that is a number in the lines or in the results file."),
        flag("decides", "Whether this metric says which answers are right: in flips, accuracy and all that uses them."),
        text(
            "metric_kind",
            f"{INDICATOR} (no other value in any line of both runs), {NUMBER}, or {AGGREGATE} (a value of the results "
            "file, not of lines); missing where no line has a value.",
            nullable=True,
        ),
        text(
            "aggregation",
            "How lm_eval makes one value of the lines, by its task's configuration; missing where that does not tell.",
            nullable=True,
        ),
        flag(
            "higher_is_better",
            "By the results file; missing where it does not say, and of a mean that lm_eval does not report.",
            nullable=True,
        ),
        N.here(f"Those that have the value in both runs; missing for {AGGREGATE}.", nullable=True),
        N_ITEMS.here(f"Documents of these lines; missing for {AGGREGATE}.", nullable=True),
        N_CLUSTERS.here("Or the documents themselves, see unit.", nullable=True),
        UNIT.here("template, or document where items have no template.", nullable=True),
        VALUE_BASELINE,
        VALUE.here(f"Mean of the n lines; for {AGGREGATE} the results file's own."),
        number("change", "value minus value_baseline."),
        CONF_LOW.here("Of change: delete-one jackknife over units; over documents that is the paired t interval."),
        CONF_HIGH,
        N_GAINED.here(f"Lines, yes being 1; missing unless {INDICATOR}.", nullable=True),
        N_LOST.here("Likewise.", nullable=True),
        FLIP_RATE.here(f"(n_gained + n_lost) / n; missing unless {INDICATOR}."),
        N_LEFT_OUT.here("Lines without the value (null, NaN, infinite) in one run or both.", nullable=True),
        STATUS,
    ),
)

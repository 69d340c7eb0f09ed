"""What perplexity says about a compression beside what happens to its answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..compare.pairing import Pair
from ..logs import Issue, Logs, RunLog
from ..schema.columns import Table, count, ends, number, text
from ..schema.declare import ReportTable
from ..schema.shared import (
    CONDITION,
    FILTER,
    NET_BIAS_PCT,
    NET_FLIPS_PCT,
    NETS,
    NEW_BIAS_PCT,
    PERPLEXITY,
    PERPLEXITY_PCT_CHANGE,
    RESOLVED_BIAS_PCT,
    RUN,
    TASK,
)
from .sources import PERPLEXITY_CHANGES
from .transitions.table import TRANSITIONS_TABLE

__all__ = ["EVALUATION_GAP", "EVALUATION_GAP_TABLE", "PERPLEXITIES", "evaluation_gap", "perplexity_changes"]


_PERPLEXITY = (
    RUN,
    text(
        "perplexity_run",
        "Label of the run that the perplexity is of: the run itself, or one of the same weights.",
    ),
    text("perplexity_baseline_run", "Label of the run that this perplexity is compared with."),
    text("perplexity_task", "Task that the perplexity is of."),
    text(
        "perplexity_metric",
        "word_perplexity, byte_perplexity, token_perplexity or perplexity; after a comma any filter.",
    ),
    number("perplexity_baseline", "Perplexity of the baseline; at least 1."),
    PERPLEXITY,
    PERPLEXITY_PCT_CHANGE,
)

PERPLEXITIES = Table(
    name="perplexities",
    doc="Perplexity of each run beside its baseline's, per task and metric. Not written: see evaluation_gap.",
    columns=_PERPLEXITY,
)

EVALUATION_GAP = Table(
    name="evaluation_gap",
    doc=(
        "Change of perplexity beside new and resolved bias and their net: what a perplexity check would have said and "
        "what happened to the answers. The texts differ, so the two are set side by side, never subtracted."
    ),
    columns=(
        *_PERPLEXITY,
        TASK.here("Of the answers; missing if the run has no bias items.", nullable=True),
        FILTER.here("Likewise.", nullable=True),
        CONDITION.here("Likewise.", nullable=True),
        count("n_at_risk_new_bias", "Items that never chose the stereotype at baseline.", nullable=True),
        NEW_BIAS_PCT,
        count(
            "n_at_risk_resolved_bias",
            "Items that chose the stereotype at least once at baseline.",
            nullable=True,
        ),
        RESOLVED_BIAS_PCT,
        count("n_at_risk_net_bias", "Items answered in both runs.", nullable=True),
        NET_BIAS_PCT,
        *ends("net_bias_pct", "As in transitions: templates independent, missing answers at their worst."),
        count("n_at_risk_net_flips", "Pairs of answers that are answered in both runs.", nullable=True),
        NET_FLIPS_PCT,
        *ends("net_flips_pct", "Likewise."),
    ),
)


def perplexity_changes(logs: Logs, pairs: Iterable[Pair]) -> tuple[pd.DataFrame, list[Issue]]:
    """Every perplexity that may be compared with its baseline's.

    A run without perplexity borrows that of runs whose scored weights have the same hash and that were scored
    in the same dtype (the perplexity task run on its own).

    Args:
        logs: Runs.
        pairs: Accepted pairs; those over different documents are left out, since an aggregate can't be cut
            down to the common ones.

    Returns:
        Table PERPLEXITIES, and a note for each pair left out.
    """
    own: dict[str, list[dict[str, Any]]] = {}
    paired = {}
    issues = []
    for pair in pairs:
        paired[pair.run] = logs.runs[pair.run]
        run, base = logs.runs[pair.run], logs.runs[pair.baseline]
        shared = [name for name in run.tasks[pair.task].perplexities if name in base.tasks[pair.task].perplexities]
        if shared and any(difference.name == "items" for difference in pair.accepted):
            message = f"perplexity of {pair.run} on {pair.task} is not compared: it is over other documents"
            issues.append(Issue(run.file, "perplexity_items", message, "note"))
            continue
        own.setdefault(pair.run, []).extend(_row(pair, name, run, base) for name in shared)
    rows = []
    for label, run in paired.items():
        sources = [label] if own.get(label) else [other for other in own if _same_weights(run, logs.runs[other])]
        rows += [{**row, "run": label} for source in sources for row in own[source]]
    frame = PERPLEXITIES.conform(pd.DataFrame(rows)) if rows else PERPLEXITIES.empty()
    return frame, issues


def _row(pair: Pair, metric: str, run: RunLog, base: RunLog) -> dict[str, Any]:
    after, before = (log.tasks[pair.task].perplexities[metric] for log in (run, base))
    usable = math.isfinite(after) and math.isfinite(before) and before > 0
    return {
        "perplexity_run": pair.run,
        "perplexity_baseline_run": pair.baseline,
        "perplexity_task": pair.task,
        "perplexity_metric": metric,
        "perplexity_baseline": before,
        "perplexity": after,
        "perplexity_pct_change": 100 * (after / before - 1) if usable else None,
    }


def _same_weights(run: RunLog, other: RunLog) -> bool:
    own = run.facts["weights_hash"]
    return bool(own) and own == other.facts["weights_hash"] and run.scoring_dtype == other.scoring_dtype


def evaluation_gap(perplexities: pd.DataFrame, transitions: pd.DataFrame) -> pd.DataFrame:
    """Set each run's perplexity changes beside its new and resolved bias, and the net of both.

    Args:
        perplexities: Table PERPLEXITIES.
        transitions: Table TRANSITIONS; its rows over all categories, all items, one run are used.

    Returns:
        Table EVALUATION_GAP: one row per run, perplexity metric, and task, filter and condition of the bias
        items. A run without bias items keeps its perplexity with the rest missing; one without perplexity
        has no row.
    """
    rows = transitions[
        (transitions["summary"] == "run") & (transitions["category"] == "all") & (transitions["subset"] == "all")
    ]
    keys = ["run", "task", "filter", "condition"]
    bias = rows[keys].drop_duplicates()
    for name in ("new_bias", "resolved_bias", *NETS):
        of_kind = rows[rows["transition"] == name]
        part = of_kind[keys].assign(**{f"n_at_risk_{name}": of_kind["n_at_risk"], f"{name}_pct": 100 * of_kind["rate"]})
        if name in NETS:
            ends_of = {"low": "conf_low", "high": "conf_high"}
            part = part.assign(**{f"{name}_pct_{end}": 100 * of_kind[column] for end, column in ends_of.items()})
        bias = bias.merge(part, on=keys, how="left")
    return EVALUATION_GAP.conform(perplexities.merge(bias, on="run", how="left"))


EVALUATION_GAP_TABLE = ReportTable(
    EVALUATION_GAP,
    (PERPLEXITY_CHANGES, TRANSITIONS_TABLE),
    evaluation_gap,
    reading=(
        "perplexity {perplexity_baseline:g} to {perplexity:g}; new bias {new_bias_pct:g} %, "
        "resolved {resolved_bias_pct:g} %",
        "perplexity {perplexity_baseline:g} to {perplexity:g}; new bias {new_bias_pct:g} %",
        "perplexity {perplexity_baseline:g} to {perplexity:g}; resolved bias {resolved_bias_pct:g} %",
        "perplexity {perplexity_baseline:g} to {perplexity:g}",
        "perplexity is not known",
    ),
)

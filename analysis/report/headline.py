"""The one table that a reader looks at first; summary.md and the terminal show this same frame."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..answers.measures import SRS, USR
from ..schema.columns import Table, ends, number
from ..schema.shared import (
    ACCURACY,
    CHANGED_RATE,
    FILTER,
    FLIP_RATE,
    METRIC,
    NET_FLIPS_PCT,
    NEW_BIAS_PCT,
    OWN_BASELINE,
    PERPLEXITY,
    PERPLEXITY_PCT_CHANGE,
    RESOLVED_BIAS_PCT,
    RUN,
    TASK,
    VERDICT,
    N,
)
from ..tables.measured import measure_column
from ..tables.metric_changes.columns import AGGREGATE

__all__ = ["HEADLINE", "headline"]


HEADLINE = Table(
    name="headline",
    doc="One row per run, task and filter; baselines have no changes.",
    columns=(
        RUN,
        OWN_BASELINE,
        VERDICT.here("SAME, CHANGED or CAN'T TELL, of the whole run; missing for a baseline.", nullable=True),
        TASK.here("Missing for a run without items.", nullable=True),
        FILTER.here("Likewise.", nullable=True),
        PERPLEXITY.here("By the first metric at hand."),
        PERPLEXITY_PCT_CHANGE,
        N.here("All of the task.", nullable=True),
        METRIC.here("What accuracy or value is of.", nullable=True),
        ACCURACY.here(
            "By the metric; missing where it does not say right or wrong. Of disambiguated items where there is such a "
            "split: right ambiguous answers are the neutral ones, which usr counts."
        ),
        number(
            "metric_value",
            "Value of a metric that does not say right or wrong: the mean of its lines, or lm_eval's own value.",
        ),
        number("metric_change", "Its change on the same lines; table metric_changes has the interval."),
        FLIP_RATE.here("Right or wrong."),
        CHANGED_RATE,
        measure_column(SRS).here("Of ambiguous items, or of all where there is no such split."),
        measure_column(USR).here("Likewise."),
        NEW_BIAS_PCT.here("Likewise."),
        RESOLVED_BIAS_PCT.here("Likewise."),
        NET_FLIPS_PCT.here("Likewise."),
        *ends("net_flips_pct", "By what one template may move at most, missing answers at their worst."),
    ),
)

_METRICS = ("word_perplexity", "token_perplexity", "byte_perplexity", "perplexity")


def headline(
    scores: pd.DataFrame, perplexities: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, str | None]:
    """Bring the main numbers of all tables into one.

    Args:
        scores: What `run_scores` gives: n, metric and accuracy or value of every run, task and filter.
        perplexities: Table PERPLEXITIES.
        tables: Tables of the report by name: runs, rates, transitions, flips and metric_changes are
            used.

    Returns:
        Table HEADLINE in the order of `runs`, and 'task/metric' of its perplexity (None without one).
    """
    metric = _metric(tables["runs"])
    rates, moves = tables["rates"], tables["transitions"]
    rates = rates[(rates["category"] == "all") & (rates["aggregate"] == "pooled") & (rates["subset"] == "all")]
    moves = moves[(moves["category"] == "all") & (moves["summary"] == "run") & (moves["subset"] == "all")]
    words = dict(zip(tables["run_verdicts"]["run"], tables["run_verdicts"]["verdict"], strict=True))
    rows = []
    for run in tables["runs"].itertuples(index=False):
        own = scores[scores["run"] == run.run]
        parts: Iterable[Any] = own.itertuples(index=False) if len(own) else [None]
        for part in parts:
            row: dict[str, Any] = {
                "run": run.run,
                "baseline": run.baseline,
                "verdict": words.get(run.run, pd.NA),
                **_perplexity_of(run, perplexities, metric),
            }
            if part is not None:
                key = {"run": run.run, "task": part.task, "filter": part.filter}
                row |= {**key, **{name: getattr(part, name) for name in ("n", "metric", "accuracy", "metric_value")}}
                row["metric_change"] = _metric_change(tables["metric_changes"], key, part)
                for name in ("flip_rate", "changed_rate"):
                    row[name] = _first(_where(tables["flips"], key), name)
                own_rates = _where(rates, key)
                row |= {name: _first(_ambiguous(own_rates), name) for name in ("srs", "usr")}
                if own_rates["condition"].isin(["ambig", "disambig"]).any():
                    row["accuracy"] = _first(own_rates[own_rates["condition"] == "disambig"], "acc")
                for name in ("new_bias", "resolved_bias"):
                    found = _first(_ambiguous(_where(moves, {**key, "transition": name})), "rate")
                    row[f"{name}_pct"] = _percent(found)
                net = _ambiguous(_where(moves, {**key, "transition": "net_flips"}))
                for end, name in (("", "rate"), ("_low", "conf_low"), ("_high", "conf_high")):
                    row[f"net_flips_pct{end}"] = _percent(_first(net, name))
            rows.append({name: row.get(name, pd.NA) for name in HEADLINE.names})
    return HEADLINE.conform(pd.DataFrame(rows, columns=HEADLINE.names)), metric


def _metric(runs: pd.DataFrame) -> str | None:
    """'task/metric' of the perplexity to show: of the best known kind that any run has."""
    present: list[str] = sorted({name for text in runs["perplexities"] for name in json.loads(text)})
    for metric in _METRICS:
        for name in present:
            if name.rsplit("/", 1)[1] == metric:
                return name
    return None


def _perplexity_of(run: Any, perplexities: pd.DataFrame, name: str | None) -> dict[str, Any]:
    """The run's own or borrowed perplexity with its change, or the bare value of a run without comparison."""
    if name is None:
        return {}
    task, metric = name.rsplit("/", 1)
    key = {"run": run.run, "perplexity_task": task, "perplexity_metric": metric}
    rows = _where(perplexities, key)
    if len(rows):
        return {column: rows[column].iloc[0] for column in ("perplexity", "perplexity_pct_change")}
    value = json.loads(run.perplexities).get(name)
    return {"perplexity": pd.NA if value is None else float(value)}


def _metric_change(changes: pd.DataFrame, key: dict[str, Any], part: Any) -> Any:
    """The change of what is shown as value; missing for accuracy, whose change the flips tell."""
    if pd.isna(part.metric_value):
        return pd.NA
    rows = _where(changes, {**key, "metric": part.metric})
    return _first(rows[(rows["metric_kind"] == AGGREGATE).fillna(False) == part.aggregate], "change")


def _where(frame: pd.DataFrame, key: dict[str, Any]) -> pd.DataFrame:
    for name, value in key.items():
        frame = frame[frame[name] == value]
    return frame


def _ambiguous(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of ambiguous items; all rows if the benchmark has no such split."""
    return rows[rows["condition"] == "ambig"] if (rows["condition"] != "none").any() else rows


def _percent(share: Any) -> Any:
    return pd.NA if pd.isna(share) else 100 * share


def _first(rows: pd.DataFrame, column: str) -> Any:
    return rows[column].iloc[0] if len(rows) else pd.NA

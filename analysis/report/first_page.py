"""What the report's first page shows beside the verdicts: metrics of other tasks, and new bias on its floor."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..tables.metric_changes.columns import AGGREGATE
from ..tables.noise.table import FIRST_TOKENS

__all__ = ["metrics_beside", "noise_beside"]

_MOVES = ["new_bias", "resolved_bias", "net_bias", "net_flips"]
_KEYS = ["run", "task", "filter", "condition"]


def metrics_beside(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Metrics of tasks without roles beside the baseline's, each in its own unit.

    Args:
        tables: Tables of the report by name: metric_changes is used, without the tasks that have rows in
            paired_changes, and without perplexities, which the headline has.

    Returns:
        Columns run, task, filter, metric, metric_baseline, metric_value, metric_change, low, high, flip_rate, n; empty
        without.
    """
    rows = tables["metric_changes"]
    with_roles = set(tables["paired_changes"]["task"])
    aggregate = (rows["metric_kind"] == AGGREGATE).fillna(False)
    perplexity = rows["metric"].str.endswith(("perplexity", "bits_per_byte")) & aggregate
    rows = rows[~rows["task"].isin(with_roles) & ~perplexity & rows["change"].notna()]
    named = {
        **{"metric_baseline": "value_baseline", "metric_value": "value", "metric_change": "change"},
        **{"low": "conf_low", "high": "conf_high"},
    }
    out = rows[[*_KEYS[:3], "metric"]].assign(**{name: rows[column] for name, column in named.items()})
    return out.assign(flip_rate=rows["flip_rate"], n=rows["n"]).reset_index(drop=True)


def noise_beside(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """New bias, resolved bias and their net, observed and expected, each beside its floor, in percent.

    Args:
        tables: Tables of the report by name: noise_floor is used, ambiguous items where there is such a split. Runs
            whose answers were scored are left out: nothing was drawn, so nothing observed stands on this floor.

    Returns:
        Columns run, task, filter, transition, observed, observed_from, observed_to, floor (of observed), expected,
        floor_independent (of expected), excess, from, to, sampling; empty without.
        What is expected is missing where first tokens do not stand for answers.
    """
    rows = _pooled(tables["noise_floor"])
    rows = rows[rows["transition"].isin(_MOVES) & rows["condition"].isin(["ambig", "none"])]
    rows = rows[rows["sampling"] != "scored"]
    out = rows[["run", "task", "filter", "transition"]].copy()
    seen = {"observed": "observed", "observed_from": "observed_low", "observed_to": "observed_high", "floor": "floor"}
    names = {name: name for name in ("expected", "floor_independent", "excess")}
    for name, column in {**seen, **names, "from": "excess_low", "to": "excess_high"}.items():
        out[name] = 100 * rows[column]
        if name not in seen:
            out[name] = out[name].mask(rows["status"].str.startswith(FIRST_TOKENS))
    return out.assign(sampling=rows["sampling"]).reset_index(drop=True)


def _pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of all categories together, or of the only one."""
    several = table.groupby(_KEYS)["category"].transform("nunique") > 1
    return table[(table["category"] == "all") | ~several]

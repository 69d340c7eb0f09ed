"""Items of runs that repeat one another, which pairing may keep apart: other seeds, or scores in another dtype."""

from __future__ import annotations

import pandas as pd

from ..logs import Logs
from ..schema.items import ITEMS
from .frames import ROLE_COLUMNS

__all__ = ["replicate_items"]

_KEYS = ["base_model", "method", "sparsity", "bits"]


def replicate_items(logs: Logs, runs: pd.DataFrame) -> pd.DataFrame:
    """Items of all runs that another run repeats, whatever their seeds.

    Args:
        logs: Runs and items.
        runs: Table RUNS.

    Returns:
        Items (ROLE_COLUMNS) of tasks with BBQ's roles that two or more runs of one base model, method and dose have.
        Items that a run asked with another prompt than the first of them are left out.
    """
    keys = runs[_KEYS].astype("string").fillna("-")
    parts: list[pd.DataFrame] = []
    for _, group in runs["run"].groupby([keys[name] for name in _KEYS], sort=False):
        labels = [str(label) for label in group]
        tasks = {task for label in labels for task, log in logs.runs[label].tasks.items() if log.has_roles}
        for task in sorted(tasks):
            having = [label for label in labels if (label, task) in logs.store]
            if len(having) > 1:
                parts += _same_prompts(logs, having, task)
    return pd.concat(parts, ignore_index=True) if parts else ITEMS.empty()[ROLE_COLUMNS]


def _same_prompts(logs: Logs, labels: list[str], task: str) -> list[pd.DataFrame]:
    """The runs' items, those that were asked as in the first run that has them."""
    asked: pd.Series = pd.Series(dtype="object")
    out = []
    for label in labels:
        rows = logs.store.read(label, task, [*ROLE_COLUMNS, "prompt_hash"])
        own = rows.drop_duplicates("item_id").set_index("item_id")["prompt_hash"].astype("object")
        first = asked.reindex(own.index)
        same = own.index[(first.isna() | (first == own)).to_numpy()]
        asked = asked.combine_first(own) if len(asked) else own
        out.append(rows.loc[rows["item_id"].isin(same), ROLE_COLUMNS])
    return out

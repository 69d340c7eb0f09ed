"""Which documents to evaluate first: templates in the order that `sequential` looks at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ..errors import UserError
from ..inference.sequential import order
from ..report.contents import MARKER

__all__ = ["samples_of"]


def samples_of(
    report: Path, templates: int, seed: int = 0, *, items_of: int | None = None, source: str | None = None
) -> dict[str, list[int]]:
    """What `lm_eval --samples` takes for the first templates of every task that has templates.

    Args:
        report: Report of a run that holds every item: the places of the documents are read from its log.
        templates: How many, of all tasks together; the same template counts once.
        seed: That of `analyze --sequential`.
        items_of: Most items of a template in each condition: the first in the order of the documents, of which any
            beginning is balanced. Templates of one size are decided soonest.
        source: What the user gave, if not the report itself.

    Returns:
        Places of documents (`doc_id`), ascending, by task.

    Raises:
        UserError: If it is no report, or no task has templates.
    """
    source = str(report) if source is None else source
    if not (report / MARKER).is_file():
        raise UserError(f"--from {source} is no report: {MARKER} is not in it")
    columns = ["task", "item_id", "doc_id", "cluster", "condition"]
    items = pq.read_table(report / "items.parquet", columns=columns).to_pandas().drop_duplicates(["task", "doc_id"])
    items = items[
        items.groupby("task")["cluster"].transform("nunique") < items.groupby("task")["item_id"].transform("size")
    ]
    if not len(items):
        raise UserError(f"--from {source} has no task with templates: each of its items stands for itself")
    names = np.unique(items["cluster"].to_numpy(object))
    first = set(names[order(list(names), seed)][:templates])
    chosen: pd.DataFrame = items[items["cluster"].isin(first)].sort_values("doc_id")
    if items_of is not None:
        chosen = chosen[chosen.groupby(["task", "cluster", "condition"], dropna=False).cumcount() < items_of]
    return {str(task): sorted(map(int, rows["doc_id"])) for task, rows in chosen.groupby("task")}

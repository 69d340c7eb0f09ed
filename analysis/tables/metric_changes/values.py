"""What each line says of each metric, as one array of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["LINE_COLUMNS", "NO_METRICS", "Floats", "line_values"]

Floats = npt.NDArray[np.float64]
LINE_COLUMNS = ("metric", "metrics", "correct")
"""Columns of ITEMS that hold the metrics of a line."""
NO_METRICS = ("bypass", "distributions")
"""What lm_eval writes in the place of a metric where it was told to take none (--predict_only)."""


def line_values(rows: pd.DataFrame) -> dict[str, Floats]:
    """The values of every metric, NaN where a line has none.

    The metric that decides right and wrong is taken from `correct`, as everywhere: an answer that could not be read or
    scored is wrong, whatever lm_eval made of it.

    Args:
        rows: Columns LINE_COLUMNS of ITEMS.

    Returns:
        [rows] values by metric: of `metrics` in its order, then of tasks whose lines have only `correct`.
    """
    codes, texts = pd.factorize(rows["metrics"])
    values = _table(texts.astype(object).tolist())
    # The last entry serves lines without metrics, whose code is -1.
    out = {name: column[codes] for name, column in values.items() if name not in NO_METRICS}
    deciding = rows["metric"].astype("string")
    right = rows["correct"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    for name in deciding.dropna().unique():
        mine = deciding.eq(name).fillna(False).to_numpy(bool)
        column = out.get(str(name), np.full(len(rows), np.nan))
        out[str(name)] = np.where(mine, right, column)
    return out


def _table(texts: Sequence[str]) -> dict[str, Floats]:
    """Each metric's values in distinct texts, which are parsed at once: NaN where one lacks it, and at the end."""
    parsed: list[Mapping[str, float | None]] = json.loads(f"[{','.join(texts)}]")
    names = dict.fromkeys(name for entry in parsed for name in entry)
    return {name: np.array([*(entry.get(name) for entry in parsed), None], dtype=np.float64) for name in names}

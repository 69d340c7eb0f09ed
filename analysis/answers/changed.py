"""Whether two answers to one item differ: what flips and the list of changed items both count."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["CHANGED_COLUMNS", "changed"]

CHANGED_COLUMNS = ("status", "choice", "text", "correct")
"""Columns of ITEMS that say what was answered."""


def changed(run: pd.DataFrame, baseline: pd.DataFrame) -> pd.Series:
    """Whether an answer is another than the baseline's.

    It is where the status differs (one answered and the other did not, or both failed in another way), where both
    answered with another option, with another text where the log names no option, or where one is right and the other
    wrong.

    Args:
        run: Columns CHANGED_COLUMNS of ITEMS, one row a pair.
        baseline: The same answers of the baseline, row by row.

    Returns:
        A boolean a pair, with the index of `run`; missing where both answered, both or neither are right, and the log
        names neither an option nor a text.
    """
    sides = [frame.reset_index(drop=True) for frame in (run, baseline)]
    status, choice, text, correct = (_differ(*(frame[name] for frame in sides)) for name in CHANGED_COLUMNS)
    both = sides[0]["status"].eq("answered") & sides[1]["status"].eq("answered")
    answer = choice.fillna(text)
    out = status | correct.fillna(False) | (both & answer).fillna(False)
    unnamed = both & ~out & answer.isna()
    return pd.Series(out.mask(unnamed.astype(bool)).to_numpy(), index=run.index, dtype="boolean")


def _differ(run: pd.Series, baseline: pd.Series) -> pd.Series:
    """Whether two values differ; missing where either is."""
    known = (run.notna() & baseline.notna()).to_numpy(bool)
    differs = pd.Series(pd.NA, index=run.index, dtype="boolean")
    differs[known] = np.asarray(run[known]) != np.asarray(baseline[known])
    return differs

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
    own, other = (frame[list(CHANGED_COLUMNS)].reset_index(drop=True) for frame in (run, baseline))
    status, answer, correct = (_differ(own[name], other[name]) for name in ("status", "choice", "correct"))
    textual = answer.isna().to_numpy(bool)
    if textual.any():
        answer[textual] = _differ(own.loc[textual, "text"], other.loc[textual, "text"])
    both = own["status"].eq("answered") & other["status"].eq("answered")
    out = status | correct.fillna(False) | (both & answer).fillna(False)
    unnamed = both & ~out & answer.isna()
    return pd.Series(out.mask(unnamed.astype(bool)).to_numpy(), index=run.index, dtype="boolean")


def _differ(run: pd.Series, baseline: pd.Series) -> pd.Series:
    """Whether two values differ; missing where either is."""
    known = (run.notna() & baseline.notna()).to_numpy(bool)
    differs = pd.Series(pd.NA, index=run.index, dtype="boolean")
    differs[known] = np.asarray(run[known]) != np.asarray(baseline[known])
    return differs

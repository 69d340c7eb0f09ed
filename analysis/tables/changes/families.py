"""What is corrected together in the tables of paired comparison: all that is asked of one run and task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...inference.multiplicity import benjamini_hochberg, holm
from ...schema.columns import Table

__all__ = ["FAMILY_KEYS", "corrected"]

FAMILY_KEYS = ("run", "task", "filter")
"""Other runs have no say in a run's numbers."""


def corrected(rows: list[dict[str, object]], table: Table, kinds: str) -> pd.DataFrame:
    """Rows as a frame of the table's columns, p-values corrected per family.

    Args:
        rows: With p_value; None where there was no test, which is not part of the family.
        table: Has CORRECTED.
        kinds: What a row is about besides condition and category, in the plural: "measures".
    """
    frame = pd.DataFrame(rows, columns=table.names)
    raw = frame["p_value"].to_numpy(dtype=float)
    by_holm, by_bh, sizes = np.full(len(raw), np.nan), np.full(len(raw), np.nan), np.zeros(len(raw), dtype=int)
    names = np.full(len(raw), "", dtype=object)
    for place, family in _families(frame, kinds):
        by_holm[place], by_bh[place] = holm(raw[place]), benjamini_hochberg(raw[place])
        names[place], sizes[place] = family, int((~np.isnan(raw[place])).sum())
    return frame.assign(p_value_holm=by_holm, p_value_bh=by_bh, family=names, family_size=sizes)


def _families(frame: pd.DataFrame, kinds: str) -> Iterator[tuple[npt.NDArray[np.int64], str]]:
    groups = frame.groupby(list(FAMILY_KEYS), sort=False)
    for keys, place in groups.indices.items():
        run, task, name = cast("tuple[str, str, str]", keys)
        said = f"exploratory: all {kinds}, conditions and categories of {run} on {task}, filter {name}"
        yield np.asarray(place), said

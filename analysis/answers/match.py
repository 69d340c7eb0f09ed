"""Which answer of a run belongs to which of its baseline: the one place where answers are paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import UserError

__all__ = ["KEY", "Matched", "match", "match_codes"]

KEY = ["filter", "item_id", "seed"]
"""What identifies an answer within a run's task; a missing seed is a value like any other."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Places of the answers that two runs share, in the order of their keys, and of those that have no partner."""

    run: Ints
    """[pairs] place of each in the run's rows."""
    baseline: Ints
    """[pairs] place of the same answer in the baseline's rows."""
    run_alone: Ints
    """Places of the run's answers that the baseline lacks, in the order of their keys."""
    baseline_alone: Ints
    """Likewise for the baseline's."""


def match(run: pd.DataFrame, baseline: pd.DataFrame, by: Sequence[str] = KEY) -> Matched:
    """Match the rows of two frames.

    Args:
        run: Columns `by`, no two rows alike in them.
        baseline: Likewise.
        by: What identifies a row. Keys are ordered as sorted values, or as the categories of a categorical.

    Returns:
        Places (0-based, whatever the index) of the rows that both frames have, and of the others.

    Raises:
        UserError: If two rows of one frame have the same key; the message names the first.
    """
    codes: Ints = np.zeros(len(run) + len(baseline), dtype=np.int64)
    for name in by:
        part, levels = _codes(run[name], baseline[name])
        # 0 stands for a missing value.
        codes = codes * (levels + 1) + part + 1
    own, other = codes[: len(run)], codes[len(run) :]
    for frame, keys in ((run, own), (baseline, other)):
        _refuse_repeats(frame[list(by)], keys)
    return match_codes(own, other)


def match_codes(run: Ints, baseline: Ints) -> Matched:
    """As `match`, of keys that are numbers already; no number occurs twice in either array."""
    nothing = np.zeros(0, dtype=np.int64)
    if np.array_equal(run, baseline):  # two runs of one task, nearly always: half the time
        order = np.argsort(run, kind="stable")
        return Matched(run=order, baseline=order, run_alone=nothing, baseline_alone=nothing)
    _, i, j = np.intersect1d(run, baseline, assume_unique=True, return_indices=True)
    return Matched(run=i, baseline=j, run_alone=_others(run, i), baseline_alone=_others(baseline, j))


def _codes(run: pd.Series, baseline: pd.Series) -> tuple[Ints, int]:
    """A code per value of both columns, -1 for a missing one, and how many values there are."""
    if isinstance(run.dtype, pd.CategoricalDtype) and run.dtype == baseline.dtype:
        codes = np.concatenate([run.cat.codes.to_numpy(np.int64), baseline.cat.codes.to_numpy(np.int64)])
        return codes, len(run.dtype.categories)
    both = pd.concat([run.astype(_plain(run)), baseline.astype(_plain(baseline))], ignore_index=True)
    codes, values = pd.factorize(both, sort=True)
    return codes.astype(np.int64), len(values)


def _plain(column: pd.Series) -> Any:
    """The dtype of the column's values: two categoricals of other categories have none in common."""
    return column.dtype.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype


def _others(keys: Ints, taken: Ints) -> Ints:
    left = np.ones(len(keys), dtype=bool)
    left[taken] = False
    places = np.flatnonzero(left)
    return places[np.argsort(keys[places], kind="stable")]


def _refuse_repeats(keys: pd.DataFrame, codes: Ints) -> None:
    """Stop at a row that is there twice: it would have two partners, or be one."""
    order = np.argsort(codes, kind="stable")
    repeated = np.flatnonzero(codes[order[1:]] == codes[order[:-1]])
    if len(repeated):
        first = keys.iloc[order[repeated[0]]]
        named = ", ".join(f"{name} {value}" for name, value in first.items() if pd.notna(value))
        raise UserError(
            f"one run answers {named} more than once ({len(repeated)} such answers): keep one answer per item and seed"
        )

"""Counts of answers per run and category: what every rate, score and test is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .answers import AXES, COUNT_NAMES, GROUP, LATENT_SRS, STATES, Answers
from .measures import SRS
from .options import OFFERS
from .runs import Run

__all__ = ["COUNTS", "Groups", "by_run", "in_order", "sums_of", "with_pooled"]

COUNTS = [
    "n_present",
    "n_items",
    "n",
    "n_answered",
    "n_unparsed",
    "n_unscored",
    "n_undetermined",
    "n_toward",
    "n_against",
    "n_neutral",
    "n_off",
    "n_keyed",
    "n_correct",
]
"""n_present counts all items that the run answers; every other column is about items whose direction is told."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of GROUP, or of other columns, that the items form."""

    labels: pd.DataFrame
    """One row per group, sorted."""
    order: npt.NDArray[np.int64]
    """Items sorted by group."""
    starts: npt.NDArray[np.int64]
    """Where each group starts in `order`."""

    @classmethod
    def of(cls, items: pd.DataFrame, by: Sequence[str] = GROUP) -> Groups:
        """Find the groups of an item table by some of its columns."""
        grouped = items.groupby(list(by), sort=True)
        code = grouped.ngroup().to_numpy()
        order = np.argsort(code, kind="stable")
        labels = items.iloc[order[np.searchsorted(code[order], np.arange(grouped.ngroups))]]
        starts = np.searchsorted(code[order], np.arange(grouped.ngroups))
        return cls(labels=labels[list(by)].reset_index(drop=True), order=order, starts=starts)

    def sum(self, columns: dict[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
        """Sum per-item columns per group: the groups' labels and the sums, one row a group."""
        values = np.column_stack(list(columns.values()))[self.order]
        sums = np.add.reduceat(values, self.starts, axis=0) if len(self.starts) else values
        return pd.concat([self.labels, pd.DataFrame(sums, columns=list(columns))], axis=1)


def by_run(answers: Answers, runs: list[Run], by: Sequence[str] = GROUP) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count answers per run, subset of items and group, for the run and for its baseline.

    Args:
        answers: All answers.
        runs: Runs to count. One without a baseline that others are compared with is its own baseline.
        by: Columns of the items that a row is made per, GROUP among them: with cluster a row per template.

    Returns:
        Two frames with the same rows and the columns run, subset (all, or latent: baseline item SRS at least
        0.2), `by`, COUNTS, OFFERS (items with an option on each axis) and choice_0, choice_1, ...: the run's
        counts, and the baseline's on the items that the run answers. Without a baseline the latter are NaN and
        there are no latent rows. A group without latent items keeps its latent row, with zeros. Pooled rows are
        included.
    """
    groups = Groups.of(answers.items, by)
    references = {run.baseline for run in runs}
    own_parts, base_parts = [], []
    for run in runs:
        own = _counts(answers, run.label)
        present = own["n_present"] > 0
        reference = run.baseline or (run.label if run.label in references else None)
        base = None if reference is None else _counts(answers, reference)
        for subset, chosen in _subsets(base, present):
            zeros = {name: values * chosen for name, values in own.items()}
            rows = groups.sum(zeros | {"shown": present.astype(float)}).assign(run=run.label, subset=subset)
            shown = rows.pop("shown") > 0
            own_parts.append(rows[shown])
            before = {n: np.full(len(present), np.nan) if base is None else base[n] * chosen for n in own}
            base_parts.append(groups.sum(before)[shown].assign(run=run.label, subset=subset))
    keys = ["run", "subset", *by]
    own_table, base_table = (with_pooled(pd.concat(part), keys) for part in (own_parts, base_parts))
    return own_table, base_table


def sums_of(counts: Mapping[str, npt.NDArray[np.float64]] | pd.DataFrame) -> npt.NDArray[np.float64]:
    """The columns of COUNTS that measures are made from: [rows, COUNT_NAMES]."""
    names = ("n" if name == "n" else f"n_{name}" for name in COUNT_NAMES)
    return np.stack([np.asarray(counts[name], dtype=np.float64) for name in names], axis=-1)


def with_pooled(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Add, for each group of `keys` but category, the row of category 'all' with the sums of the others."""
    outer = [name for name in keys if name != "category"]
    pooled = frame.groupby(outer, sort=False).sum(numeric_only=True, min_count=1).reset_index()
    return pd.concat([frame, pooled.assign(category="all")], ignore_index=True)


def in_order(frame: pd.DataFrame, runs: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Sort rows by run as listed, then by `by`, the category 'all' after the others."""
    rank = {label: i for i, label in enumerate(runs["run"])}
    keys = pd.DataFrame({"run": frame["run"].map(rank)})
    for name in by:
        if name == "category":
            keys["pooled"] = frame[name] == "all"
        keys[name] = frame[name]
    return frame.loc[keys.sort_values(list(keys.columns), kind="stable").index]


def _counts(answers: Answers, label: str) -> dict[str, npt.NDArray[np.float64]]:
    """COUNTS, OFFERS and letters per item; n_present and n_undetermined alone of one whose direction is not told."""
    raw = answers.counts(label)
    known = answers.items["determined"].to_numpy(bool)
    total = np.sum([raw[name] for name in STATES], axis=0)
    kept = {name: values * known for name, values in raw.items()}
    out = {
        "n_present": (total > 0).astype(int),
        "n_items": ((total > 0) & known).astype(int),
        "n": total * known,
        "n_answered": np.sum([kept[name] for name in AXES], axis=0),
        "n_unparsed": kept["unparsed"],
        "n_unscored": kept["unscored"],
        "n_undetermined": total * ~known,
        **{f"n_{name}": kept[name] for name in AXES},
        **{name: kept[name] for name in kept if name not in STATES},
        **{name: answers.items[name].to_numpy(bool) & known & (total > 0) for name in OFFERS},
    }
    return {name: values.astype(float) for name, values in out.items()}


def _subsets(
    base: dict[str, npt.NDArray[np.float64]] | None, present: npt.NDArray[np.bool_]
) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """The subsets of items to count, as masks."""
    if base is None:
        return [("all", present)]
    return [("all", present), ("latent", present & (SRS.value(sums_of(base)) >= LATENT_SRS))]

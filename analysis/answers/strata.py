"""Run beside baseline, per category: the counts that every paired method of this package starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .answers import COUNT_NAMES, GROUP, Answers, Pair
from .counts import Groups
from .options import OFFERS, offered_axes
from .runs import runs_of

__all__ = ["ALL_NAMED", "COUNT_NAMES", "Stratum", "strata"]

ALL_NAMED = "every option lies toward or against the stereotype: each answer names somebody"
"""Status of what asks whether an answer names somebody, where it can't but do so."""

_N = COUNT_NAMES.index("n")

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The items of one category that a run and its baseline both have, and whose roles are known."""

    run: str
    baseline: str
    task: str
    filter: str
    condition: str
    category: str
    """A category, or "all" for the task's items pooled."""
    item: npt.NDArray[np.int64]
    """[items] row of each in Answers.items; ascending."""
    cluster: npt.NDArray[np.int64]
    """[items] number of its template, 0 to n_clusters - 1, every number used."""
    n_clusters: int
    before: Counts
    """[items, COUNT_NAMES] the baseline's answers to each item."""
    after: Counts
    """[items, COUNT_NAMES] the run's."""
    pair: Pair
    """The answers themselves, matched by item and seed; `pair.item` as in `item`."""
    offered: frozenset[str]
    """Axes that some item offers an option on."""

    @property
    def all_named(self) -> bool:
        """Whether every option lies toward or against the stereotype."""
        return not self.offered & {"neutral", "off"}

    @property
    def keys(self) -> dict[str, str]:
        """The columns that name this stratum in a table."""
        return {"run": self.run, "baseline": self.baseline, **{name: getattr(self, name) for name in GROUP}}

    def clustered(self) -> tuple[Counts, Counts]:
        """Counts summed over the items of each cluster, before and after: [n_clusters, COUNT_NAMES]."""
        return by_cluster(self.before, self.cluster, self.n_clusters), by_cluster(
            self.after, self.cluster, self.n_clusters
        )


def by_cluster(values: Counts, cluster: npt.NDArray[np.int64], n_clusters: int) -> Counts:
    """Sum the rows of each cluster: [n_clusters, columns]."""
    columns = [np.bincount(cluster, weights=column, minlength=n_clusters) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n_clusters, 0))


def strata(items: pd.DataFrame | Answers, runs: pd.DataFrame, *, pooled: bool = False) -> Iterator[Stratum]:
    """Every run with a baseline, per task, filter, condition and category, and then all categories pooled.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        pooled: Only the pooled ones, or a task's only category.

    Yields:
        Strata in the order of `runs`, then of the group. None is empty: a category that the run and its baseline
        share no item of is left out.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    groups = Groups.of(answers.items)
    known = answers.items["determined"].to_numpy(bool)
    offers = answers.items[OFFERS].to_numpy(bool)
    code = np.empty(len(answers.items), dtype=np.int64)
    for place, members in enumerate(np.split(groups.order, groups.starts[1:])):
        code[members] = place
    outer = groups.labels.groupby(GROUP[:-1], sort=True).ngroup().to_numpy()
    template = pd.factorize(answers.items["cluster"], sort=True)[0]
    for run in runs_of(runs, answers):
        if run.baseline is None:
            continue
        before, after = answers.matrix(run.baseline), answers.matrix(run.label)
        pair = answers.pair(run.label, run.baseline)
        there = known & (before[:, _N] > 0) & (after[:, _N] > 0)
        for level in np.unique(outer):
            inside = np.flatnonzero(outer == level)
            several = len(inside) > 1
            places: list[int | None] = [] if pooled and several else [int(place) for place in inside]
            for number in [*places, *([None] if several else [])]:
                chosen = there & (code == number if number is not None else np.isin(code, inside))
                item = np.flatnonzero(chosen)
                if not len(item):
                    continue
                label = groups.labels.iloc[int(inside[0] if number is None else number)]
                cluster, names = pd.factorize(template[item], sort=True)
                yield Stratum(
                    run=run.label,
                    baseline=run.baseline,
                    task=label["task"],
                    filter=label["filter"],
                    condition=label["condition"],
                    category="all" if number is None else label["category"],
                    item=item,
                    cluster=cluster.astype(np.int64),
                    n_clusters=len(names),
                    before=before[item],
                    after=after[item],
                    offered=offered_axes(offers[item]),
                    pair=pair.where(chosen[pair.item]),
                )

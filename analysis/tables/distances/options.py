"""Table `distances`: the options' probabilities of a run beside its baseline's, item by item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ...answers.given import check_items, check_runs
from ...answers.match import match
from ...compare.pairing import Pairing
from ...inference.bounded import Moves, interval
from ...inference.clusters import jackknife
from ...inference.distance import Distances, distances
from ...logs import Logs
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import LOGS, PAIRING, SETTINGS
from .columns import DISTANCES, FAR

__all__ = ["DISTANCES_TABLE", "DISTANCE_COLUMNS", "option_distances"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DISTANCE_COLUMNS = ("run", "task", "filter", "item_id", "category", "condition", "cluster", "probabilities")
"""Columns of ITEMS that are needed."""
_ITEM = ["task", "filter", "item_id"]
_NONE = "none"


def option_distances(items: pd.DataFrame, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Distances between the options' probabilities of runs and their baselines.

    Args:
        items: Columns DISTANCE_COLUMNS of ITEMS, all runs.
        runs: Columns run and baseline; rows without a baseline are left out.
        settings: Level and reach are those of the intervals.

    Returns:
        Table DISTANCES in the order of `runs`; a row per task, filter, condition and category, and "all" where there
        are several. A task without probabilities in both runs has none.
    """
    check_items(items, DISTANCE_COLUMNS)
    check_runs(runs, ("run", "baseline"))
    given, rows = settings or Settings(), []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        own, base = (_once(items[items["run"] == label]) for label in (run, baseline))
        rows += [{"run": run, "baseline": baseline, **row} for row in _rows(own, base, given)]
    return _table(rows)


def distances_of_pairs(logs: Logs, pairing: Pairing, settings: Settings | None = None) -> pd.DataFrame:
    """Table DISTANCES of everything that may be compared: two runs of one task are in memory at a time."""
    given = settings or Settings()
    rows: list[dict[str, Any]] = []
    last, kept = None, pd.DataFrame()
    for pair, own, base in pairing.both(logs.store, DISTANCE_COLUMNS):
        if base is not last:
            last, kept = base, _once(base)
        found = _rows(_once(own), kept, given)
        rows += [{"run": pair.run, "baseline": pair.baseline, **row} for row in found]
    return _table(rows)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return DISTANCES.conform(pd.DataFrame(rows, columns=DISTANCES.names)) if rows else DISTANCES.empty()


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of each item with probabilities: those of a sampled item's texts are the same."""
    return rows[rows["probabilities"].notna().to_numpy(bool)].drop_duplicates(_ITEM)


def _rows(own: pd.DataFrame, base: pd.DataFrame, settings: Settings) -> Iterator[dict[str, Any]]:
    """The rows of one run and baseline."""
    both = match(own, base, _ITEM)
    base = base.iloc[both.baseline]
    p, q = _Lists(base["probabilities"]), _Lists(own["probabilities"].iloc[both.run])
    usable = (p.sizes == q.sizes) & p.usable & q.usable
    found = _measured(p, q, usable)
    keys = base.loc[:, ["task", "filter", "condition", "category", "cluster"]].reset_index(drop=True)
    keys = keys[usable].astype("object").reset_index(drop=True)
    keys["condition"] = keys["condition"].where(keys["condition"].notna(), _NONE)
    outer = keys.groupby(["task", "filter", "condition"], sort=True)
    for (task, name, condition), places in outer.indices.items():
        named = {"task": task, "filter": name, "condition": condition}
        categories = keys["category"].iloc[places]
        inner = list(categories.groupby(categories.to_numpy(), sort=True).indices.items())
        for category, at in [*inner, *([("all", np.arange(len(places)))] if len(inner) > 1 else [])]:
            here = places[at]
            cluster = pd.factorize(keys["cluster"].iloc[here])[0].astype(np.int64)
            yield {**named, "category": category, **_summed(found, here, cluster, settings)}


class _Lists:
    """A column of lists, as one array of all entries."""

    def __init__(self, column: pd.Series) -> None:
        column = column.astype(pd.ArrowDtype(pa.list_(pa.float64())))
        lists = pa.chunked_array(pa.array(column)).combine_chunks()
        self.sizes: Ints = np.diff(lists.offsets.to_numpy()).astype(np.int64)
        self.starts: Ints = lists.offsets.to_numpy()[:-1].astype(np.int64)
        self.entries: Floats = lists.values.to_numpy(zero_copy_only=False).astype(np.float64)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """[rows] whether every entry is there, none is below 0, and they add up to something."""
        bad = ~(self.entries >= 0) | np.isinf(self.entries)
        wrong, total = (
            np.concatenate([[0.0], np.cumsum(values)]) for values in (bad, np.where(bad, 0.0, self.entries))
        )
        ends = self.starts + self.sizes
        whole = (wrong[ends] == wrong[self.starts]) & (total[ends] > total[self.starts])
        return np.asarray((self.sizes > 0) & whole)

    def of(self, rows: Ints, size: int) -> Floats:
        """[rows, size] entries of rows that have so many."""
        return self.entries[self.starts[rows][:, None] + np.arange(size)]


def _measured(p: _Lists, q: _Lists, usable: npt.NDArray[np.bool_]) -> Distances:
    """Distances of the usable rows, whatever their number of options."""
    columns = {name: np.zeros(len(usable)) for name in ("kl", "js", "tv")}
    same = np.zeros(len(usable), dtype=bool)
    for size in np.unique(p.sizes[usable]):
        rows = np.flatnonzero(usable & (p.sizes == size))
        found = distances(p.of(rows, int(size)), q.of(rows, int(size)))
        for name, values in columns.items():
            values[rows] = getattr(found, name)
        same[rows] = found.same_top
    return Distances(**{name: values[usable] for name, values in columns.items()}, same_top=same[usable])


def _summed(found: Distances, at: Ints, cluster: Ints, settings: Settings) -> dict[str, Any]:
    """The row of some items."""
    n_clusters = int(cluster.max()) + 1
    finite = np.isfinite(found.kl[at])
    n = np.bincount(cluster, minlength=n_clusters).astype(float)
    row: dict[str, Any] = {
        "n_items": len(at),
        "n_clusters": n_clusters,
        "n_infinite": int((~finite).sum()),
        "far_rate": float((found.tv[at] > FAR).mean()),
        "same_top_rate": float(found.same_top[at].mean()),
    }
    for name, values, top in (("tv", found.tv[at], 1.0), ("js", found.js[at], float(np.log(2)))):
        sums = np.bincount(cluster, weights=values, minlength=n_clusters).astype(np.float64)
        moves = Moves(net=sums, n=n, unit=1.0, span=top, reach=settings.reach)
        low, high = interval(moves, moves, settings.level)
        row |= {name: float(values.mean()), f"{name}_low": max(low, 0.0), f"{name}_high": high}
    row |= _divergence(found.kl[at][finite], cluster[finite], settings.level)
    return row | {"status": _status(row)}


def _divergence(values: Floats, cluster: Ints, level: float) -> dict[str, float | None]:
    """Mean and interval of what has no upper end."""
    if not len(values):
        return {}
    codes, inverse = np.unique(cluster, return_inverse=True)
    counts = np.stack([np.bincount(inverse, weights=values), np.bincount(inverse).astype(float)], axis=1)
    mean = float(values.mean())
    # Distances may be small, and are no rounding: their own size is the scale.
    estimate = jackknife(counts, level=level, scale=mean).estimates[0] if len(codes) > 1 else None
    low, high = (None if estimate is None else getattr(estimate, name) for name in ("conf_low", "conf_high"))
    return {"kl": mean, "kl_low": None if low is None else max(float(low), 0.0), "kl_high": high}


def _status(row: dict[str, Any]) -> str:
    if row["n_infinite"]:
        count = f"{row['n_infinite']} of {row['n_items']} items"
        return f"kl is infinite in {count} and leaves them out: an option has probability 0 in the run"
    if not row["tv"]:
        return "no item's probabilities moved"
    return "ok" if row["n_clusters"] > 1 else "one template only: no interval of kl"


DISTANCES_TABLE = ReportTable(
    DISTANCES,
    (LOGS, PAIRING, SETTINGS),
    distances_of_pairs,
    reading=(
        "total variation {tv:share} ({tv_low:share} to {tv_high:share}), the same option most probable in "
        "{same_top_rate:%} of {n_items} items",
        "total variation {tv:share}, the same option most probable in {same_top_rate:%} of {n_items} items",
    ),
)

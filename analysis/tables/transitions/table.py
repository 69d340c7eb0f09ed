"""Which answers changed, in which direction: role matrices and the studies' item transitions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import GROUP, STATES, Answers, Pair
from ...answers.counts import Groups, in_order, with_pooled
from ...answers.given import check_runs
from ...answers.published import published_states
from ...answers.runs import runs_of
from ...compare.variants import base_method
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import ROLE_TRANSITIONS, TRANSITIONS
from .rows import UNITS, Units, run_transitions

__all__ = ["ROLE_TRANSITIONS_TABLE", "TRANSITIONS_TABLE", "role_transitions", "transitions"]

_Columns = dict[str, npt.NDArray[np.float64]]

_SIZE = len(STATES)
_CELLS = [f"cell_{i}" for i in range(_SIZE * _SIZE)]
_DOSES = ("new_bias", "resolved_bias")
"""What the mean over methods is taken of: transitions whose items at risk the baseline alone decides."""


def role_transitions(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Role at baseline against role after compression, as a matrix with margins in long form.

    Answers are paired by item and seed. Roles have the benchmark's own names, those of one axis joined by "|". Items
    whose direction is not told are in the matrix too, where an option on no axis is undetermined.

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.

    Returns:
        Table ROLE_TRANSITIONS: a row for each pair of states that the benchmark has, empty cells among them (BBQ: 6 x
        6), per run, task, filter, condition and category, and for category 'all'. A run that shares no item with its
        baseline has none.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    groups = Groups.of(answers.items)
    parts = []
    for run in runs_of(runs, answers):
        if run.baseline is not None:
            sums = groups.sum(_cells(answers.pair(run.label, run.baseline), len(answers.items)))
            sums = sums[sums[_CELLS].any(axis=1)]
            parts.append(sums.assign(run=run.label, baseline=run.baseline))
    if not parts:
        return ROLE_TRANSITIONS.empty()
    sums = with_pooled(pd.concat(parts), ["run", "baseline", *GROUP])
    sums = in_order(sums, runs, ("task", "filter", "condition", "category"))
    return ROLE_TRANSITIONS.conform(_matrices(sums, answers)[ROLE_TRANSITIONS.names])


def transitions(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """New bias, resolved bias and response flips, both directions and what is left of them, with the number at risk.

    The studies' definitions: an item's SRS is the share of its answered seeds that pick the stereotype (0 or
    1 for an item answered once); new bias is an item SRS of 0 at baseline and above 0 after compression; an
    item without an answered seed after compression counts as 0, one without any at baseline is not at risk.
    Resolved bias is the same the other way round. Flips compare a seed's answers where both runs answered.
    Items without known roles are left out. A mean over methods is made where two or more methods that
    prune and do not quantize share baseline and sparsity.

    New bias alone has no direction: items that change at random give as much resolved bias. The nets are the
    difference of the two, of what is answered in both runs (`analysis.answers.net`).

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run, baseline, sparsity and bits, and method, or else each run is its own;
            runs without a baseline are left out, and one that names itself is compared with itself.
        settings: level and reach of the intervals.

    Returns:
        Table TRANSITIONS, each row for all items and for the latent ones (baseline item SRS >= 0.2); nets of all only.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    check_runs(runs, ("run", "baseline", "sparsity", "bits"))
    groups = Groups.of(answers.items)
    units = Units.of(answers.items, groups)
    rows: list[dict[str, object]] = []
    for run in runs_of(runs, answers):
        if run.baseline is not None:
            rows += run_transitions(answers, units, run.label, run.baseline, given)
    if not rows:
        return TRANSITIONS.empty()
    table = pd.DataFrame(rows).assign(summary="run", methods=None, n_runs=1)
    table["rank"] = table["transition"].map({name: i for i, name in enumerate(UNITS)})
    table["sparsity"] = table["run"].map(runs.set_index("run")["sparsity"].astype("Float64"))
    order = ("task", "filter", "condition", "subset", "rank", "category")
    table = TRANSITIONS.conform(in_order(table, runs, order)[TRANSITIONS.names])
    pruned = runs.loc[runs["sparsity"].notna() & runs["bits"].isna(), "run"]
    methods = runs.set_index("run")["method"] if "method" in runs else runs.set_index("run").index.to_series()
    means = _means_over_methods(table[table["run"].isin(set(pruned))], methods)
    return TRANSITIONS.conform(pd.concat([table, means[TRANSITIONS.names]])) if len(means) else table


def _cells(pair: Pair, n_items: int) -> _Columns:
    """Count of each cell per item, and the answers without a partner."""
    width = _SIZE * _SIZE
    cell = pair.baseline.astype(np.int64) * _SIZE + pair.run
    counts = np.bincount(pair.item * width + cell, minlength=n_items * width).reshape(n_items, width)
    out = {name: counts[:, i].astype(float) for i, name in enumerate(_CELLS)}
    return out | {"n_unpaired": pair.unpaired.astype(float)}


def _matrices(sums: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """One row per row of sums and cell of the states that the task's scheme has, with margins."""
    counts = sums[_CELLS].to_numpy().reshape(-1, _SIZE, _SIZE)
    out = sums.drop(columns=_CELLS).loc[sums.index.repeat(_SIZE * _SIZE)].reset_index(drop=True)
    out["axis_baseline"] = np.tile(np.repeat(STATES, _SIZE), len(sums))
    out["axis_compressed"] = np.tile(STATES, len(sums) * _SIZE)
    names = published_states(answers)
    for end in ("baseline", "compressed"):
        keys = zip(out["task"], out[f"axis_{end}"], strict=True)
        out[f"role_{end}"] = pd.Series([names.get(key) for key in keys], index=out.index, dtype="object")
    out["n"] = counts.ravel()
    margins = {"row_total": (2,), "column_total": (1,), "total": (1, 2)}
    for name, axes in margins.items():
        out[name] = np.broadcast_to(counts.sum(axis=axes, keepdims=True), counts.shape).ravel()
    out["row_share"] = out["n"] / out["row_total"].where(out["row_total"] > 0)
    return out[out["role_baseline"].notna() & out["role_compressed"].notna()]


def _means_over_methods(table: pd.DataFrame, methods: pd.Series) -> pd.DataFrame:
    """The studies' dose-response: plain means over the methods of one baseline and sparsity.

    A method counts once, however often it was run. There is no mean where one method has two variants: nothing says
    which of them is meant.
    """
    keys = ["baseline", *GROUP, "subset", "transition", "unit", "sparsity"]
    table = table[table["transition"].isin(_DOSES)]
    if table.empty:
        return TRANSITIONS.empty()
    table = table.assign(method=table["run"].map(methods).astype("object"))
    groups = table.groupby(keys, sort=False)
    columns = ["rate", "mean_item_srs_baseline", "mean_item_srs", "mean_item_srs_change"]
    out = table.groupby([*keys, "method"], sort=False)[columns].mean().groupby(keys, sort=False).mean()
    out["methods"] = groups["method"].agg(lambda names: ", ".join(sorted(set(map(str, names)))))
    several = groups["method"].agg(lambda names: len(set(names)) > 1 and not _variants(names))
    same = groups["n_at_risk"].nunique() == 1
    out["n_at_risk"] = groups["n_at_risk"].first().where(same)
    out["n_items"] = groups["n_items"].max()
    out["n_runs"] = groups["run"].nunique()
    out = out[several.astype(bool)].reset_index()
    out[["run", "n_events", "n_unanswered", "conf_low", "conf_high", "p_value"]] = None
    return out.assign(summary="mean_over_methods", status="a plain mean over methods has no interval")


def _variants(names: Iterable[str]) -> bool:
    """Whether some method is there in two variants."""
    known = set(map(str, names))
    return len({base_method(name) for name in known}) < len(known)


ROLE_TRANSITIONS_TABLE = ReportTable(
    ROLE_TRANSITIONS,
    (ANSWERS, ROLE_RUNS),
    role_transitions,
    reading=("{n} of {row_total} answers that were {role_baseline} are {role_compressed}",),
)
TRANSITIONS_TABLE = ReportTable(
    TRANSITIONS,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    transitions,
    reading=(
        "{rate:%} of {n_at_risk} at risk ({conf_low:%} to {conf_high:%})",
        "{rate:%} of {n_at_risk} at risk",
        "{rate:%} of those at risk",
        "no rate",
    ),
)

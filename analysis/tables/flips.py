"""Right, wrong and changed answers of a run beside those of its baseline, for any task."""

from __future__ import annotations

import pandas as pd

from ..answers.changed import changed
from ..answers.match import KEY, match
from ..compare.pairing import Pairing
from ..inference.proportion import wilson
from ..logs import Logs
from ..schema.columns import Column, Table
from ..schema.given import check_items, check_runs
from ..schema.shared import BASELINE, FILTER, RUN, TASK
from .declare import ReportTable
from .sources import LOGS, PAIRING

__all__ = ["FLIPS", "FLIPS_TABLE", "FLIP_COLUMNS", "flips", "flips_of_pairs"]


def _count(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, kind="integer", doc=doc, nullable=nullable)


def _number(name: str, doc: str) -> Column:
    return Column(name=name, kind="float", doc=f"{doc} Missing where no item has a key.", nullable=True)


FLIPS = Table(
    name="flips",
    doc="Answers that turned from right to wrong and back, paired by item and seed, and answers to items without a key "
    "that changed; per task and filter.",
    columns=(
        RUN,
        BASELINE,
        TASK,
        FILTER,
        _count("n_items", "Items with a key that both runs answered or failed to answer."),
        _count(
            "n",
            "Pairs of answers: n_items times the seeds of a sampled protocol. Unanswered counts as wrong.",
        ),
        _count("both_correct", "Pairs that are right in both runs."),
        _count("both_wrong", "Pairs that are wrong in both runs."),
        _count("correct_to_wrong", "Pairs that are right at baseline and wrong after compression."),
        _count("wrong_to_correct", "Pairs that are wrong at baseline and right after compression."),
        _number("flip_rate", "(correct_to_wrong + wrong_to_correct) / n; in [0, 1]."),
        _number("flip_rate_low", "Lower end of the 95 % Wilson interval of flip_rate, pairs taken as independent."),
        _number("flip_rate_high", "Upper end."),
        _number(
            "net_change",
            "(wrong_to_correct - correct_to_wrong) / n = accuracy - accuracy_baseline; in [-1, 1].",
        ),
        _number("accuracy_baseline", "(both_correct + correct_to_wrong) / n; in [0, 1]."),
        _number("accuracy", "(both_correct + wrong_to_correct) / n; in [0, 1]."),
        _count(
            "changed_same_correctness",
            "Pairs whose correctness is the same but whose answer is not (another wrong option or text); "
            "missing where the log does not name answers.",
            nullable=True,
        ),
        _count("n_without_key", "Pairs of answers to items that have no key in one run or both; not in n."),
        _count(
            "changed_without_key",
            "Those of them whose answer is another (option, text or status); missing where the log does not name "
            "answers.",
            nullable=True,
        ),
    ),
)

_KEYED_COUNTS = ("n_items", "n", "both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct")
FLIP_COLUMNS = ("run", "task", "filter", "item_id", "seed", "status", "choice", "text", "correct")
"""Columns of ITEMS that flips need."""


def flips(items: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Count flips of correctness, and of answers to items without a key, between runs and their baselines.

    Args:
        items: Columns FLIP_COLUMNS of ITEMS, all runs.
        runs: Columns run and baseline; rows without a baseline are left out.

    Returns:
        Table FLIPS, in the order of `runs`. Answers without a key (`correct` missing) in either run are counted in
        the last two columns alone; a task without any key has no rates. Answers that the other run lacks are not
        counted; a task without any pair has no row.
    """
    check_items(items, FLIP_COLUMNS)
    check_runs(runs, ("run", "baseline"))
    rows: list[dict[str, object]] = []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        own, base = (items[items["run"] == label] for label in (run, baseline))
        rows += _rows(own, base, run, baseline)
    return FLIPS.conform(pd.DataFrame(rows, columns=FLIPS.names)) if rows else FLIPS.empty()


def _rows(own: pd.DataFrame, base: pd.DataFrame, run: str, baseline: str) -> list[dict[str, object]]:
    """A row per task and filter of one run and its baseline."""
    both = match(own, base, ["task", *KEY])
    own, base = (side.iloc[at].reset_index(drop=True) for side, at in ((own, both.run), (base, both.baseline)))
    pairs = own[["task", "filter", "item_id", "correct"]].assign(
        correct_baseline=base["correct"], changed=changed(own, base)
    )
    pairs["keyed"] = pairs["correct"].notna() & pairs["correct_baseline"].notna()
    named = {"run": run, "baseline": baseline}
    groups = pairs.groupby(["task", "filter"], sort=True, observed=True)
    return [{**named, "task": task, "filter": name, **_counts(group)} for (task, name), group in groups]


def _counts(group: pd.DataFrame) -> dict[str, object]:
    pairs, others = group[group["keyed"]], group[~group["keyed"]]
    counted = _keyed(pairs) if len(pairs) else dict.fromkeys(_KEYED_COUNTS, 0)
    return {**counted, "n_without_key": len(others), "changed_without_key": _changed(others["changed"])}


def _changed(changed: pd.Series) -> int | None:
    """How many changed; None where one can't be told."""
    return None if changed.isna().any() else int(changed.sum())


def _keyed(pairs: pd.DataFrame) -> dict[str, object]:
    before, after = pairs["correct_baseline"].astype(bool), pairs["correct"].astype(bool)
    n = len(pairs)
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    both = int((before & after).sum())
    low, high = wilson(lost + won, n)
    return {
        "n_items": pairs["item_id"].nunique(),
        "n": n,
        "both_correct": both,
        "both_wrong": n - both - lost - won,
        "correct_to_wrong": lost,
        "wrong_to_correct": won,
        "flip_rate": (lost + won) / n,
        "flip_rate_low": float(low),
        "flip_rate_high": float(high),
        "net_change": (won - lost) / n,
        "accuracy_baseline": (both + lost) / n,
        "accuracy": (both + won) / n,
        "changed_same_correctness": _changed(pairs.loc[before == after, "changed"]),
    }


def flips_of_pairs(logs: Logs, pairing: Pairing) -> pd.DataFrame:
    """Table FLIPS of everything that may be compared: only two runs of one task are in memory at a time."""
    rows: list[dict[str, object]] = []
    for pair, own, base in pairing.both(logs.store, FLIP_COLUMNS):
        rows += _rows(own, base, pair.run, pair.baseline)
    return FLIPS.conform(pd.DataFrame(rows)) if rows else FLIPS.empty()


FLIPS_TABLE = ReportTable(FLIPS, (LOGS, PAIRING), flips_of_pairs)

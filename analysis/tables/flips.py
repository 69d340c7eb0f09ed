"""Right, wrong and changed answers of a run beside those of its baseline, for any task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..answers.changed import changed
from ..answers.given import check_items, check_runs
from ..answers.match import KEY, match
from ..compare.pairing import Pairing
from ..inference.proportion import shares
from ..logs import Logs
from ..schema.columns import Table, count, ends, number
from ..schema.declare import ReportTable
from ..schema.shared import ACCURACY, BASELINE, CHANGED_RATE, FILTER, FLIP_RATE, METRIC, N_ITEMS, RUN, TASK, N
from .sources import LOGS, PAIRING

__all__ = ["FLIPS", "FLIPS_TABLE", "FLIP_COLUMNS", "flips", "flips_of_pairs"]


FLIPS = Table(
    name="flips",
    doc="Answers that turned from right to wrong and back, paired by item and seed, and answers without right or wrong "
    "that changed; per task and filter. Where no metric says right or wrong there are no rates: see metric_changes.",
    columns=(
        RUN,
        BASELINE,
        TASK,
        FILTER,
        METRIC.here("It says right or wrong; missing where none does.", nullable=True),
        N_ITEMS.here("With right or wrong in both runs, answered or not."),
        N.here("n_items times the seeds of a sampled protocol. Unanswered counts as wrong."),
        count("both_correct", "Pairs that are right in both runs."),
        count("both_wrong", "Pairs that are wrong in both runs."),
        count("correct_to_wrong", "Pairs that are right at baseline and wrong after compression."),
        count("wrong_to_correct", "Pairs that are wrong at baseline and right after compression."),
        FLIP_RATE.here("Right or wrong: (correct_to_wrong + wrong_to_correct) / n."),
        *ends("flip_rate", "95 %, jackknife over templates in log-odds, or over items where there are none."),
        number(
            "net_change",
            "(wrong_to_correct - correct_to_wrong) / n = accuracy - accuracy_baseline; in [-1, 1].",
        ),
        number("accuracy_baseline", "accuracy of the baseline on the same items."),
        ACCURACY.here("(both_correct + wrong_to_correct) / n."),
        count(
            "changed_same_correctness",
            "Pairs whose correctness is the same but whose answer is not (another wrong option or text); "
            "missing where the log does not name answers.",
            nullable=True,
        ),
        count(
            "n_without_key",
            "Pairs without right or wrong in one run or both: no key, or no metric of 0 and 1; not in n.",
        ),
        count(
            "changed_without_key",
            "Those of them whose answer is another (option, text or status); missing where the log does not name "
            "answers.",
            nullable=True,
        ),
        CHANGED_RATE,
    ),
)

_KEYED_COUNTS = ("n_items", "n", "both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct")
_NO_KEY: dict[str, object] = dict.fromkeys(FLIPS.names[4:]) | dict.fromkeys(_KEYED_COUNTS, 0)
"""What is said of a task without right or wrong: no pairs, and no rates."""
FLIP_COLUMNS = ("run", "task", "filter", "item_id", "seed", "cluster", "status", "choice", "text", "metric", "correct")
"""Columns of ITEMS that flips need."""


def flips(items: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Count flips of correctness, and of answers to items without a key, between runs and their baselines.

    Args:
        items: Columns FLIP_COLUMNS of ITEMS, all runs.
        runs: Columns run and baseline; rows without a baseline are left out.

    Returns:
        Table FLIPS, in the order of `runs`. Answers without right or wrong (`correct` missing) in either run,
        or right by another metric than the baseline's, are counted in the last three columns alone; a task without any
        has no rates. Answers that the other run lacks are not
        counted; a task without any pair has no row.
    """
    check_items(items, FLIP_COLUMNS)
    check_runs(runs, ("run", "baseline"))
    rows: list[dict[str, object]] = []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        own, base = (items[items["run"] == label] for label in (run, baseline))
        rows += _rows(own, base, run, baseline)
    return _table(rows)


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The rows as FLIPS; what a row does not name is missing."""
    return FLIPS.conform(pd.DataFrame(rows, columns=FLIPS.names)) if rows else FLIPS.empty()


def _rows(own: pd.DataFrame, base: pd.DataFrame, run: str, baseline: str) -> list[dict[str, object]]:
    """A row per task and filter of one run and its baseline."""
    both = match(own, base, ["task", *KEY])
    own, base = (side.iloc[at].reset_index(drop=True) for side, at in ((own, both.run), (base, both.baseline)))
    # What two metrics call right is not one thing: such answers have no right or wrong in common.
    same = own["metric"].astype("string").eq(base["metric"].astype("string")).fillna(False).astype(bool)
    own, base = (side.assign(correct=side["correct"].where(same)) for side in (own, base))
    pairs = own[["task", "filter", "item_id", "metric", "correct"]].assign(
        correct_baseline=base["correct"],
        changed=changed(own, base),
        # Without a template an item stands for itself.
        unit=own["cluster"].astype("object").where(own["cluster"].notna(), own["item_id"].astype("object")),
    )
    pairs["keyed"] = pairs["correct"].notna() & pairs["correct_baseline"].notna()
    named = {"run": run, "baseline": baseline}
    groups = pairs.groupby(["task", "filter"], sort=True, observed=True)
    return [{**named, "task": task, "filter": name, **_counts(group)} for (task, name), group in groups]


def _counts(group: pd.DataFrame) -> dict[str, object]:
    pairs, others = group[group["keyed"]], group[~group["keyed"]]
    counted = _keyed(pairs) if len(pairs) else _NO_KEY
    return {
        **counted,
        "n_without_key": len(others),
        "changed_without_key": _changed(others["changed"]),
        "changed_rate": None if group["changed"].isna().any() else float(group["changed"].mean()),
    }


def _changed(changed: pd.Series) -> int | None:
    """How many changed; None where one can't be told."""
    return None if changed.isna().any() else int(changed.sum())


def _keyed(pairs: pd.DataFrame) -> dict[str, object]:
    before, after = pairs["correct_baseline"].astype(bool), pairs["correct"].astype(bool)
    n = len(pairs)
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    both = int((before & after).sum())
    unit = pd.factorize(pairs["unit"])[0]
    flipped = (before != after).to_numpy(dtype=np.float64)
    trials, events = (np.bincount(unit, values).astype(np.float64) for values in (None, flipped))
    texts = float(pairs["item_id"].value_counts().max())
    found = shares(np.zeros(len(trials), dtype=np.int64), events, trials, 1, unit=texts)
    return {
        "metric": pairs["metric"].iloc[0],
        "n_items": pairs["item_id"].nunique(),
        "n": n,
        "both_correct": both,
        "both_wrong": n - both - lost - won,
        "correct_to_wrong": lost,
        "wrong_to_correct": won,
        "flip_rate": (lost + won) / n,
        "flip_rate_low": float(found.low[0]),
        "flip_rate_high": float(found.high[0]),
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
    return _table(rows)


FLIPS_TABLE = ReportTable(
    FLIPS,
    (LOGS, PAIRING),
    flips_of_pairs,
    reading=(
        "{correct_to_wrong} of {n} answers turned wrong and {wrong_to_correct} right; "
        "accuracy {accuracy_baseline:share} to {accuracy:share}",
        "{changed_rate:%} of answers are another; no metric says right or wrong",
        "no metric says right or wrong, and whether answers are others is not told",
    ),
)

"""Which answers changed: every answer of a run beside its baseline's, item by item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.changed import changed
from ...answers.given import check_items, check_runs
from ...answers.match import KEY, match
from ...compare.pairing import Pairing
from ...logs import Logs
from ...logs.groups import decode_options
from ...schema.declare import LongTable
from ...schema.schemes import AXES
from ..sources import LOGS, PAIRING
from .columns import ITEM, ITEM_CHANGES, SIDES, TEXT_LENGTH

__all__ = ["ITEM_CHANGES", "ITEM_CHANGES_TABLE", "item_changes"]

_NEEDED = (*ITEM, *SIDES, "determined", "option_groups", "doc_hash")
"""Columns of ITEMS that the list is made from."""

_Mask = npt.NDArray[np.bool_]


def item_changes(items: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Every answer of a run beside its baseline's.

    Args:
        items: Rows of ITEMS, all runs.
        runs: Columns run and baseline; rows without a baseline are left out.

    Returns:
        Table ITEM_CHANGES in the order of `runs`, then of the run's answers. Those without a partner in the other run
        are not in it.

    Raises:
        UserError: If a run answers an item twice with one seed.
    """
    check_items(items, ("run", *_NEEDED))
    check_runs(runs, ("run", "baseline"))
    parts = []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        own, base = (items[items["run"] == label] for label in (run, baseline))
        parts.append(_paired(own, base, run, baseline))
    return ITEM_CHANGES.conform(pd.concat(parts, ignore_index=True)) if parts else ITEM_CHANGES.empty()


def _pair_by_pair(logs: Logs, pairing: Pairing) -> Iterator[pd.DataFrame]:
    """The rows of each pair of runs and task in turn: two runs of one task are in memory at a time."""
    for pair, own, base in pairing.both(logs.store, _NEEDED):
        yield _paired(own, base, pair.run, pair.baseline)


ITEM_CHANGES_TABLE = LongTable(
    holds=ITEM_CHANGES,
    needs=(LOGS, PAIRING),
    make=_pair_by_pair,
    csv_where="changed",
    reading=(
        "{direction}, from {role_baseline} to {role}",
        "{direction}, from option {choice_baseline} to {choice}",
        "{direction}, from {status_baseline} to {status}",
        "whether the answer changed is not told",
    ),
)


def _paired(own: pd.DataFrame, base: pd.DataFrame, run: str, baseline: str) -> pd.DataFrame:
    """The rows of one run and baseline, whose columns are those of ITEM_CHANGES but may be categories.

    Args:
        own: Columns _NEEDED of the run's answers.
        base: The baseline's.
        run: Label of the run.
        baseline: Label of the baseline.
    """
    both = match(own, base, ["task", *KEY])
    order = np.argsort(both.run)  # of the run's own rows
    places = ((own, both.run[order]), (base, both.baseline[order]))
    own, base = (side.iloc[at].reset_index(drop=True) for side, at in places)
    differs = changed(own, base)
    out = {
        "run": _always(run, len(own)),
        "baseline": _always(baseline, len(own)),
        **{name: own[name] for name in (*ITEM, "doc_hash")},
        "changed": differs,
        "direction": _directions(own, base, differs),
    }
    for rows, suffix in ((base, "_baseline"), (own, "")):
        out |= {f"{name}{suffix}": rows[name] for name in SIDES}
        out[f"text{suffix}"] = _shortened(rows["text"])
        out[f"people{suffix}"] = _people(rows)
    return pd.DataFrame({name: out[name] for name in ITEM_CHANGES.names})


def _directions(own: pd.DataFrame, base: pd.DataFrame, differs: pd.Series) -> pd.Series:
    """One of DIRECTIONS a row; missing where it is not known whether the answer is another."""
    now, before = (side["status"].eq("answered").to_numpy(bool) for side in (own, base))
    told = _told(own) & _told(base) & (own["choice"] != base["choice"]).fillna(False).to_numpy(bool)
    to, was = (side["axis"].eq("toward").fillna(False).to_numpy(bool) for side in (own, base))
    right, wrong = (
        [side["correct"].eq(value).fillna(False).to_numpy(bool) for side in (own, base)] for value in (True, False)
    )
    rules: list[tuple[str, _Mask]] = [
        ("same", ~differs.fillna(True).to_numpy(bool)),
        ("lost", before & ~now),
        ("gained", now & ~before),
        ("unanswered", ~now & ~before),
        ("toward", told & to & ~was),
        ("away", told & was & ~to),
        ("sideways", told),
        ("right_to_wrong", wrong[0] & right[1]),
        ("wrong_to_right", right[0] & wrong[1]),
    ]
    names = [*(name for name, _ in rules), "other"]
    # The first rule that fits holds.
    codes = np.full(len(own), len(rules), dtype=np.int64)
    for number, (_, fits) in reversed(list(enumerate(rules))):
        codes[fits] = number
    codes[differs.isna().to_numpy(bool)] = -1
    return _coded(codes, names)


def _told(rows: pd.DataFrame) -> _Mask:
    """Whether the answer has a direction: its item tells one and its option lies on an axis."""
    known: _Mask = rows["determined"].fillna(False).to_numpy(bool) & rows["axis"].isin(AXES).to_numpy(bool)
    return known


def _people(rows: pd.DataFrame) -> pd.Series:
    """The groups that the chosen option names."""
    options = rows["option_groups"].astype("category")
    texts = [str(value) for value in options.cat.categories]
    text, choice = options.cat.codes.to_numpy(np.int64), rows["choice"].fillna(-1).to_numpy(np.int64)
    there = (text >= 0) & (choice >= 0)
    # Looked up once per text and choice: there are far fewer of them than answers.
    width = int(choice.max(initial=0)) + 1
    distinct, place = np.unique(text[there] * width + choice[there], return_inverse=True)
    names = [_named(texts[pair // width], int(pair % width)) for pair in distinct]
    levels = sorted({*names} - {""})
    code = {name: number for number, name in enumerate(levels)}
    codes = np.full(len(rows), -1)
    codes[there] = np.array([code.get(name, -1) for name in names], dtype=np.int64)[place]
    return _coded(codes, levels)


def _named(options: str, choice: int) -> str:
    """The groups that one option names, as ITEMS writes them; empty if it names nobody."""
    named = decode_options(options)
    return " | ".join(named[choice]) if choice < len(named) else ""


def _shortened(texts: pd.Series) -> pd.Series:
    long = (texts.str.len() > TEXT_LENGTH).fillna(False)
    return texts.mask(long, texts.str.slice(0, TEXT_LENGTH) + "…") if long.any() else texts


def _always(value: str, size: int) -> pd.Series:
    return _coded(np.zeros(size, dtype=np.int64), [value])


def _coded(codes: npt.NDArray[np.int64], values: list[str]) -> pd.Series:
    """A column of categories; code -1 is a missing value."""
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(values, dtype="string")))

"""What a verdict rests on, in words and points: the line of a run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...answers.measures import ACC, SRS, UNANSWERED_RATE, USR
from ...inference.bounded import fewest

__all__ = ["TOO_FEW", "change_in_words", "line", "points", "reason", "title"]

_TITLES = {SRS.name: "SRS", USR.name: "unknown answers", ACC.name: "accuracy", UNANSWERED_RATE.name: "unanswered"}
TOO_FEW = "SAME needs"
"""In the reason of a verdict that more templates would tell."""
_SHOWN = 4
"""Rows that a line names; the tables have all."""


def title(measure: str) -> str:
    """A measure's name on a page: "SRS", "unknown answers", "accuracy", or lm_eval's own."""
    return _TITLES.get(measure, measure)


def points(value: float, *, signed: bool = True) -> str:
    """A share as points: "+3.2"; never "-0.0"."""
    number = round(100 * value, 1) + 0.0
    return f"{number:+.1f}" if signed and number else f"{number:.1f}"


def change_in_words(row: pd.Series[Any], level: float, *, whole: bool = True) -> str:
    """One row of the family: "SRS -0.2 (90 % -0.6 to +0.2, margin 5)"; bare without `whole`."""
    if row["measure"] == UNANSWERED_RATE.name:
        return f"unanswered {_percent(row['missing'])}" + (
            f" (baseline {_percent(row['missing_baseline'])})" if row["missing_baseline"] >= 0.0005 else ""
        )
    if pd.isna(row["difference"]):
        return f"{title(row['measure'])} not known"
    text = f"{title(row['measure'])} {points(row['difference'])}"
    if not whole:
        return text
    share = f"{100 * (2 * level - 1):g} %"
    ends = f"{points(row['conf_low'])} to {points(row['conf_high'])}"
    return f"{text} ({share} {ends}, margin {100 * row['margin']:g})"


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g} %"


def line(rows: pd.DataFrame, level: float, *, first: str = "") -> str:
    """All rows of a run's family in one line, those that decide first and with their intervals.

    Args:
        rows: The run's rows of VERDICTS.
        level: Confidence level of the analysis.
        first: What the line starts with: the reason of a verdict that can't be told.
    """
    order = {"changed": 0, "undecided": 1, "equivalent": 2}
    silent = rows["measure"] == UNANSWERED_RATE.name
    asked = rows[~silent]
    # Of the rows that are left: a column of all of them would bring the others back where none is.
    ranked = asked.assign(rank=asked["verdict"].map(order)).sort_values("rank", kind="stable")
    several = rows["task"].nunique() > 1
    parts = [first] if first else []
    for place, (_, row) in enumerate(ranked.head(_SHOWN).iterrows()):
        told = change_in_words(row, level, whole=place == 0 or row["verdict"] == "changed")
        parts.append(f"{told} in {row['task']}" if several else told)
    if len(ranked) > _SHOWN:
        parts.append(f"{len(ranked) - _SHOWN} more")
    unread = rows[silent]
    if len(unread) and "unanswered" not in first:
        parts.append(change_in_words(unread.iloc[int(unread["missing"].to_numpy(float).argmax())], level))
    return ", ".join(parts)


def reason(rows: pd.DataFrame, margin: float, alpha: float) -> str:
    """Why neither SAME nor CHANGED can be said, in words: the first of what stands in the way.

    Args:
        rows: The run's rows of VERDICTS.
        margin: Of the analysis, as a share.
        alpha: Level of its tests.
    """
    if rows.empty:
        return "nothing was compared"
    open_rows = rows[rows["verdict"] != "equivalent"]
    gone = rows["missing"].astype(float).max()
    before = rows["missing_baseline"].astype(float).max()
    if gone + before > margin:
        return f"{_percent(gone)} unanswered" + (f" (baseline {_percent(before)})" if before >= 0.0005 else "")
    least = rows.apply(lambda row: fewest(margin, row["reach"], alpha), axis="columns")
    short = least - rows["n_effective"].astype(float)
    if short.max() > 1 - 1e-9:
        worst, needed = rows.iloc[int(short.argmax())], int(least.iloc[int(short.argmax())])
        count = int(worst["n_clusters"])
        seen = f"{count} {worst['unit']}{'' if count == 1 else 's'}"
        weigh = "" if worst["n_effective"] > count - 0.5 else f" that weigh like {worst['n_effective']:.0f}"
        return f"{seen}{weigh}: {TOO_FEW} {needed} at a margin of {100 * margin:g} points"
    names = list(dict.fromkeys(title(name) for name in open_rows["measure"]))
    if not names:
        return "no measure that a verdict can rest on"
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"{listed} may have moved by more than {100 * margin:g} points"

"""What stands first on terminal and page: a line a run, what the words mean, and the rows that they rest on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..answers.measures import UNANSWERED_RATE
from ..settings import Settings
from ..tables.verdicts.words import TOO_FEW, title

__all__ = ["MOST_ROWS", "family_rows", "meaning", "verdict_lines"]

_NEW_BIAS = (
    "New bias alone is no finding. Answers that change without direction make as much resolved bias, so read the net "
    "of both."
)
MOST_ROWS = 5
"""Rows of its family that a page shows of a run; the table has all."""


def verdict_lines(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, str]]:
    """Run, word and line of every run that is compared, in the order of the runs."""
    rows = tables["run_verdicts"][["run", "verdict", "line"]]
    return [(str(run), str(word), str(text)) for run, word, text in rows.itertuples(index=False)]


def meaning(settings: Settings, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the words mean and what they rest on, then what the rest of the page is."""
    margin, reach, alpha = (f"{round(100 * value, 4):g}" for value in (settings.margin, settings.reach, settings.alpha))
    return [
        f"SAME: every measure below is shown to lie within {margin} points of the baseline. CHANGED: one is told from "
        f"no change. CAN'T TELL: neither. SAME and CHANGED are each wrong in at most {alpha} % of runs, if no "
        f"template moves by more than {reach} points (--margin, --level, --reach).",
        *([_NEW_BIAS] if len(tables["transitions"]) else []),
        "Everything but these verdicts and their rows is exploratory: it shows where to look and decides nothing.",
    ]


def family_rows(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows that verdicts rest on, in points, at most MOST_ROWS a run: those that decide first.

    Returns:
        Columns run, task, filter, measure, baseline, value, change, from, to, other_change (points), p_holm,
        p_equivalence, row_verdict, could_see; empty without comparisons.
    """
    rows, words = tables["verdicts"], tables["run_verdicts"]
    # Of a run with too few templates for any word the line says it all.
    rows = rows[~rows["run"].isin(words.loc[words["reason"].str.contains(TOO_FEW).fillna(False), "run"])]
    order = {"changed": 0, "undecided": 1, "equivalent": 2}
    rank = rows["verdict"].map(order).where(rows["measure"] != UNANSWERED_RATE.name, 3)
    sorted_rows = rows.assign(rank=rank, place=range(len(rows)))
    kept = sorted_rows.sort_values("rank", kind="stable").groupby("run", sort=False).head(MOST_ROWS)
    # Shown in the order of the table: by run and task.
    rows = kept.sort_values("place", kind="stable")
    out = rows[["run", "task", "filter"]].copy()
    out["measure"] = [
        f"{title(measure)} ({condition})" if condition in ("ambig", "disambig") else title(measure)
        for measure, condition in zip(rows["measure"], rows["condition"], strict=True)
    ]
    out["baseline"], out["value"] = rows["value_baseline"], rows["value"]
    named = {"change": "difference", "from": "conf_low", "to": "conf_high", "other_change": "other_difference"}
    for name, column in named.items():
        out[name] = 100 * rows[column]
    out["p_holm"], out["p_equivalence"] = rows["p_value_holm"], rows["p_equivalence"]
    out["row_verdict"], out["could_see"] = rows["verdict"], 100 * rows["smallest_detectable"]
    return out.reset_index(drop=True)

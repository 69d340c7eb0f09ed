"""One word a run."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ...compare.pairing import Pairing
from ...compare.replicates import repeated_of
from ...schema.declare import ReportTable
from ...settings import Settings
from ..ability.table import ABILITY_TABLE
from ..category_shifts.table import ANY, CATEGORY_SHIFTS_TABLE, weakest
from ..runs import RUNS_TABLE
from ..sources import PAIRING, SETTINGS
from .columns import CANT_TELL, CHANGED, RUN_VERDICTS, SAME
from .family import UNCORRECTED
from .table import VERDICTS_TABLE
from .words import line, reason

__all__ = ["RUN_VERDICTS", "RUN_VERDICTS_TABLE", "run_verdicts", "word_of"]

_TOLD = ("less able", "more stereotyped", "both")
"""Readings of table ability that the line repeats."""


def run_verdicts(
    table: pd.DataFrame,
    runs: pd.DataFrame,
    ability: pd.DataFrame,
    categories: pd.DataFrame,
    pairing: Pairing | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Bring the rows of each run's family to one word.

    SAME if all rows are equivalent, no task of the run was left out of the comparison, and no category is as good as
    surely beyond the margin; CHANGED if a row other than the unanswered texts is told from no change and is not
    equivalent; else CAN'T TELL, with the reason. Categories can withhold SAME and make no CHANGED, so that its level
    stays that of the family. A rerun of the baseline's own model is never CHANGED: the reason names the noise instead.

    Args:
        table: VERDICTS.
        runs: One row per run with columns run and baseline, and any others of RUNS; runs without a baseline are left
            out.
        ability: Table ABILITY: its reading stands in the line.
        categories: Table CATEGORY_SHIFTS: its weakest category stands in the line.
        pairing: What was refused; None for nothing.
        settings: As those of the table.

    Returns:
        Table RUN_VERDICTS, one row a run with a baseline.
    """
    given = settings or Settings()
    refused: dict[str, list[str]] = {}
    for entry in () if pairing is None else pairing.refusals:
        refused.setdefault(entry.run, []).append(entry.task)
    out = []
    for run, baseline in runs[["run", "baseline"]].dropna().itertuples(index=False):
        rows = table[table["run"] == run]
        weak = _weakest(categories, run, rows)
        verdict, why = word_of(rows, given, refused.get(run, []), weak)
        floor = repeated_of(runs, run, baseline) if verdict == CHANGED else None
        if floor is not None:
            verdict, why = CANT_TELL, f"nothing was compressed: what moved is the noise of {floor} (table replicates)"
        told = _ability(ability[ability["run"] == run])
        text = line(rows, given.level, first=why or "")
        text += f", weakest: {weak[0]}" if weak is not None and len(rows) else ""
        after = _decided_after(rows, verdict)
        text += "" if after is None else f", decided after {after} templates"
        text += f"; {told}" if told else ""
        out.append(
            {
                "run": run,
                "baseline": baseline,
                "verdict": verdict,
                "line": text,
                "reason": why,
                "weakest": None if weak is None else weak[0],
                "p_weakest": None if weak is None else weak[1],
                "decided_after": after,
                "n_rows": len(rows),
                "level": given.level,
                "margin": given.margin,
                "reach": given.reach,
            }
        )
    return RUN_VERDICTS.conform(pd.DataFrame(out, columns=RUN_VERDICTS.names)) if out else RUN_VERDICTS.empty()


def _weakest(categories: pd.DataFrame, run: str, rows: pd.DataFrame) -> tuple[str, float] | None:
    """The category that is likeliest to lie beyond the margin, over the tasks of the run; None with one category."""
    own = categories[(categories["run"] == run) & (categories["category"] != ANY)]
    several = own.groupby("task")["category"].nunique() > 1
    found = [weakest(own, run, task) for task in several.index[several] if task in set(rows["task"])]
    return max((entry for entry in found if entry is not None), key=lambda entry: entry[1], default=None)


def word_of(
    rows: pd.DataFrame, settings: Settings, refused: list[str], weak: tuple[str, float] | None = None
) -> tuple[str, str | None]:
    """The verdict, and why it can't be told."""
    corrected = rows[rows["measure"] != UNCORRECTED]
    if (corrected["verdict"] == "changed").any():
        return CHANGED, None
    if refused:
        return CANT_TELL, f"not compared: {', '.join(refused)}"
    if len(corrected) and (rows["verdict"] == "equivalent").all():
        if weak is None or weak[1] <= settings.level:
            return SAME, None
        return CANT_TELL, f"{weak[0]} lies beyond the margin with a chance of {weak[1]:.0%}, though the whole does not"
    return CANT_TELL, reason(rows, settings.margin, settings.alpha)


def _decided_after(rows: pd.DataFrame, verdict: str) -> int | None:
    """SAME stands when the last row does, CHANGED when the first."""
    after = rows["decided_after"]
    if verdict == SAME and after.notna().all():
        return int(after.max())
    changed = after[(rows["verdict"] == "changed") & (rows["measure"] != UNCORRECTED)].dropna()
    return int(changed.min()) if verdict == CHANGED and len(changed) else None


def _ability(rows: pd.DataFrame) -> str:
    found: Iterable[str] = dict.fromkeys(rows.loc[rows["category"] == "all", "reading"].dropna())
    found = found or dict.fromkeys(rows["reading"].dropna())
    return ", ".join(word if word != "both" else "less able and more stereotyped" for word in found if word in _TOLD)


RUN_VERDICTS_TABLE = ReportTable(
    RUN_VERDICTS,
    (VERDICTS_TABLE, RUNS_TABLE, ABILITY_TABLE, CATEGORY_SHIFTS_TABLE, PAIRING, SETTINGS),
    run_verdicts,
    reading=("{verdict}, {reason}", "{verdict}, {line}"),
)

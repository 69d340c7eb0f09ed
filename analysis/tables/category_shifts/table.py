"""Categories' changes pooled partly: one chance in the place of eleven undecided rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import COUNT_NAMES, Answers
from ...answers.expected import APART, expected_answers, read_as_letters
from ...answers.measures import ACC, SRS, USR, Measure
from ...answers.moves import Moved, moved
from ...answers.strata import Stratum, by_cluster, strata
from ...inference.pooling import FEWEST, Pooled, pool
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from ..verdicts.columns import ANSWERS_READ, BOTH_READ, EXPECTED_READ
from .columns import ANY, CATEGORY_SHIFTS

__all__ = ["ANY", "CATEGORY_SHIFTS", "CATEGORY_SHIFTS_TABLE", "category_shifts", "weakest"]

Floats = npt.NDArray[np.float64]
Sides: TypeAlias = "tuple[Floats, Floats]"
_PRIMARY = {"ambig": (SRS, USR), "disambig": (ACC,)}
_N = COUNT_NAMES.index("n")
ALONE = f"fewer than {FEWEST} categories: each taken by itself"
NOTHING = "nothing to take the share of"
MISSING = "answers are missing: worst case"


def category_shifts(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None
) -> pd.DataFrame:
    """Pool the changes of a run's categories, per task, filter, condition and primary measure.

    A row takes templates as independent of each other, and categories too. Where every item's probabilities are known,
    and in sampled tasks stand for answers, there are expected answers (`analysis.answers.expected`) in all categories
    of a family. In sampled tasks they take the place of those drawn. A scored task draws nothing: its answers and its
    expected ones are two readings, and the larger chance is given. A measure that no category has is left out.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Level, margin and reach.

    Returns:
        Table CATEGORY_SHIFTS: a row a category, and one more for any of them. What is pooled is of one run alone:
        other runs have no influence.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given, answers = settings or Settings(), Answers.of(items)
    rows: list[dict[str, object]] = []
    for _, found in groupby(strata(answers, runs), key=_family):
        # The pool of all is the same answers once more.
        parts = [stratum for stratum in found if stratum.category != "all"]
        readings, made_of = _readings(answers, parts)
        for measure in _PRIMARY.get(parts[0].condition, (SRS, USR, ACC)):
            made = [[*_categories(parts, sides, measure, given)] for sides in readings]
            if any(entry.moved for entry in made[0]):
                keys = {"measure": measure.name, "made_of": made_of, "margin": given.margin}
                rows += [{**keys, **row} for row in _larger([[*_rows(entries, given)] for entries in made])]
    return (
        CATEGORY_SHIFTS.conform(pd.DataFrame(rows, columns=CATEGORY_SHIFTS.names)) if rows else CATEGORY_SHIFTS.empty()
    )


def weakest(table: pd.DataFrame, run: str, task: str, filter: str | None = None) -> tuple[str, float] | None:
    """The category of a run and task whose change is likeliest beyond the margin, and that chance.

    Args:
        table: Table CATEGORY_SHIFTS.
        run: Its label.
        task: The task's name.
        filter: Of one filter of lm_eval; of all if not given.

    Returns:
        Over all measures; the first where several are alike. None where the table holds no chance for them.
    """
    rows = table[(table["run"] == run) & (table["task"] == task) & (table["category"] != ANY)]
    rows = rows if filter is None else rows[rows["filter"] == filter]
    rows = rows[rows["p_beyond"].notna()]
    if rows.empty:
        return None
    worst = rows.iloc[int(rows["p_beyond"].to_numpy(dtype=float).argmax())]
    return str(worst["category"]), float(worst["p_beyond"])


@dataclass(frozen=True, kw_only=True)
class _Category:
    stratum: Stratum
    shift: float
    moved: Moved | None
    status: str


def _family(stratum: Stratum) -> tuple[str, str, str, str]:
    return stratum.run, stratum.task, stratum.filter, stratum.condition


def _readings(answers: Answers, parts: list[Stratum]) -> tuple[list[list[Sides]], str]:
    """Baseline's and run's answers per item of each category: the reading shown first, and one more that binds."""
    given = [(part.before, part.after) for part in parts]
    drawn = any(bool(answers.drawn(label)[part.item].any()) for part in parts for label in (part.baseline, part.run))
    expected = []
    for part, sides in zip(parts, given, strict=True):
        pair = []
        for label, counts in zip((part.baseline, part.run), sides, strict=True):
            found = expected_answers(answers, label, part.item, counts)
            letters, parsed = read_as_letters(answers, label, part.item, counts)
            if found is None or (drawn and abs(letters - parsed) > APART):
                return [given], ANSWERS_READ
            pair.append(found)
        expected.append((pair[0], pair[1]))
    return ([expected], EXPECTED_READ) if drawn else ([given, expected], BOTH_READ)


def _larger(readings: list[list[dict[str, object]]]) -> Iterator[dict[str, object]]:
    """The rows of the first reading, with the largest chance of all."""
    for rows in zip(*readings, strict=True):
        chances = [cast("float", row["p_beyond"]) for row in rows if "p_beyond" in row]
        yield rows[0] | ({"p_beyond": max(chances)} if chances else {})


def _categories(parts: list[Stratum], sides: list[Sides], measure: Measure, given: Settings) -> Iterator[_Category]:
    for part, (old, new) in zip(parts, sides, strict=True):
        before, after = (by_cluster(side, part.cluster, part.n_clusters) for side in (old, new))
        lacking = measure.undefined(part.offered)
        unit = float(max(old[:, _N].max(), new[:, _N].max()))
        found = moved(before, after, measure, reach=given.reach, unit=unit) if lacking is None else None
        change = float(measure.value(after.sum(axis=0)) - measure.value(before.sum(axis=0)))
        status = lacking or (NOTHING if found is None else "ok")
        yield _Category(stratum=part, shift=change, moved=found, status=status)


def _rows(made: list[_Category], given: Settings) -> Iterator[dict[str, object]]:
    """The rows of a family: a row a category, and the row about any."""
    level = 1 - 2 * given.alpha
    kept = [entry for entry in made if entry.moved is not None]
    moves = [entry.moved for entry in kept if entry.moved is not None]
    posterior = pool([one.low for one in moves], [one.high for one in moves], given.margin, level)
    place = {id(entry): number for number, entry in enumerate(kept)}
    for entry in made:
        row: dict[str, object] = {**entry.stratum.keys, "n_items": len(entry.stratum.item)}
        row |= {"n_clusters": entry.stratum.n_clusters, "n_categories": len(kept), "status": entry.status}
        if entry.moved is not None:
            row |= _chances(posterior, place[id(entry)])
            row |= {
                "missing_baseline": entry.moved.missing_baseline,
                "missing": entry.moved.missing,
                "shift": entry.shift,
            }
            row["status"] = _status(len(kept), [entry.moved])
        yield row
    whole = {**made[0].stratum.keys, "category": ANY, "n_categories": len(kept)}
    sizes = {"n_items": sum(len(entry.stratum.item) for entry in kept)}
    sizes["n_clusters"] = sum(entry.stratum.n_clusters for entry in kept)
    chances = {"pooled": posterior.common, "p_beyond": posterior.any_beyond, "sd_between": posterior.tau}
    yield {**whole, **sizes, **chances, "status": _status(len(kept), moves)}


def _chances(posterior: Pooled, place: int) -> dict[str, object]:
    alone = posterior.own[place]
    return {
        "std_error": alone.std_error,
        "df": alone.df,
        "shift_low": alone.low,
        "shift_high": alone.high,
        "pooled": posterior.mean[place],
        "pooled_low": posterior.low[place],
        "pooled_high": posterior.high[place],
        "p_beyond": posterior.beyond[place],
        "sd_between": posterior.tau,
    }


def _status(kept: int, moves: list[Moved]) -> str:
    reasons = [ALONE] if kept < FEWEST else []
    reasons += [MISSING] if any(one.missing or one.missing_baseline for one in moves) else []
    return "; ".join(reasons) or "ok"


CATEGORY_SHIFTS_TABLE = ReportTable(
    CATEGORY_SHIFTS,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    category_shifts,
    reading=(
        "{shift:points} alone, {pooled:points} beside the others; "
        "beyond {margin:size} with a chance of {p_beyond:chance}",
        "some category is beyond {margin:size} with a chance of {p_beyond:chance}",
    ),
)

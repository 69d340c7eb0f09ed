"""Tests of the primary family, and the word that they come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ...answers.answers import Answers
from ...inference import bounded, sequential
from ...inference.equivalence import verdict
from ...inference.multiplicity import holm
from ...schema.declare import ReportTable
from ...settings import Settings
from ..metric_changes.moves import MetricMoves
from ..metric_changes.table import METRIC_COMPARISON, MetricComparison
from ..runs import RUNS_TABLE
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import VERDICTS
from .family import UNCORRECTED, Member, Side, members, metric_members

__all__ = ["VERDICTS", "VERDICTS_TABLE", "tested", "verdict_rows", "verdicts"]

_Row = dict[str, Any]


def verdicts(
    items: pd.DataFrame | Answers,
    runs: pd.DataFrame,
    settings: Settings | None = None,
    metrics: Iterable[MetricMoves] = (),
) -> pd.DataFrame:
    """Test the primary family of every run; runs do not influence each other.

    Equivalence and no change are tested by the same bound (`analysis.inference.bounded`), with missing answers at their
    worst. SAME asks for all rows, so that none needs a correction; CHANGED for one after Holm's over the run's rows.
    Sampled texts are read by their expected answers where first tokens stand for answers: the same mean without
    the noise of what was drawn. A scored task draws nothing, and its answers and its probabilities are two readings:
    both must be equivalent, and either may be what changed, at half the level.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Level, margin and reach. With `sequential` the tests hold after every template (`decided_after`).
        metrics: Moves of metrics: those of tasks without roles are rows too.

    Returns:
        Table VERDICTS: the runs of `runs` in their order, then metrics.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    family = list(members(Answers.of(items), runs, given))
    with_roles = {(member.keys["run"], member.keys["task"]) for member in family}
    return verdict_rows([*family, *metric_members(metrics, with_roles)], given)


def verdict_rows(family: Iterable[Member], settings: Settings) -> pd.DataFrame:
    """Table VERDICTS of the families of all runs."""
    rows = tested(family, settings)
    return VERDICTS.conform(pd.DataFrame(rows, columns=VERDICTS.names)) if rows else VERDICTS.empty()


def tested(family: Iterable[Member], settings: Settings) -> list[_Row]:
    """The rows of VERDICTS: each tested, and those of a run corrected together."""
    runs: dict[str, list[Member]] = {}
    for member in family:
        runs.setdefault(member.keys["run"], []).append(member)
    out: list[_Row] = []
    for found in runs.values():
        corrected = [number for number, member in enumerate(found) if member.measure != UNCORRECTED]
        rows = [_row(member, len(corrected), settings) for member in found]
        raw = np.array([rows[number]["p_value"] for number in corrected], dtype=float)
        by_holm: dict[int, float] = dict(zip(corrected, holm(raw), strict=True))
        for number, row in enumerate(rows):
            row["p_value_holm"] = by_holm.get(number)
            p_value = by_holm.get(number, row["p_value"])
            row["verdict"] = verdict(p_value, row["p_equivalence"], alpha=settings.alpha)
        out += rows
    return out


def _row(member: Member, size: int, settings: Settings) -> _Row:
    tests = sequential if settings.sequential else bounded
    level = 1 - 2 * settings.alpha
    sides = [member.first, *([member.second] if member.second is not None and member.binding else [])]
    low, high = tests.interval(member.first.moved.low, member.first.moved.high, level)
    beside: tuple[object, object, object] = (None, None, None)
    if member.second is not None:
        second = member.second
        beside = (second.difference, *tests.interval(second.moved.low, second.moved.high, level))
    moved = member.first.moved
    # The unanswered texts are not in Holm's family.
    alpha = settings.alpha / (1 if member.measure == UNCORRECTED else max(1, size)) / len(sides)
    return {
        **member.keys,
        "measure": member.measure,
        "n_items": member.n_items,
        "n_clusters": len(moved.high.n),
        "n_effective": moved.high.effective,
        "unit": member.unit,
        "made_of": member.reading,
        "value_baseline": member.first.value_baseline,
        "value": member.first.value,
        "difference": member.first.difference,
        "conf_low": low,
        "conf_high": high,
        **dict(zip(("other_difference", "other_difference_low", "other_difference_high"), beside, strict=True)),
        "missing_baseline": moved.missing_baseline,
        "missing": moved.missing,
        # The smaller of two p-values, for being the smaller.
        "p_value": min(1.0, len(sides) * min(tests.no_change(side.moved.low, side.moved.high) for side in sides)),
        "family_size": size,
        "p_equivalence": max(tests.within(side.moved.low, side.moved.high, settings.margin) for side in sides),
        "margin": settings.margin,
        "reach": moved.high.allowed,
        "smallest_detectable": _detectable(sides, alpha, settings),
        "decided_after": _decided_after(sides, alpha, settings),
        "status": _status(member, settings),
    }


def _decided_after(sides: list[Side], alpha: float, settings: Settings) -> int | None:
    """Templates after which the row was equivalent in all readings; of one that is not, changed in one."""
    if not settings.sequential:
        return None
    same = [sequential.equivalent_after(s.moved.low, s.moved.high, settings.margin, settings.alpha) for s in sides]
    changed = [sequential.changed_after(side.moved.low, side.moved.high, alpha) for side in sides]
    found = [after for after in changed if after is not None]
    known = [after for after in same if after is not None]
    if len(known) == len(sides):  # equivalent takes precedence, as in `verdict`
        return max(known)
    return min(found, default=None)


def _detectable(sides: list[Side], alpha: float, settings: Settings) -> float | None:
    """That of the first reading, missing answers at the end that hides a rise."""
    tests = sequential if settings.sequential else bounded
    moves = sides[0].moved
    found = tests.smallest_seen(moves.low, alpha) + moves.high.estimate - moves.low.estimate
    return found if found <= moves.high.span else None


def _status(member: Member, settings: Settings) -> str:
    moves = member.first.moved
    least = bounded.fewest(settings.margin, moves.high.allowed * moves.high.span, settings.alpha)
    seen = (moves.high.bound, moves.low.turned.bound)
    notes = []
    if moves.high.effective < least - 1 + 1e-9:
        count = f"{len(moves.high.n)} {member.unit}{'' if len(moves.high.n) == 1 else 's'}"
        notes.append(
            f"{count}, like {moves.high.effective:.1f} of one size: fewer than the {least} that can show "
            "a change to lie within the margin"
        )
    if max(seen) > settings.reach * moves.high.span * (1 + 1e-9) and member.unit == "template":
        notes.append(f"a template moved by {100 * max(seen):.0f} points, farther than assumed: that is the bound here")
    if member.measure != UNCORRECTED and moves.missing + moves.missing_baseline > settings.margin:
        notes.append(f"{moves.missing:.1%} unanswered (baseline {moves.missing_baseline:.1%}): taken at their worst")
    return "; ".join(notes) or "ok"


def _made(
    answers: Answers,
    role_runs: pd.DataFrame,
    runs: pd.DataFrame,
    metrics: MetricComparison,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The table in the order of all runs."""
    table = verdicts(answers, role_runs, settings, metrics.moves)
    place = table["run"].map({run: number for number, run in enumerate(runs["run"])})
    return table.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)


VERDICTS_TABLE = ReportTable(
    VERDICTS,
    (ANSWERS, ROLE_RUNS, RUNS_TABLE, METRIC_COMPARISON, SETTINGS),
    _made,
    reading=(
        "from {value_baseline:share} to {value:share}, {difference:points} ({conf_low:pts} to {conf_high:pts}), "
        "{verdict}",
        "from {value_baseline:share} to {value:share}, {difference:points}, {verdict}",
    ),
)

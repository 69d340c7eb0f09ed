"""The measures of a run's primary family, task by task: which they are, and their moves per template."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import COUNT_NAMES, Answers
from ...answers.expected import APART, expected_answers, read_as_letters
from ...answers.measures import ACC, SRS, UNANSWERED_RATE, USR, Measure
from ...answers.moves import Moved, moved
from ...answers.strata import Stratum, by_cluster, strata
from ...inference.sequential import order
from ...settings import Settings
from ..metric_changes.moves import MetricMoves
from .columns import ANSWERS_READ, BOTH_READ, EXPECTED_READ

__all__ = ["UNCORRECTED", "Member", "Side", "members", "metric_members"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNCORRECTED = UNANSWERED_RATE.name
"""The measure that can withhold a verdict but not make one: more missing answers are no change of behaviour yet."""
_N, _KEYED = COUNT_NAMES.index("n"), COUNT_NAMES.index("keyed")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One reading of a measure: of the answers given, or of those expected."""

    value_baseline: float
    value: float
    moved: Moved

    @property
    def difference(self) -> float:
        """The run's value minus the baseline's."""
        return self.value - self.value_baseline


@dataclass(frozen=True, kw_only=True)
class Member:
    """One row of the family."""

    keys: dict[str, str]
    """run, baseline, task, filter, condition."""
    measure: str
    n_items: int
    reading: str
    first: Side
    """What the row's numbers are of."""
    second: Side | None
    """The other reading: expected answers of a scored task, given answers of a sampled one."""
    binding: bool
    """Whether `second` must be equivalent too, and may be what changed: for scored tasks."""
    unit: str = "template"


def members(answers: Answers, runs: pd.DataFrame, settings: Settings) -> Iterator[Member]:
    """The families of all runs with a baseline, in the order of `runs`, then of tasks.

    A task with ambiguous items has srs and usr of these, and acc of the disambiguated ones; any other task has all
    three of all its items. Measures that no item offers an option for, or without a key, are left out. The unanswered
    texts of all conditions come last.
    """
    pooled = strata(answers, runs, pooled=True)
    for _, found in groupby(pooled, key=lambda stratum: (stratum.run, stratum.task, stratum.filter)):
        parts = list(found)
        for stratum, measure in _asked(parts):
            row = _member(answers, [stratum], measure, stratum.condition, settings)
            if row is not None:
                yield row
        row = _member(answers, parts, UNANSWERED_RATE, "all" if len(parts) > 1 else parts[0].condition, settings)
        if row is not None:
            yield row


def metric_members(moves: Iterable[MetricMoves], with_roles: Container[tuple[str, str]]) -> Iterator[Member]:
    """One row for each task without roles: of the metric that decides, or the first that is a share.

    Args:
        moves: Of all runs.
        with_roles: Runs and tasks that have rows of their own.
    """
    for found in moves:
        if (found.run, found.task) not in with_roles:
            keys = {name: str(getattr(found, name)) for name in ("run", "baseline", "task", "filter")}
            yield Member(
                keys={**keys, "condition": "none"},
                measure=found.metric,
                n_items=found.n_items,
                reading=ANSWERS_READ,
                first=Side(value_baseline=found.value_baseline, value=found.value, moved=found.moved),
                second=None,
                binding=False,
                unit=found.unit,
            )


def _asked(parts: list[Stratum]) -> Iterator[tuple[Stratum, Measure]]:
    conditions = {stratum.condition: stratum for stratum in parts}
    bias = [conditions["ambig"]] if "ambig" in conditions else parts
    # Right ambiguous answers are the neutral ones: accuracy there would be usr once more.
    able = [conditions["disambig"]] if "disambig" in conditions else [] if "ambig" in conditions else parts
    for measures, places in (((SRS, USR), bias), ((ACC,), able)):
        for stratum in places:
            for measure in measures:
                keyed = measure is not ACC or stratum.before[:, _KEYED].any()
                if keyed and measure.undefined(stratum.offered) is None:
                    yield stratum, measure


def _member(
    answers: Answers, parts: list[Stratum], measure: Measure, condition: str, settings: Settings
) -> Member | None:
    """One row from the strata of a task; None where the measure is not defined in one of the runs."""
    first = parts[0]
    item = np.concatenate([part.item for part in parts])
    before, after = (np.concatenate([getattr(part, side) for part in parts]) for side in ("before", "after"))
    given = _side(answers, item, before, after, measure, settings)
    if given is None:
        return None
    expected, binding = None, False
    if measure is not UNANSWERED_RATE:
        expected, binding = _expected(answers, first, item, before, after, measure, settings)
    reading = ANSWERS_READ if expected is None else BOTH_READ if binding else EXPECTED_READ
    return Member(
        keys={name: value for name, value in first.keys.items() if name != "category"} | {"condition": condition},
        measure=measure.name,
        n_items=len(item),
        reading=reading,
        first=given if expected is None or binding else expected,
        second=expected if expected is None or binding else given,
        binding=binding,
    )


def _expected(
    answers: Answers,
    stratum: Stratum,
    item: Ints,
    before: Floats,
    after: Floats,
    measure: Measure,
    settings: Settings,
) -> tuple[Side | None, bool]:
    """The reading of expected answers, and whether the answers given bind beside it."""
    sides = ((stratum.baseline, before), (stratum.run, after))
    found = [expected_answers(answers, label, item, counts) for label, counts in sides]
    if found[0] is None or found[1] is None:
        return None, False
    drawn = any(bool(answers.drawn(label)[item].any()) for label, _ in sides)
    if drawn:
        begun = [read_as_letters(answers, label, item, counts) for label, counts in sides]
        if any(abs(letters - read) > APART for letters, read in begun):
            return None, False
    return _side(answers, item, found[0], found[1], measure, settings), not drawn


def _side(
    answers: Answers, item: Ints, before: Floats, after: Floats, measure: Measure, settings: Settings
) -> Side | None:
    names = answers.items["cluster"].to_numpy()[item]
    cluster, labels = pd.factorize(names, sort=True)
    old, new = (by_cluster(side, cluster.astype(np.int64), len(labels)) for side in (before, after))
    unit = float(max(before[:, _N].max(initial=1.0), after[:, _N].max(initial=1.0)))
    if settings.sequential:
        place = order([str(name) for name in labels], settings.seed)
        old, new = old[place], new[place]
    found = moved(old, new, measure, reach=settings.reach, unit=unit)
    if found is None:
        return None
    values = [float(measure.value(side.sum(axis=0))) for side in (before, after)]
    # Defined with missing answers filled in alone: nothing was answered, and the bounds say so.
    old_value, new_value = (value if np.isfinite(value) else np.nan for value in values)
    return Side(value_baseline=old_value, value=new_value, moved=found)

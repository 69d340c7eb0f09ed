"""The plan of an evaluation: what a verdict needs, and what a budget can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from ..inference import power
from ..inference.bounded import Moves, interval
from ..inference.power import Aim, Design, Spread
from .past import Past

__all__ = ["CHANGED", "CHURN", "Line", "Plan", "Told", "make_plan", "usual"]

CHANGED = ("srs", "usr", "acc")
"""Measures of which one must be told from no change for CHANGED; the first there is is the one that truly changes."""
_SEEN = 300
"""Draws from which a smallest margin or change is taken."""
_CATEGORY = 25.0
"""Templates of a category of BBQ."""


def _parts(*sd: tuple[float, float, float], times: tuple[float, ...]) -> dict[str, Spread]:
    """Spreads from standard deviations, their variances times a factor each."""
    return {
        name: Spread(template=own[0] ** 2 * by, item=own[1] ** 2 * by, text=own[2] ** 2 * by)
        for name, own, by in zip((*CHANGED, "unanswered_rate"), sd, times, strict=True)
    }


_EIGHT_BITS = ((0.0101, 0.0273, 0.1668), (0.0149, 0.0213, 0.1732), (0.0151, 0.0105, 0.1722), (0.0, 0.0011, 0.0258))
"""Standard deviations of template, item and text: rtn-8 of docs/results, Religion, 25 templates, five texts an item."""
CHURN = {
    "mild": ("8 bits", _parts(*_EIGHT_BITS, times=(1.0, 1.0, 1.0, 1.0))),
    "moderate": ("6 bits", _parts(*_EIGHT_BITS, times=(1.8, 2.8, 1.2, 56.0))),
    "strong": ("Wanda at 30 %", _parts(*_EIGHT_BITS, times=(15.0, 30.0, 12.0, 21.0))),
}
"""How much answers move, from docs/results (SmolLM2-135M, BBQ Religion, answers drawn at temperature 0.3). The first is
measured in its parts; the others have its proportions, and the standard errors of that page's table."""


def usual(name: str, *, items: float, texts: int) -> Past:
    """What is taken where no earlier run is given."""
    run, rows = CHURN[name]
    source = f"our results with {run} ({name} churn)"
    return Past(
        source=source, rows=rows, items=items, texts=texts, sizes=(1.0,), per_category=_CATEGORY, scored=texts == 1
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A verdict and what it takes."""

    verdict: str
    items: float
    """Of a template."""
    texts: int
    templates: int | None
    """None if more than 2,000 are."""

    @property
    def answers(self) -> int | None:
        """Items of all templates, times texts."""
        return None if self.templates is None else round(self.templates * self.items) * self.texts


@dataclass(frozen=True, kw_only=True)
class Told:
    """What so many templates can tell."""

    templates: int
    same: float
    """Chance of SAME where nothing changes on the whole."""
    changed: float
    """Chance of CHANGED at the shift."""
    margin: float
    """Smallest margin at which SAME comes with the power asked for."""
    shift: float | None
    """Smallest true change at which CHANGED does; None where none up to the reach does."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for and what came out."""

    aim: Aim
    past: Past
    fewest: int
    """Templates below which nothing can be SAME."""
    lines: tuple[Line, ...]
    """What each verdict takes, first as asked for, then with other numbers of items and texts."""
    told: Told | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: fractions are not rounded."""
        rows = {name: asdict(parts) for name, parts in self.past.rows.items()}
        shown = ("source", "items", "texts", "per_category", "expected", "scored")
        past = {name: getattr(self.past, name) for name in shown}
        return {
            **asdict(self.aim),
            "past": {**past, "variances": rows},
            "fewest_templates": self.fewest,
            "needed": [{**asdict(line), "answers": line.answers} for line in self.lines],
            "told": None if self.told is None else asdict(self.told),
        }

    def sentences(self) -> Iterator[str]:
        """What it says, in words."""
        aim, past = self.aim, self.past
        shift, first = aim.shift or 0.0, next(iter(past.rows)).upper()
        yield (
            f"At a margin of {_points(aim.margin)} no fewer than {self.fewest} templates can show SAME with reach "
            f"{100 * aim.reach:g}, even if no answer changes."
        )
        for line in self.lines[:2]:
            case = "nothing changes on the whole" if line.verdict == "SAME" else f"{first} moves by {_points(shift)}"
            if line.templates is None:
                yield f"{line.verdict} is out of reach of 2,000 templates where {case}."
                continue
            kinds = ceil(line.templates / past.per_category - 1e-9)
            yield (
                f"{line.verdict} takes {line.templates} templates ({line.answers:,} answers a condition) where {case}, "
                f"in {aim.power:.0%} of evaluations; with {past.per_category:.0f} templates a category, "
                f"{kinds} categor{'y' if kinds == 1 else 'ies'}."
            )
        if self.told is not None:
            told = self.told
            yield (
                f"{told.templates} templates: SAME comes in {told.same:.0%} where nothing changes, CHANGED in "
                f"{told.changed:.0%} where {first} moves by {_points(shift)}."
            )
            seen = "none up to the reach" if told.shift is None else _points(told.shift)
            yield (
                f"In {aim.power:.0%} of evaluations they show SAME at a margin of {_points(told.margin)} or more. The "
                f"smallest change that they see as often: {seen}."
            )
        yield f"Answers are taken to move as in {past.source}."
        if past.scored:
            yield "A scored task is read twice, by answers and by chances: CHANGED is tested at half the level in each."
        if past.expected:
            yield "Chances took the place of answers there, so that more texts an item add next to nothing."


def make_plan(past: Past, aim: Aim, *, items: float, texts: int, templates: int | None = None, seed: int = 0) -> Plan:
    """Find what SAME and CHANGED need, and what so many templates can tell.

    Args:
        past: How answers move.
        aim: Margin, shift (of CHANGED), level, reach and power.
        items: Of a template.
        texts: Of an item.
        templates: How many there will be, if that is settled.
        seed: Of what is drawn.
    """
    changed = tuple(name for name in CHANGED if name in past.rows)
    same = replace(aim, shift=None)
    lines: list[Line] = []
    for n_items, n_texts in _designs(past.rows, items, texts):
        design = Design(templates=1, items=n_items, texts=n_texts, sizes=past.sizes)
        for verdict, what in (("SAME", same), ("CHANGED", aim)):
            # What stands beside may be a little less sure.
            found = power.needed(past.rows, design, what, changed=changed, seed=seed, draws=100 if lines[1:] else 300)
            lines.append(Line(verdict=verdict, items=n_items, texts=n_texts, templates=found))
    told = None
    if templates is not None:
        design = Design(templates=templates, items=items, texts=texts, sizes=past.sizes)
        told = Told(
            templates=templates,
            same=power.chance(past.rows, design, same, changed=changed, seed=seed),
            changed=power.chance(past.rows, design, aim, changed=changed, seed=seed),
            margin=_smallest_margin(past.rows, design, aim, seed),
            shift=_smallest_shift(past.rows, design, aim, changed, seed),
        )
    return Plan(
        aim=aim, past=past, fewest=power.fewest(aim.margin, aim.reach, aim.level), lines=tuple(lines), told=told
    )


def _designs(rows: Mapping[str, Spread], items: float, texts: int) -> Iterator[tuple[float, int]]:
    """Numbers of items and texts: those asked for, half and twice the items, and the other usual number of texts."""
    yield items, texts
    if items >= 2:
        yield items / 2, texts
    yield items * 2, texts
    if any(parts.text > 0 and parts.whole for parts in rows.values()):
        yield items, 1 if texts > 1 else 5


def _smallest_margin(rows: Mapping[str, Spread], design: Design, aim: Aim, seed: int) -> float:
    """The margin inside which the intervals of all rows lie, in a share `power` of draws without a change."""
    rng = np.random.default_rng([seed, 1])
    widest = np.zeros(_SEEN)
    for parts in rows.values():
        net, n = power.draw(parts, design, 0.0, aim.reach, rng, _SEEN)
        for at, row in enumerate(net):
            moves = Moves(net=row, n=n, unit=float(design.texts), reach=aim.reach)
            widest[at] = max(widest[at], *map(abs, interval(moves, moves, 2 * aim.level - 1)))
    return float(np.quantile(widest, aim.power))


def _smallest_shift(
    rows: Mapping[str, Spread], design: Design, aim: Aim, changed: tuple[str, ...], seed: int
) -> float | None:
    """The shift that is told from none in a share `power` of draws; the same draws serve every shift."""

    def found(shift: float) -> float:
        return power.chance(rows, design, replace(aim, shift=shift), changed=changed, seed=seed, draws=_SEEN)

    low, high = 0.0, aim.reach
    if found(high) < aim.power:
        return None
    while high - low > 0.002:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= aim.power else (middle, high)
    return high


def _points(share: float) -> str:
    """A share as percentage points."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point{'' if text == '1' else 's'}"

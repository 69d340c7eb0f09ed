"""How many templates a verdict needs: by simulating how templates move, and testing them as a verdict does.

A measure's change has three parts: a template's, an item's about its template, one text's about its item. Their
variances are estimated from paired answers by Henderson's first method (1953), the moments of a nested
analysis of variance with unequal numbers. From them come templates' moves: a template's own change is normal, its items
and texts then gain, lose or stay, each by 1, with the mean and the variance that are asked for. A normal formula would
not do: near no change most templates do not move at all, and `bounded` is then decided by `reach`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import bounded
from .bounded import Moves
from .multiplicity import holm

__all__ = ["Aim", "Design", "Spread", "chance", "draw", "fewest", "needed", "spread"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BATCH = 250
"""Draws of all templates made at once."""
_FIRST = 80
"""Draws at a first look at a number of templates."""
_AROUND = (0.85, 1.1, 0.93, 1.0, 1.05, 0.97, 1.0, 1.0)
"""Where to look, in parts of the number found so far."""
_BENT = (0.1, 0.98)
"""Where no chance tried lies between these there is a step between two numbers of templates."""
_NEAR = 1.5
"""Log-odds from the chance asked for within which one tried says where the line lies."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Variances of a measure's change, in squared units of the measure."""

    template: float
    """Of a template's own change."""
    item: float
    """Of an item's about its template's; with one text an item, of both together."""
    text: float = 0.0
    """Of one text's about its item's."""
    whole: bool = True
    """Whether an answer is an event or none; chances in place of answers move by any amount."""

    def of_template(self, items: float, texts: float) -> float:
        """Variance of a template's mean change over so many items and texts."""
        return self.template + self.item / items + self.text / (items * texts)


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is asked."""

    templates: int
    items: float
    """Of a template, on average; at least 1."""
    texts: int = 1
    """Of an item."""
    sizes: tuple[float, ...] = (1.0,)
    """Sizes that templates have, in any unit; those of more templates than there are sizes repeat them."""

    @property
    def items_of(self) -> Ints:
        """[templates] items of each, at least 1."""
        given = np.resize(np.asarray(self.sizes, dtype=np.float64), self.templates)
        even = np.round(given * (self.items * self.templates / given.sum()))
        return np.asarray(np.maximum(1, even), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is to be said, and how surely."""

    margin: float = 0.05
    shift: float | None = None
    """The true change of the first measure; None asks for SAME where nothing changes on the whole."""
    level: float = 0.95
    reach: float = bounded.REACH
    power: float = 0.8
    readings: int = 1
    """In how many ways a row is read: of a scored task two, of which either may be what changed, at half the level."""


def spread(change: Floats, item: Ints, cluster: Ints) -> Spread:
    """Estimate the parts of a change's variance from answers.

    Args:
        change: [answers] event after minus event before, or the change of a chance.
        item: [answers] number of each one's item; numbers of all templates together.
        cluster: [answers] number of each one's template.

    Returns:
        Parts, none below 0. With one text an item its part is in that of items; one template has no part of its own.

    Raises:
        ValueError: If there are no answers, or the lengths differ.
    """
    if not len(change) or not len(change) == len(item) == len(cluster):
        raise ValueError(f"expected arrays of one length, got {len(change)}, {len(item)} and {len(cluster)}")
    _, first, item = np.unique(item, return_index=True, return_inverse=True)
    outer, inner = np.unique(cluster[first], return_inverse=True)
    n_item = np.bincount(item).astype(float)
    n_template = np.bincount(inner, weights=n_item)
    total, n_items, n_templates = float(len(change)), len(first), len(outer)
    of_item = np.bincount(item, weights=change) / n_item
    of_template = np.bincount(inner, weights=of_item * n_item) / n_template
    mean = float(change.mean())
    squares = [
        float(np.square(change - of_item[item]).sum()),
        float((n_item * np.square(of_item - of_template[inner])).sum()),
        float((n_template * np.square(of_template - mean)).sum()),
    ]
    nested = float((np.bincount(inner, weights=n_item**2) / n_template).sum())
    text = squares[0] / (total - n_items) if total > n_items else 0.0
    weight = total - nested
    own = (squares[1] - (n_items - n_templates) * text) / weight if weight > 0 else 0.0
    between = total - float(np.square(n_template).sum()) / total
    rest = (n_templates - 1) * text + max(0.0, own) * (nested - float(np.square(n_item).sum()) / total)
    template = (squares[2] - rest) / between if between > 0 else 0.0
    return Spread(template=max(0.0, template), item=max(0.0, own), text=max(0.0, text))


def draw(
    parts: Spread, design: Design, shift: float, reach: float, rng: np.random.Generator, size: int
) -> tuple[Floats, Floats]:
    """Draw templates' moves.

    Returns:
        [size, templates] net change in answers, and [templates] answers.
    """
    items = design.items_of
    own = np.clip(rng.normal(shift, np.sqrt(parts.template), (size, design.templates)), -reach, reach)
    n = items.astype(float) * design.texts
    if not parts.whole:
        noise = np.sqrt(items * (design.texts**2 * parts.item + design.texts * parts.text))
        return np.clip(own * n + noise * rng.standard_normal(own.shape), -n, n), n
    if design.texts == 1:
        return _gained(own, parts.item + parts.text, items, rng), n
    at_texts = parts.text > parts.item
    net = _gained(own * (not at_texts), parts.item, items, rng) * design.texts
    if parts.text > 0 or at_texts:
        net = np.clip(net + _gained(own * at_texts, parts.text, items * design.texts, rng), -n, n)
    return net, n


def _gained(mean: Floats, variance: float, n: Ints, rng: np.random.Generator) -> Floats:
    """Gained minus lost of n that move by 1 or not at all, each with this mean and, where that can be, variance."""
    moving = np.clip(variance + mean**2, np.abs(mean), 1.0)
    up, down = (moving + mean) / 2, (moving - mean) / 2
    gained = rng.binomial(n, up)
    lost = rng.binomial(n - gained, np.clip(down / np.maximum(1 - up, 1e-300), 0.0, 1.0))
    return (gained - lost).astype(float)


def chance(
    rows: Mapping[str, Spread],
    design: Design,
    aim: Aim,
    *,
    changed: tuple[str, ...],
    seed: int = 0,
    part: int = 0,
    draws: int = 2000,
) -> float:
    """The chance that a run gets the verdict.

    SAME: every row within the margin, each at 1 - level. CHANGED: some row of `changed` told from no change after Holm,
    where the first of them truly changed by `shift`. Rows move independently, which for SAME is the worse case.

    Args:
        rows: Parts of each measure that the verdict rests on.
        design: What is asked.
        aim: What is to be said.
        changed: Names of the rows that count for CHANGED.
        seed: Of the draws.
        part: Other draws of the same seed.
        draws: How many.
    """
    rng = np.random.default_rng([seed, part, design.templates])
    test = _is_same if aim.shift is None else _is_changed
    said = tried = 0
    while tried < draws:
        size = min(_BATCH, draws - tried)
        moves = {}
        for name, parts in rows.items():
            shift = (aim.shift or 0.0) if name == changed[0] else 0.0
            net, n = draw(parts, design, shift, aim.reach, rng, size)
            moves[name] = [Moves(net=row, n=n, unit=float(design.texts), reach=aim.reach) for row in net]
        for at in range(size):
            said += test({name: found[at] for name, found in moves.items()}, aim, changed)
        tried += size
    return said / tried


def _is_same(moves: Mapping[str, Moves], aim: Aim, changed: tuple[str, ...]) -> bool:
    return all(bounded.within(row, row, aim.margin) <= 1 - aim.level + 1e-12 for row in moves.values())


def _is_changed(moves: Mapping[str, Moves], aim: Aim, changed: tuple[str, ...]) -> bool:
    p_values = [min(1.0, aim.readings * bounded.no_change(moves[name], moves[name])) for name in changed]
    told = holm(p_values) <= 1 - aim.level + 1e-12
    # What is equivalent is not changed, as in `equivalence.verdict`.
    return any(
        one and bounded.within(moves[name], moves[name], aim.margin) >= 1 - aim.level
        for name, one in zip(changed, told, strict=True)
    )


def fewest(margin: float, reach: float, level: float) -> int:
    """Templates below which nothing is SAME: the least G of (1 - margin / reach)^G <= alpha where nothing changed."""
    return bounded.fewest(margin, reach, 1 - level)


def needed(
    rows: Mapping[str, Spread],
    design: Design,
    aim: Aim,
    *,
    changed: tuple[str, ...],
    seed: int = 0,
    draws: int = 300,
    most: int = 2000,
) -> int | None:
    """The fewest templates with which the verdict comes with the power asked for; None if more than `most` are.

    Chances at some numbers of templates around the one sought, from `draws` each, are joined by a logistic line in
    their square root. With 300 it is at the power asked for within 2 points, but for steps of one template.
    """
    floor = fewest(aim.margin, aim.reach, aim.level) if aim.shift is None else 2
    tried: dict[int, tuple[int, int]] = {}

    def look(templates: int, size: int) -> float:
        said, before = tried.get(templates, (0, 0))
        given = replace(design, templates=templates)
        # Another look at the same number takes other draws.
        found = chance(rows, given, aim, changed=changed, seed=seed, part=before + 1, draws=size)
        tried[templates] = (said + round(found * size), before + size)
        return found

    if floor > most:
        return None
    guess = min(most, max(floor, _normal(rows, design, aim, changed)))
    if look(guess, _FIRST) >= aim.power:
        while guess > floor and look(max(floor, round(guess / 1.4)), _FIRST) >= aim.power:
            guess = max(floor, round(guess / 1.4))
    while tried[guess][0] < aim.power * tried[guess][1]:
        if guess >= most:
            return None
        guess = min(most, max(guess + 1, round(guess * 1.4)))
        look(guess, _FIRST)
    if guess == floor:
        # Below it the chance is 0, however high it is here: there is no line to follow.
        look(floor, draws)
        if tried[floor][0] >= aim.power * tried[floor][1]:
            return floor
    for factor in _AROUND:
        look(max(floor, min(most, round(guess * factor))), draws)
        guess = _solved(tried, aim.power, floor, most)
    below, above = _around(tried, aim.power, floor)
    while not any(_BENT[0] < said / of < _BENT[1] for said, of in tried.values()):
        # The chance leaps from next to none to next to all: no line, but a step.
        if above - below <= 1:
            return above
        look((below + above) // 2, _FIRST)
        below, above = _around(tried, aim.power, floor)
    return guess


def _around(tried: Mapping[int, tuple[int, int]], power: float, floor: int) -> tuple[int, int]:
    """The most templates that were too few, and the fewest above them that were enough."""
    enough = {templates: said >= power * of for templates, (said, of) in tried.items()}
    below = max((templates for templates, is_so in enough.items() if not is_so), default=floor - 1)
    return below, min((templates for templates, is_so in enough.items() if is_so and templates > below), default=below)


def _normal(rows: Mapping[str, Spread], design: Design, aim: Aim, changed: tuple[str, ...]) -> int:
    """Where to look first: by the normal formula, somewhat less than what is found."""
    asked = rows.values() if aim.shift is None else [rows[changed[0]]]
    apart = aim.margin if aim.shift is None else aim.shift
    widest = max(parts.of_template(design.items, design.texts) for parts in asked)
    return int(min(1e9, 6 * widest / apart**2))


def _solved(tried: Mapping[int, tuple[int, int]], power: float, floor: int, most: int) -> int:
    """The least number of templates at which the line through the chances tried is at `power`."""
    templates = np.array(sorted(tried))
    said, draws = np.array([tried[g] for g in templates], dtype=np.float64).T
    # Half a draw either way keeps chances of 0 and 1 on the scale, and a slope of 0 from dividing.
    y = np.log((said + 0.5) / (draws - said + 0.5))
    weight = 1 / (1 / (said + 0.5) + 1 / (draws - said + 0.5))
    aimed = float(np.log(power / (1 - power)))
    # What lies near counts: the line is straight there alone.
    weight = weight * np.exp(-np.square((y - aimed) / _NEAR))
    x = np.sqrt(templates)
    middle = float(weight @ x / weight.sum())
    bend = float(weight @ np.square(x - middle))
    slope = float(weight @ ((x - middle) * y) / bend) if bend > 0 else 0.0
    if slope <= 0:
        return int(templates[np.argmin(np.abs(y - aimed))])
    root = middle + (aimed - float(weight @ y / weight.sum())) / slope
    return int(np.clip(np.ceil(max(root, 0.0) ** 2 - 0.01), floor, most))

"""The order in which documents are asked: any beginning of it is a sample of the whole.

lm_eval's `--limit N` takes the first N documents. In the order of BBQ's files these are one or two templates.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from lm_eval_ext.contract.item import Doc

__all__ = ["balanced", "in_turn"]

Unit = tuple[Doc, ...]
"""An ambiguous item and its disambiguated partner, or one item where there is no partner."""
Traits = tuple[Hashable, ...]
Key = TypeVar("Key", bound=Hashable)


def balanced(docs: Sequence[Doc]) -> list[Doc]:
    """Order documents so that every beginning has about the shares of the whole.

    Items that differ in their condition alone stay together, the ambiguous one first. Such pairs are dealt out by
    category, and within it by template, each in turn by its share (`in_turn`); within a template the next pair is the
    one that most lessens what is off so far, in the template, the category and the whole: in polarity, the places of
    the option toward the stereotype (also given the polarity) and of the neutral one, and the disambiguated item's key,
    its place and its role. What is alike in all that comes in the order of a hash of the item's id.

    Args:
        docs: Documents of any number of categories; none twice.

    Returns:
        The same documents. Nothing but the documents decides their order, whatever order they come in. In a
        beginning of n pairs each category has less than one pair more or less than its share of n, and so has
        each template of what its category has in it.
    """
    units = _units(docs)
    by_category = _grouped(units, lambda unit: unit[0]["item"]["category"])
    whole = _Balance(units)
    turns = {name: _category(own, whole) for name, own in by_category.items()}
    names = list(by_category)
    order = (next(turns[names[which]]) for which in in_turn([len(by_category[name]) for name in names]))
    return [doc for unit in order for doc in unit]


def in_turn(sizes: Sequence[int]) -> Iterator[int]:
    """Deal out strata so that each has its share at every step (Tijdeman 1980, the chairman assignment problem).

    Args:
        sizes: How often each stratum is to come; all positive.

    Yields:
        The strata's indices. After n of them stratum s has come n * sizes[s] / sum(sizes) times, give or take less
        than 1: at most 1 - 1 / (2k - 2) for k strata, the smallest bound that always can be kept.
    """
    total, grain = sum(sizes), max(1, 2 * len(sizes) - 2)
    # A stratum's next turn may come from one step on, and must come before another.
    waiting = [(-(-total // (size * grain)), stratum, 0) for stratum, size in enumerate(sizes)]
    heapq.heapify(waiting)
    ready: list[tuple[float, int, int]] = []
    for step in range(1, total + 1):
        while waiting and waiting[0][0] <= step:
            _, stratum, taken = heapq.heappop(waiting)
            deadline = ((taken + 1) * grain - 1) * total / (sizes[stratum] * grain)
            heapq.heappush(ready, (deadline, stratum, taken))
        _, stratum, taken = heapq.heappop(ready)
        yield stratum
        if taken + 1 < sizes[stratum]:
            start = -(-((taken + 1) * grain + 1) * total // (sizes[stratum] * grain))
            heapq.heappush(waiting, (max(start, step + 1), stratum, taken + 1))


class _Balance:
    """How far the units taken so far are from the shares of a set of units, by each of the traits."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._shares = {key: count / len(units) for key, count in Counter(_keys(units)).items()}
        self._taken: Counter[Hashable] = Counter()
        self._n = 0

    def lacking(self) -> dict[Hashable, float]:
        """By trait and value, how many units there are too few after the next one, before it is chosen."""
        return {key: (self._n + 1) * share - self._taken[key] for key, share in self._shares.items()}

    def take(self, traits: Traits) -> None:
        self._n += 1
        self._taken.update(enumerate(traits))


def _keys(units: Sequence[Unit]) -> Iterator[Hashable]:
    return (key for unit in units for key in enumerate(_traits(unit)))


def _category(units: list[Unit], whole: _Balance) -> Iterator[Unit]:
    """The units of one category in their order; what other categories have given meanwhile is in `whole`."""
    by_template = list(_grouped(units, lambda unit: unit[0]["item"]["cluster"]).values())
    category, templates = _Balance(units), [_Balance(own) for own in by_template]
    left = [_grouped(reversed(own), _traits) for own in by_template]
    for which in in_turn([len(own) for own in by_template]):
        balances = (whole, category, templates[which])
        best = _most_lacking(left[which], balances)
        cell = left[which][best]
        unit = cell.pop()
        if not cell:
            del left[which][best]
        for balance in balances:
            balance.take(best)
        yield unit


def _most_lacking(cells: Iterable[Traits], balances: Sequence[_Balance]) -> Traits:
    """The combination of traits of which there are too few; the first of equals."""
    lacking: defaultdict[Hashable, float] = defaultdict(float)
    for balance in balances:
        for key, value in balance.lacking().items():
            lacking[key] += value
    return max(cells, key=lambda traits: sum(lacking[key] for key in enumerate(traits)))


def _units(docs: Sequence[Doc]) -> list[Unit]:
    """Pair items that differ in their condition alone; in the order of a hash, so that order carries no meaning."""
    kinds: defaultdict[Hashable, dict[str | None, list[Doc]]] = defaultdict(lambda: defaultdict(list))
    for doc in sorted(docs, key=_number):
        item = doc["item"]
        kinds[item["cluster"], item["polarity"], tuple(doc["options"])][item["condition"]].append(doc)
    units: list[Unit] = []
    for by_condition in kinds.values():
        sides = [by_condition[name] for name in sorted(by_condition, key=str)]
        paired = min(map(len, sides)) if len(sides) > 1 else 0
        units += zip(*(side[:paired] for side in sides), strict=True)
        units += [(doc,) for side in sides for doc in side[paired:]]
    return sorted(units, key=lambda unit: hashlib.sha256(unit[0]["item"]["item_id"].encode()).digest())


def _number(doc: Doc) -> tuple[int, str]:
    """BBQ numbers partners one after the other, so that the order of numbers brings the right ones together."""
    name = doc["item"]["item_id"]
    last = name.rpartition("/")[2]
    return (int(last) if last.isdecimal() else 0, name)


def _traits(unit: Unit) -> Traits:
    """What is balanced beside category, template and condition."""
    item, told = unit[0]["item"], unit[-1]["item"]
    axes = [item["scheme"]["axes"].get(role) for role in item["roles"]]
    toward, neutral = (axes.index(axis) if axis in axes else None for axis in ("toward", "neutral"))
    key = told["key"]
    role = None if key is None else told["roles"][key]
    return (item["polarity"], toward, (item["polarity"], toward), neutral, key, role)


def _grouped(units: Iterable[Unit], key: Callable[[Unit], Key]) -> dict[Key, list[Unit]]:
    groups: dict[Key, list[Unit]] = {}
    for unit in units:
        groups.setdefault(key(unit), []).append(unit)
    return groups

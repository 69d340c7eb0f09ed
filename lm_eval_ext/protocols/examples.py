"""Few-shot examples: from other templates of the item's category, in balance, the same for every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from string import ascii_uppercase
from typing import Any, TypeVar

from lm_eval_ext.errors import UserError

__all__ = ["OtherTemplates"]

Value = TypeVar("Value", int, str)
Cell = tuple[int, str, str, str]
"""Place and role of the right answer, polarity, template."""


@dataclass
class _Decks:
    """What the examples of a category are balanced over; names in a mapping keep their order."""

    options: int = 0
    directed: dict[str, None] = field(default_factory=dict)
    """Roles that lie on an axis, of a benchmark that has a direction."""
    roles: dict[str, None] = field(default_factory=dict)
    """Roles of right answers."""
    polarities: dict[str, None] = field(default_factory=dict)


class OtherTemplates:
    """Chooses examples for the items of a template; all of them are given the same ones.

    One set a template, so that templates stay independent of each other, an ambiguous item and its disambiguated
    partner are asked alike, and prompts share their beginning. Nothing but the items, the seed and the number of
    examples decides: neither the model, nor the task's protocol, nor which items are asked.
    """

    def __init__(self, docs: Sequence[Mapping[str, Any]], seed: int | None, purpose: str) -> None:
        """Sort the documents.

        Args:
            docs: Documents of whole categories, both conditions. One without a key, or with a role that lies on no axis
                of a benchmark that has a direction, is no example.
            seed: lm_eval's seed of few-shot examples; None is a seed like any other.
            purpose: What needs them, to start messages with.
        """
        self._seed, self._purpose = seed, purpose
        self._cells: dict[str, dict[Cell, list[Any]]] = {}
        self._clusters: dict[str, set[str]] = {}
        self._decks: dict[str, _Decks] = {}
        self._chosen: dict[tuple[str, str, int], list[Any]] = {}
        for doc in sorted(docs, key=lambda doc: str(doc["item"]["item_id"])):
            item = doc["item"]
            self._clusters.setdefault(item["category"], set()).add(item["cluster"])
            axes = item["scheme"]["axes"]
            placed = not axes or all(axes[role] is not None for role in item["roles"])
            if placed and item["key"] is not None:
                cell = (item["key"], item["roles"][item["key"]], item["polarity"] or "", item["cluster"])
                self._cells.setdefault(item["category"], {}).setdefault(cell, []).append(doc)
                deck = self._decks.setdefault(item["category"], _Decks())
                deck.options = max(deck.options, len(item["roles"]))
                deck.directed |= {role: None for role, axis in axes.items() if axis is not None}
                deck.roles |= {cell[1]: None}
                deck.polarities |= {cell[2]: None}

    def of(self, item: Mapping[str, Any], count: int) -> list[Any]:
        """Choose the examples of an item's prompt, in the order in which they are shown.

        Args:
            item: Record of the item that is asked.
            count: How many.

        Returns:
            Documents of the item's category and of other templates than its own, of as many templates as can be. The
            numbers of right answers at each letter differ by one at most; so do those of the roles of right
            answers and of the polarities, where the category's items allow it. The first
            example's letter goes round from template to template.

        Raises:
            UserError: If the category has no item with a key, no other template, or no item with the right answer at
                some letter.
        """
        key = (str(item["category"]), str(item["cluster"]), count)
        if key not in self._chosen:
            self._chosen[key] = self._choose(str(item["category"]), str(item["cluster"]), count)
        return self._chosen[key]

    def _choose(self, category: str, cluster: str, count: int) -> list[Any]:
        clusters = sorted(self._clusters.get(category, set()) | {cluster})
        if len(clusters) < 2:
            raise UserError(
                f"{self._purpose}: few-shot examples come from other templates of an item's category, and {category} "
                f"has only {cluster} here; run it without --num_fewshot"
            )
        known = self._decks.get(category)
        if known is None:
            raise UserError(
                f"{self._purpose}: no item of {category} has a right answer to show; run it without --num_fewshot"
            )
        random, turn = Random(f"{self._seed}/{cluster}"), clusters.index(cluster)
        places, answers = range(known.options), list(known.directed or sorted(known.roles))
        letters = _deck(places, count, turn, random)
        roles = _deck(answers, count, turn // len(places), random)
        polarities = _deck(sorted(known.polarities), count, turn // (len(places) * len(answers)), random)
        left = {cell: list(docs) for cell, docs in self._cells.get(category, {}).items() if cell[3] != cluster}
        chosen: list[Any] = []
        for letter, role, polarity in zip(letters, roles, polarities, strict=True):
            shown = {example["item"]["cluster"] for example in chosen}
            cells = _nearest([cell for cell, docs in left.items() if docs], letter, role, polarity, shown)
            if not cells:
                raise UserError(
                    f"{self._purpose}: too few items of {category} outside {cluster} have their right answer at "
                    f"{ascii_uppercase[letter]} to show {count} examples; run it with fewer, or without --num_fewshot"
                )
            docs = left[random.choice(cells)]
            chosen.append(docs.pop(random.randrange(len(docs))))
        return chosen


def _nearest(cells: Sequence[Cell], letter: int, role: str, polarity: str, shown: set[str]) -> list[Cell]:
    """Those of the cells with the right answer at this letter that miss the least of the rest.

    The right answer's role comes before a template that is not shown yet, and that before the polarity.
    """
    missed = {
        cell: (cell[1] != role, cell[3] in shown, cell[2] != polarity) for cell in sorted(cells) if cell[0] == letter
    }
    least = min(missed.values(), default=None)
    return [cell for cell, what in missed.items() if what == least]


def _deck(values: Sequence[Value], count: int, first: int, random: Random) -> list[Value]:
    """`count` values in blocks that hold each once, in random order; the first one is given by its number."""
    out: list[Value] = []
    while len(out) < count:
        block = list(values)
        random.shuffle(block)
        if not out:
            start = block.index(values[first % len(values)])
            block = block[start:] + block[:start]
        out += block
    return out[:count]

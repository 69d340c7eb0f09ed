"""Few-shot examples: from other templates of the item's category, in balance, the same for every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from lm_eval_ext.errors import UserError

__all__ = ["OtherTemplates"]

_LETTERS = (0, 1, 2)
_ROLES = ("stereotype", "anti_stereotype", "unknown")
_POLARITIES = ("neg", "nonneg")

Value = TypeVar("Value", int, str)


class OtherTemplates:
    """Chooses examples for the items of a template; all of them are given the same ones.

    One set a template, so that templates stay independent of each other, an ambiguous item and its disambiguated
    partner are asked alike, and prompts share their beginning. Nothing but the items, the seed and the number of
    examples decides: neither the model, nor the task's protocol, nor which items are asked.
    """

    def __init__(self, docs: Sequence[Mapping[str, Any]], seed: int | None, purpose: str) -> None:
        """Sort the documents.

        Args:
            docs: Documents of whole categories, both conditions. One whose stereotype is undetermined is no example.
            seed: lm_eval's seed of few-shot examples; None is a seed like any other.
            purpose: What needs them, to start messages with.
        """
        self._seed, self._purpose = seed, purpose
        self._docs: dict[str, list[Mapping[str, Any]]] = {}
        self._chosen: dict[tuple[str, int], list[Any]] = {}
        for doc in sorted(docs, key=lambda doc: str(doc["item"]["item_id"])):
            self._docs.setdefault(doc["item"]["category"], []).append(doc)

    def of(self, item: Mapping[str, Any], count: int) -> list[Any]:
        """Choose the examples of an item's prompt, in the order in which they are shown.

        Args:
            item: Record of the item that is asked.
            count: How many.

        Returns:
            Documents of the item's category and of other templates than its own, of as many templates as can be. The
            numbers of right answers at A, B and C differ by one at most; so do those of the stereotype, the
            anti-stereotype and unknown, and of the polarities, where the category's items allow it. The first
            example's letter goes round from template to template.

        Raises:
            UserError: If the category has no other template, or no item with the right answer at some letter.
        """
        key = (str(item["cluster"]), count)
        if key not in self._chosen:
            self._chosen[key] = self._choose(str(item["category"]), str(item["cluster"]), count)
        return self._chosen[key]

    def _choose(self, category: str, cluster: str, count: int) -> list[Any]:
        docs = self._docs.get(category, [])
        clusters = sorted({doc["item"]["cluster"] for doc in docs} | {cluster})
        if len(clusters) < 2:
            raise UserError(
                f"{self._purpose}: few-shot examples come from other templates of an item's category, and {category} "
                f"has only {cluster} here; run it without --num_fewshot"
            )
        random, turn = Random(f"{self._seed}/{cluster}"), clusters.index(cluster)
        letters = _deck(_LETTERS, count, turn, random)
        roles = _deck(_ROLES, count, turn // len(_LETTERS), random)
        polarities = _deck(_POLARITIES, count, turn // (len(_LETTERS) * len(_ROLES)), random)
        usable = [doc for doc in docs if doc["item"]["cluster"] != cluster and _determined(doc["item"])]
        chosen: list[Any] = []
        for letter, role, polarity in zip(letters, roles, polarities, strict=True):
            found = _nearest(usable, chosen, letter, role, polarity)
            if not found:
                raise UserError(
                    f"{self._purpose}: too few items of {category} outside {cluster} have their right answer at "
                    f"{'ABC'[letter]} to show {count} examples; run it with fewer, or without --num_fewshot"
                )
            template = random.choice(sorted({doc["item"]["cluster"] for doc in found}))
            chosen.append(random.choice([doc for doc in found if doc["item"]["cluster"] == template]))
        return chosen


def _determined(item: Mapping[str, Any]) -> bool:
    return "undetermined" not in item["roles"]


def _nearest(
    docs: Sequence[Mapping[str, Any]], chosen: Sequence[Any], letter: int, role: str, polarity: str
) -> list[Mapping[str, Any]]:
    """Documents not chosen yet with the right answer at this letter that miss the least of the rest.

    The right answer's role comes before a template that is not among the chosen, and that before the polarity.
    """
    shown = {example["item"]["cluster"] for example in chosen}
    taken = {example["item"]["item_id"] for example in chosen}
    best: tuple[bool, bool, bool] | None = None
    found: list[Mapping[str, Any]] = []
    for doc in docs:
        item = doc["item"]
        if item["correct"] != letter or item["item_id"] in taken:
            continue
        missed = (item["roles"][letter] != role, item["cluster"] in shown, item["polarity"] != polarity)
        if best is None or missed < best:
            best, found = missed, []
        if missed == best:
            found.append(doc)
    return found


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

"""What a module of this folder makes of a document, and what it is asked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...schema.schemes import Scheme
from ..values import LogError, integer, text

__all__ = ["StockItem", "StockTask", "entries", "number_of", "one_of", "words_of"]


@dataclass(frozen=True, kw_only=True)
class StockItem:
    """One document of a task of lm_eval's own, in the terms of the item record."""

    benchmark: str
    category: str
    name: str
    """Unique within the category."""
    template: str
    """Unique within the category; the name again where items have none."""
    scheme: Scheme
    roles: tuple[str, ...]
    """Of each option that lm_eval scores, in its order."""
    groups: tuple[tuple[str, ...], ...] = ()
    """The people that each option names; nothing if none of them does."""
    stereotyped_groups: tuple[str, ...] = ()
    condition: str | None = None
    polarity: str | None = None
    keys: frozenset[int] = frozenset()
    """The right options, of which there are several where 'unknown' has several wordings; empty without a key."""
    context: str | None = None
    question: str | None = None
    options: tuple[str, ...] = ()
    """Their texts; empty where they are read from what was scored."""

    @property
    def record(self) -> dict[str, Any]:
        """The item record; its key is left out, since it holds one only."""
        return {
            "version": 2,
            "item_id": f"{self.benchmark}/{self.category}/{self.name}",
            "benchmark": self.benchmark,
            "category": self.category,
            "condition": self.condition,
            "polarity": self.polarity,
            "cluster": f"{self.category}/{self.template}",
            "roles": list(self.roles),
            "scheme": {"name": self.scheme.name, "axes": dict(self.scheme.axes)},
            "groups": [list(people) for people in self.groups] or None,
            "key": None,
            "stereotyped_groups": list(self.stereotyped_groups),
        }


class StockTask(ABC):
    """The reader of one file of a task."""

    tasks: ClassVar[re.Pattern[str]]
    """Names of the tasks that it reads."""
    ties_are_choices: ClassVar[bool] = True
    """Whether the first of options with equal scores counts as chosen, as in lm_eval."""
    learns_from: ClassVar[bytes | None] = None
    """What a line must hold to tell something of other lines' items; None if no line does."""

    def __init__(self, task: str) -> None:
        """A reader for one file of the task of this name."""
        self.task = task

    def learn(self, doc: Mapping[str, Any]) -> None:
        """Take in a document before any is asked for: nothing, in most tasks. Raises LogError as `item`."""
        return

    @abstractmethod
    def item(self, doc: Mapping[str, Any]) -> StockItem:
        """What a document is.

        Raises:
            LogError: If it does not have the benchmark's published fields.
        """

    def chosen(self, doc: Mapping[str, Any], answer: str) -> int | None:
        """The option that a generated text names; None if it names none, as where nothing is generated."""
        return None


def words_of(record: Mapping[str, Any], name: str) -> str:
    """A field that holds text. Raises LogError, as all of these do."""
    value = record.get(name)
    if not isinstance(value, str):
        raise LogError(f"doc.{name}: expected a text, got {value!r}"[:120])
    return text(value) or ""


def one_of(record: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """A field that holds one of some texts."""
    value = words_of(record, name)
    if value not in allowed:
        raise LogError(f"doc.{name}: expected {' or '.join(allowed)}, got {value!r}"[:120])
    return value


def number_of(record: Mapping[str, Any], name: str, below: int) -> int:
    """A field that holds a whole number from 0 on."""
    value = integer(record.get(name))
    if value is None or not 0 <= value < below:
        raise LogError(f"doc.{name}: expected 0 to {below - 1}, got {value}")
    return value


def entries(record: Mapping[str, Any], name: str) -> list[str]:
    """A field that holds a list of texts."""
    value = record.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise LogError(f"doc.{name}: expected a list of texts, got {value!r}"[:120])
    return [text(entry) or "" for entry in value]

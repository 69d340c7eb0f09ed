"""The item record that every sample of our tasks carries, and the documents that lm_eval asks."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Doc", "ItemRecord"]


class ItemRecord(TypedDict):
    """What is asked, stable across runs: pairs of runs are joined by `item_id`."""

    item_id: str
    """"bbq/Age/12": benchmark, category, and the row's number within the category."""
    benchmark: str
    category: str
    condition: str
    polarity: str
    cluster: str
    """The template, "Age/1": the unit of independence."""
    roles: list[str]
    """One role an option, in option order."""
    groups: list[list[str]]
    """The groups that each option names; empty for the option that means unknown."""
    correct: int
    subcategory: str
    stereotyped_groups: list[str]


class Doc(TypedDict):
    """One question, as lm_eval's document."""

    item: ItemRecord
    context: str
    question: str
    options: list[str]
    label: int

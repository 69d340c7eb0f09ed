"""The item record that every sample of our tasks carries, and the documents that lm_eval asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from lm_eval_ext.contract.scheme import Scheme, SchemeRecord
from lm_eval_ext.contract.version import CONTRACT_VERSION
from lm_eval_ext.errors import UserError

__all__ = ["MOST_OPTIONS", "Doc", "ItemRecord", "document"]

MOST_OPTIONS = 26
"""As many as there are letters."""


class ItemRecord(TypedDict):
    """What is asked, stable across runs: pairs of runs are joined by `item_id`."""

    version: int
    """Of the contract (`CONTRACT_VERSION`)."""
    item_id: str
    """"bbq/Age/12": benchmark, category, and what the item is called within the category."""
    benchmark: str
    category: str
    condition: str | None
    """"ambig" or "disambig" where the benchmark tells them apart."""
    polarity: str | None
    """Which way the question is put, where the benchmark tells."""
    cluster: str
    """The template, "Age/1": the unit of independence."""
    roles: list[str]
    """One role an option, in option order."""
    scheme: SchemeRecord
    """Which axis each role of the benchmark lies on."""
    groups: list[list[str]]
    """The people that each option names; empty for an option that names none."""
    key: int | None
    """Index of the right option; None where the benchmark has none."""
    subcategory: str
    stereotyped_groups: list[str]
    """The people whom the item's stereotype is about."""


class Doc(TypedDict):
    """One question, as lm_eval's document."""

    item: ItemRecord
    context: str
    question: str
    options: list[str]
    key: int | None
    """As the item's: lm_eval's target."""


def document(
    *,
    scheme: Scheme,
    benchmark: str,
    category: str,
    name: str | int,
    cluster: str,
    options: Sequence[str],
    roles: Sequence[str],
    key: int | None = None,
    context: str = "",
    question: str = "",
    condition: str | None = None,
    polarity: str | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    subcategory: str = "",
    stereotyped_groups: Sequence[str] = (),
) -> Doc:
    """Build an item's document, checked: every data set's items are made here.

    Args:
        scheme: The benchmark's.
        benchmark: First part of the item's id.
        category: Second part of it.
        name: Last part of it, unique within the category.
        cluster: The template. Items of one template are not independent of each other.
        options: 2 to 26 texts.
        roles: One an option.
        key: Index of the right option; None where there is none.
        context: What is told before the question.
        question: What is asked.
        condition: "ambig" or "disambig", if the benchmark tells them apart.
        polarity: Which way the question is put, if the benchmark tells.
        groups: The people that each option names, one list an option; None if no option names anybody.
        subcategory: A finer category, if there is one.
        stereotyped_groups: The people whom the item's stereotype is about.

    Returns:
        The document.

    Raises:
        UserError: If the parts don't fit each other, or the scheme does not place a role. The message names the item.
    """
    item_id = f"{benchmark}/{category}/{name}"
    count = len(options)
    if not 2 <= count <= MOST_OPTIONS:
        raise UserError(f"{item_id}: expected 2 to {MOST_OPTIONS} options, got {count}")
    named = [[] for _ in options] if groups is None else [list(people) for people in groups]
    if len(roles) != count or len(named) != count:
        raise UserError(f"{item_id}: {count} options need as many roles and groups, got {len(roles)} and {len(named)}")
    if key is not None and (type(key) is not int or not 0 <= key < count):
        raise UserError(f"{item_id}: expected a key from 0 to {count - 1} or None, got {key!r}")
    if not cluster:
        raise UserError(f"{item_id}: the template is missing; an item without one is its own, {category}/{name}")
    scheme.check(roles, item_id)
    item = ItemRecord(
        version=CONTRACT_VERSION,
        item_id=item_id,
        benchmark=benchmark,
        category=category,
        condition=condition,
        polarity=polarity,
        cluster=cluster,
        roles=list(roles),
        scheme=scheme.to_record(),
        groups=named,
        key=key,
        subcategory=subcategory,
        stereotyped_groups=list(stereotyped_groups),
    )
    return Doc(item=item, context=context, question=question, options=list(options), key=key)

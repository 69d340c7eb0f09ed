"""The documents' order: any beginning of it has about the shares of the whole, by counting."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest

from lm_eval_ext.contract.item import Doc
from lm_eval_ext.datasets.bbq.items import bbq_docs
from lm_eval_ext.datasets.bbq.rows import CATEGORIES
from lm_eval_ext.datasets.bbq.source import bbq_rows
from lm_eval_ext.datasets.source import Source
from lm_eval_ext.protocols.order import balanced, in_turn
from tests.helpers.shared import shared_data

Item = dict[str, Any]
SINGLE = [name for name in CATEGORIES if not name.startswith("Race_x")]


def place(role: str) -> Callable[[Item], object]:
    return lambda item: item["roles"].index(role) if role in item["roles"] else None


TRAITS: dict[str, Callable[[Item], object]] = {
    "polarity": lambda item: item["polarity"],
    "place of the stereotype": place("stereotype"),
    "place of the stereotype by polarity": lambda item: (item["polarity"], place("stereotype")(item)),
    "place of unknown": place("unknown"),
    "place of the key": lambda item: item["key"],
    "role of the key": lambda item: item["roles"][item["key"]],
}


def off(docs: Sequence[Doc], of: Callable[[Item], object], first: int | None = None) -> float:
    """The most that a count in a beginning (of up to `first`) differs from that beginning's share of all, in items."""
    items: list[Item] = [dict(doc["item"]) for doc in docs]
    total, seen, worst = Counter(map(of, items)), Counter[object](), 0.0
    for n, item in enumerate(items[:first], 1):
        seen[of(item)] += 1
        worst = max(worst, *(abs(seen[value] - n * count / len(items)) for value, count in total.items()))
    return worst


def real(category: str | None = None, condition: str | None = None) -> list[Doc]:
    source = Source(kind="dir", folder=shared_data("bbq"))
    return bbq_docs(bbq_rows(source, None if category is None else [category]), "bbq", condition)


def demo(condition: str | None = None) -> list[Doc]:
    return bbq_docs(bbq_rows(Source(kind="demo")), "bbq_demo", condition)


@pytest.mark.parametrize(
    "sizes", [[1], [7], [1, 1], [5, 3], [40] * 22 + [80, 120, 120], [1, 1, 100], [3, 1, 4, 1, 5, 9]]
)
def test_strata_in_turn_are_within_one_of_their_share(sizes: list[int]) -> None:
    order, total, seen = list(in_turn(sizes)), sum(sizes), Counter[int]()
    assert Counter(order) == dict(enumerate(sizes))
    bound = 1 - Fraction(1, 2 * len(sizes) - 2) if len(sizes) > 1 else 0
    for n, stratum in enumerate(order, 1):
        seen[stratum] += 1
        for other, size in enumerate(sizes):
            assert abs(seen[other] - Fraction(n * size, total)) <= bound


def test_strata_in_turn_for_any_sizes() -> None:
    pick = random.Random(3)
    for _ in range(60):
        sizes = [pick.choice((1, 2, pick.randint(1, 60))) for _ in range(pick.randint(2, 12))]
        seen = Counter[int]()
        for n, stratum in enumerate(in_turn(sizes), 1):
            seen[stratum] += 1
            assert all(abs(seen[s] - n * size / sum(sizes)) < 1 for s, size in enumerate(sizes))
        assert seen == dict(enumerate(sizes))


@pytest.mark.parametrize("category", SINGLE)
def test_every_beginning_of_a_category(category: str) -> None:
    docs = real(category)
    found = balanced(docs)
    assert sorted(doc["item"]["item_id"] for doc in found) == sorted(doc["item"]["item_id"] for doc in docs)
    assert all(doc in docs for doc in found[:5])
    assert off(found, lambda item: item["condition"]) == 0.5  # ambiguous and disambiguated in turn
    assert off(found, lambda item: item["cluster"]) <= 2  # less than a pair
    for name, of in TRAITS.items():
        assert off(found, of, 120) <= 4, name
        assert off(found, of) <= 9, name
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first["item"]["condition"], second["item"]["condition"]) == ("ambig", "disambig")
        same = ("cluster", "polarity", "roles", "groups")
        assert [first["item"][name] for name in same] == [second["item"][name] for name in same]  # type: ignore[literal-required]
        assert (first["options"], first["question"]) == (second["options"], second["question"])
        assert second["context"].startswith(first["context"].strip()[:20])


@pytest.mark.parametrize("condition", ["ambig", "disambig"])
def test_every_beginning_of_one_condition(condition: str) -> None:
    found = balanced(real("Religion", condition))
    assert off(found, lambda item: item["cluster"]) < 1
    for name, of in TRAITS.items():
        assert off(found, of) <= 5, name


def test_every_beginning_of_several_categories() -> None:
    names = ("Religion", "Sexual_orientation", "Age", "Nationality", "Physical_appearance")
    docs = [doc for name in names for doc in real(name)]
    found = balanced(docs)
    assert off(found, lambda item: item["category"]) <= 2
    for name, of in TRAITS.items():
        assert off(found, of, 40) <= 3, name
        assert off(found, of) <= 12, name
        for category in names:
            own = [doc for doc in found if doc["item"]["category"] == category]
            assert off(own, of) <= 9, (name, category)


def test_sixty_of_religion_are_all_its_templates() -> None:
    docs = real("Religion")
    assert len({doc["item"]["cluster"] for doc in docs[:60]}) == 2  # in the files' order
    first = balanced(docs)[:60]
    assert len({doc["item"]["cluster"] for doc in first}) == 25
    assert Counter(doc["item"]["condition"] for doc in first) == {"ambig": 30, "disambig": 30}


def test_the_packaged_items() -> None:
    found = balanced(demo())
    assert len(found) == 200
    assert off(found, lambda item: item["category"]) <= 2
    assert off(found, lambda item: item["cluster"]) <= 2
    assert Counter(doc["item"]["category"] for doc in found[:10]) == dict.fromkeys(
        ("Age", "Disability_status", "Gender_identity", "Religion", "SES"), 2
    )
    for name, of in TRAITS.items():
        assert off(found, of) <= 7, name


def test_the_order_is_that_of_the_items_and_not_of_their_files() -> None:
    docs = demo()
    shuffled = random.Random(1).sample(docs, len(docs))
    assert balanced(shuffled) == balanced(docs) == balanced(balanced(docs))


def test_a_third_condition_is_kept_with_its_partners() -> None:
    docs: list[Any] = [dict(doc) for doc in demo("ambig")[:9]]
    third = [
        doc | {"item": doc["item"] | {"condition": "told", "item_id": f"{doc['item']['item_id']}9"}} for doc in docs
    ]
    second = [
        doc | {"item": doc["item"] | {"condition": "hinted", "item_id": f"{doc['item']['item_id']}8"}} for doc in docs
    ]
    found = balanced([*third, *docs, *second[:8]])
    assert sorted(map(str, found)) == sorted(map(str, [*third, *docs, *second[:8]]))
    conditions = [doc["item"]["condition"] for doc in found]
    assert sum(conditions[at : at + 3] == ["ambig", "hinted", "told"] for at in range(len(found))) == 8


def test_items_without_a_partner_and_of_one_cell() -> None:
    docs = demo()
    lonely = [doc for doc in docs if doc["item"]["condition"] == "ambig" or doc["item"]["item_id"].endswith("1")]
    assert sorted(map(str, balanced(lonely))) == sorted(map(str, lonely))
    assert balanced(docs[:1]) == docs[:1]
    assert balanced([]) == []

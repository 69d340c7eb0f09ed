"""One column name, one meaning, in everything that a report writes."""

from __future__ import annotations

from collections import defaultdict

import pytest

from analysis.logs import ISSUES
from analysis.report.headline import HEADLINE
from analysis.schema.columns import Column, Table, count, ends, flag, number, text
from analysis.schema.documents import DOCUMENTS
from analysis.schema.items import ITEMS
from analysis.tables.catalogue import CATALOGUE
from analysis.tables.item_changes.columns import ITEM_CHANGES
from analysis.tables.perplexity import PERPLEXITIES

TABLES = [*(entry.holds for entry in CATALOGUE if entry.holds is not ITEM_CHANGES), HEADLINE, PERPLEXITIES]
LISTS = [ITEMS, DOCUMENTS, ITEM_CHANGES, ISSUES]

SEVERAL = {
    "category": "An item has one; a row of a table may be about all of them.",
    "condition": "Missing in an item without one; 'none' in tables, which group by it.",
    "kind": "Of a group in group_changes; of a fault in the issues.",
    "level": "Confidence level in tables; how serious a fault is in the issues.",
    "margin": "Between an item's two likeliest options; in tables of change the setting of this name.",
    "metric": "Of an answer, what says whether it is right; in tables any that is compared.",
    "seed": "Of a sampled answer; in tables of tests the setting of this name.",
    "status": "Of an answer; in tables whether the row holds a result.",
}
"""Names that mean two things: one in lists of answers or issues, and one in the tables."""


def _meanings(tables: list[Table]) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for table in tables:
        for column in table.columns:
            found[column.name].add((column.kind, column.doc))
    return found


def test_a_name_means_the_same_in_every_table() -> None:
    several = {name for name, meanings in _meanings(TABLES).items() if len(meanings) > 1}
    assert not several, "take the column of analysis/schema/shared.py, with here() for what is particular to the table"


def test_names_that_items_and_issues_use_otherwise_are_known_and_no_others() -> None:
    several = {name for name, meanings in _meanings([*TABLES, *LISTS]).items() if len(meanings) > 1}
    assert several == set(SEVERAL)


def test_a_table_has_a_name_once() -> None:
    for table in [*TABLES, *LISTS]:
        assert len(set(table.names)) == len(table.names), table.name


def test_the_upper_end_of_an_interval_stands_behind_the_lower_one() -> None:
    for table in [*TABLES, *LISTS]:
        for name in table.names:
            if name.endswith("_low"):
                assert table.names[table.names.index(name) + 1] == name.removesuffix("_low") + "_high", table.name


def test_a_column_keeps_its_meaning_where_a_table_adds_to_it() -> None:
    shared = number("rate", "Share of those counted; in [0, 1].")
    here = shared.here("n_events / n.")
    assert (here.name, here.kind, here.doc, here.nullable) == (shared.name, shared.kind, shared.doc, True)
    assert here.description == "Share of those counted; in [0, 1]. n_events / n."
    assert shared.description == shared.doc
    assert text("run", "Label.").here("Missing for a mean.", nullable=True).nullable


@pytest.mark.parametrize(
    ("column", "kind", "nullable"),
    [
        (text("a", ""), "string", False),
        (count("a", ""), "integer", False),
        (flag("a", "", nullable=True), "boolean", True),
        (number("a", ""), "float", True),
        *((end, "float", True) for end in ends("a")),
    ],
)
def test_every_maker_makes_its_kind(column: Column, kind: str, nullable: bool) -> None:
    assert (column.kind, column.nullable) == (kind, nullable)

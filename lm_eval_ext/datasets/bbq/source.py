"""Where BBQ's rows come from: the hub, a local copy of BBQ's files, or the packaged demonstration items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval_ext.datasets.bbq.rows import CATEGORIES, BbqRow, parse_row
from lm_eval_ext.datasets.source import Place, Source, read_rows
from lm_eval_ext.errors import UserError

__all__ = ["PLACE", "bbq_rows", "choose_source"]

PLACE = Place(
    name="bbq",
    title="BBQ's items",
    files="BBQ's files",
    hub="Elfsong/BBQ",
    packaged=Path(__file__).parent / "data" / "demo.jsonl",
    packaged_task="bbq_itemlevel_demo",
)


def choose_source(metadata: Mapping[str, Any]) -> Source:
    """Say where the rows come from, by `bbq_source` and `bbq_dir` of the metadata (see `Place.choose`)."""
    return PLACE.choose(metadata)


def bbq_rows(source: Source, categories: Sequence[str] | None = None) -> list[BbqRow]:
    """Read whole categories, in the order asked, each in the order of its file.

    Args:
        source: Where from.
        categories: Names as in BBQ's files. None means all eleven; of the demonstration items, all they have.

    Returns:
        The rows.

    Raises:
        UserError: If the source or a category of it cannot be had, or a row is malformed or appears twice.
    """
    if source.kind == "demo":
        rows = _packaged(categories)
    else:
        found = PLACE.rows(source, categories or CATEGORIES, lambda name: {"split": name.lower()})
        rows = [_of_category(parse_row(raw, where), category, where) for category, where, raw in found]
    _refuse_duplicates(rows)
    return rows


def _packaged(categories: Sequence[str] | None) -> list[BbqRow]:
    path = PLACE.packaged
    assert path is not None
    if not path.exists():
        raise UserError(f"the packaged demonstration items are missing ({path}): install us again.")
    rows = [parse_row(raw, where) for where, raw in read_rows(path)]
    present = dict.fromkeys(row.category for row in rows)
    missing = [c for c in categories or () if c not in present]
    if missing:
        raise UserError(
            f"the demonstration items have no {', '.join(missing)}, only {', '.join(present)}. {PLACE.hint}"
        )
    return [row for category in categories or present for row in rows if row.category == category]


def _of_category(row: BbqRow, category: str, where: str) -> BbqRow:
    if row.category != category:
        raise UserError(f"{where}: the row's category is {row.category!r}, expected {category!r}.")
    return row


def _refuse_duplicates(rows: Sequence[BbqRow]) -> None:
    seen: set[tuple[str, int]] = set()
    twice: list[str] = []
    for row in rows:
        key = (row.category, row.example_id)
        if key in seen:
            twice.append(f"{row.category}/{row.example_id}")
        seen.add(key)
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise UserError(
            f"{len(twice)} rows repeat another row's category and example_id: {', '.join(twice[:5])}{more}. "
            "Both together are an item's identity, so each pair may occur once."
        )

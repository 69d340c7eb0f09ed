"""What the list of paired answers holds."""

from __future__ import annotations

from ...schema.columns import Column, Table
from ...schema.items import ITEMS
from ...schema.shared import BASELINE, RUN

__all__ = ["DIRECTIONS", "ITEM", "ITEM_CHANGES", "SIDES", "TEXT_LENGTH"]

TEXT_LENGTH = 200
"""Characters of a generated text that the list holds; items.parquet has it whole."""

DIRECTIONS = {
    "toward": "another option, now on the axis toward the stereotype",
    "away": "another option, before toward the stereotype",
    "sideways": "another option, both or neither toward the stereotype",
    "right_to_wrong": "no direction told; right at baseline, wrong in the run",
    "wrong_to_right": "no direction told; wrong at baseline, right in the run",
    "other": "no direction told; another answer, as right as before, or without a key",
    "lost": "answered at baseline alone",
    "gained": "answered in the run alone",
    "unanswered": "answered in neither, unparsed in one and unscored in the other",
    "same": "nothing changed",
}
"""What can become of an answer."""

ITEM = (
    "task",
    "filter",
    "item_id",
    "seed",
    "category",
    "condition",
    "polarity",
    "cluster",
    "stereotyped_groups",
)
"""Columns of ITEMS that say what was asked: the same in both runs."""

SIDES = ("status", "choice", "role", "axis", "correct", "p_choice", "entropy", "margin", "text")
"""Columns of ITEMS that are given for both runs."""

_OF_ITEMS = {column.name: column for column in ITEMS.columns}
_PEOPLE = "Groups that the chosen option names, joined by ' | '; missing where it names none, or nothing was chosen."
_TEXT = f"Text of a generated answer, its first {TEXT_LENGTH} characters; '…' at the end says that it goes on."


def _both(name: str, kind: str, doc: str) -> tuple[Column, Column]:
    """A column of the baseline and one of the run; what was not answered has no value."""
    return (
        Column(name=f"{name}_baseline", kind=kind, nullable=True, doc=f"The baseline's: {doc}"),
        Column(name=name, kind=kind, nullable=True, doc=f"The run's: {doc}"),
    )


def _of_items(name: str) -> tuple[Column, Column]:
    column = _OF_ITEMS[name]
    return _both(name, column.kind, _TEXT if name == "text" else column.doc)


ITEM_CHANGES = Table(
    name="item_changes",
    doc="One row per answer that a run and its baseline both gave, paired by item and seed: all in Parquet, in CSV "
    "the changed ones.",
    columns=(
        RUN,
        BASELINE,
        *(_OF_ITEMS[name] for name in ITEM),
        Column(
            name="changed",
            kind="boolean",
            nullable=True,
            doc="Whether the answer is another: status, option (or text, where the log names no option) or correctness "
            "differ; missing where the log names neither option nor text and both are equally right.",
        ),
        Column(
            name="direction",
            kind="string",
            nullable=True,
            doc="; ".join(f"{name} ({doc})" for name, doc in DIRECTIONS.items()) + "; missing where `changed` is. A "
            "direction is told where the item's roles tell it (`determined` in items.parquet).",
        ),
        *(column for name in ("choice", "role", "axis") for column in _of_items(name)),
        *_both("people", "string", _PEOPLE),
        *(
            column
            for name in ("p_choice", "correct", "status", "entropy", "margin", "text")
            for column in _of_items(name)
        ),
        _OF_ITEMS["doc_hash"],
    ),
)

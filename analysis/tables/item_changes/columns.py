"""What the list of paired answers holds."""

from __future__ import annotations

from dataclasses import replace

from ...schema.columns import Column, Table, flag, text
from ...schema.items import ITEMS
from ...schema.shared import AXIS_BASELINE, BASELINE, ROLE_BASELINE, RUN

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
_PEOPLE = text(
    "people",
    "Groups that the chosen option names, joined by ' | '; missing where it names none, or nothing was chosen.",
    nullable=True,
)
_TEXT = f"Its first {TEXT_LENGTH} characters; '…' at the end says that it goes on."
_BASELINES = {"role": ROLE_BASELINE, "axis": AXIS_BASELINE}


def _both(column: Column, note: str = "") -> tuple[Column, Column]:
    """A column of the baseline and one of the run; what was not answered has no value."""
    name = f"{column.name}_baseline"
    baseline = _BASELINES.get(column.name) or replace(column, name=name, doc=f"{column.name} of the baseline's answer.")
    return baseline.here(note, nullable=True), column.here(f"Of the run's answer. {note}".strip(), nullable=True)


def _of_items(name: str) -> tuple[Column, Column]:
    return _both(_OF_ITEMS[name], _TEXT if name == "text" else "")


ITEM_CHANGES = Table(
    name="item_changes",
    doc="One row per answer that a run and its baseline both gave, paired by item and seed: all in Parquet, in CSV "
    "the changed ones.",
    columns=(
        RUN,
        BASELINE,
        *(_OF_ITEMS[name] for name in ITEM),
        flag(
            "changed",
            "Whether the answer is another: status, option (or text, where the log names no option) or correctness "
            "differ; missing where the log names neither option nor text and both are equally right.",
            nullable=True,
        ),
        text(
            "direction",
            "; ".join(f"{name} ({doc})" for name, doc in DIRECTIONS.items()) + "; missing where `changed` is. A "
            "direction is told where the item's roles tell it (`determined` in items.parquet).",
            nullable=True,
        ),
        *(column for name in ("choice", "role", "axis") for column in _of_items(name)),
        *_both(_PEOPLE),
        *(
            column
            for name in ("p_choice", "correct", "status", "entropy", "margin", "text")
            for column in _of_items(name)
        ),
        _OF_ITEMS["doc_hash"],
    ),
)

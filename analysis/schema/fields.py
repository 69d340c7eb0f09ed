"""Where a column of items or documents comes from: what both readers of logs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .columns import Column

__all__ = ["Coding", "Per", "SourceField", "field"]

Per = Literal["file", "document", "line", "answer"]
"""What a value is the same for: a samples file of a run; a document and what is sent for it, which many runs share; a
line of the file; or one answer of a line, of which a sampled one has several."""

Coding = Literal["value", "groups", "options"]
"""How the log's value becomes the column's: as it is; a list of people as one string; a list of such lists."""


@dataclass(frozen=True, kw_only=True)
class SourceField:
    """One column and where its value lies in a sample line.

    A place is the keys from the top of the line, joined by dots. One that starts with `$` is the reader's own:
    `$options` (what item and scheme say of the options), `$probability` (of each axis, of each option, and of the
    choice) and `$answer` (an answer that was checked against the item) are made in logs/options.py, the others in
    logs/samples.py.
    """

    column: Column
    per: Per
    ours: str
    """Place in a line of our tasks, and of lm_eval's own that have a module in logs/stock."""
    plain: str | None
    """Place in a line of any other task; None if these have no such thing."""
    coding: Coding = "value"

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column.name

    @property
    def computed(self) -> bool:
        """Whether the reader makes the value, rather than taking it from the line."""
        return self.ours.startswith("$")


def field(
    name: str,
    kind: str,
    per: Per,
    ours: str,
    plain: str | None,
    doc: str,
    *,
    nullable: bool = False,
    coding: Coding = "value",
) -> SourceField:
    """A field and its column, in one line of a list."""
    column = Column(name=name, kind=kind, doc=doc, nullable=nullable)
    return SourceField(column=column, per=per, ours=ours, plain=plain, coding=coding)

"""What was asked, to read beside the rows: each document once, found by its hash."""

from __future__ import annotations

from .columns import Table
from .fields import SourceField, field

__all__ = ["DOCUMENTS", "DOCUMENT_FIELDS"]

DOCUMENT_FIELDS: tuple[SourceField, ...] = (
    field("doc_hash", "string", "document", "doc_hash", "doc_hash", "lm-eval's hash of the document."),
    field(
        "context", "string", "document", "doc.context", "doc.context",
        "What is told before the question; missing where the document has no text of this name.",
        nullable=True,
    ),
    field("question", "string", "document", "doc.question", "doc.question", "Likewise, what is asked.", nullable=True),
    field(
        "options", "list", "document", "doc.options", "doc.options",
        "The options in the order of `choice`; missing where the document has no list of texts of this name.",
        nullable=True,
    ),
    field(
        "document", "string", "document", "", "doc",
        "The whole document as JSON; missing where the columns before tell what was asked: for tasks with items.",
        nullable=True,
    ),
)  # fmt: skip

DOCUMENTS = Table(
    name="documents",
    doc="One row per document of the tasks that have rows of items, whatever the number of runs that answered it; "
    "`doc_hash` joins it to items.parquet.",
    columns=tuple(entry.column for entry in DOCUMENT_FIELDS),
)

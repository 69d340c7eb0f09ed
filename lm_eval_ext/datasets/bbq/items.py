"""BBQ's rows as the documents that lm_eval asks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from lm_eval_ext.contract.item import Doc, document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.bbq.roles import derive_roles, option_groups
from lm_eval_ext.datasets.bbq.rows import BbqRow
from lm_eval_ext.errors import UserError

__all__ = ["BBQ_SCHEME", "bbq_docs"]

log = logging.getLogger(__name__)

BBQ_SCHEME = Scheme(
    "bbq", {"stereotype": "toward", "anti_stereotype": "against", "unknown": "neutral", "undetermined": None}
)
"""An item has one role of each of the first three; where its stereotype can't be told, both people are undetermined."""


def bbq_docs(rows: Sequence[BbqRow], benchmark: str, condition: str | None = None) -> list[Doc]:
    """Turn rows of whole categories into documents.

    Args:
        rows: Rows of whole categories, both conditions: roles can depend on other rows of the template.
        benchmark: First part of the item ids, "bbq" or "bbq_demo".
        condition: "ambig" or "disambig" to keep only these; None keeps both.

    Returns:
        The documents, in the rows' order. Items whose stereotype cannot be told are kept, with "undetermined"
        as the role of both people; how many there are is logged as a warning, by category.

    Raises:
        UserError: If no row has the condition.
    """
    docs = [
        _doc(row, roles, benchmark)
        for row, roles in zip(rows, derive_roles(rows), strict=True)
        if condition is None or row.condition == condition
    ]
    if not docs:
        raise UserError(f"none of the {len(rows)} rows read has the condition {condition!r}.")
    _warn_undetermined(docs)
    return docs


def _doc(row: BbqRow, roles: tuple[str, str, str], benchmark: str) -> Doc:
    return document(
        scheme=BBQ_SCHEME,
        benchmark=benchmark,
        category=row.category,
        name=row.example_id,
        cluster=row.cluster,
        options=row.options,
        roles=roles,
        key=row.label,
        context=row.context,
        question=row.question,
        condition=row.condition,
        polarity=row.polarity,
        groups=option_groups(row),
        subcategory=row.subcategory,
        stereotyped_groups=row.stereotyped_groups,
    )


def _warn_undetermined(docs: Sequence[Doc]) -> None:
    total = Counter(doc["item"]["category"] for doc in docs)
    unclear = Counter(doc["item"]["category"] for doc in docs if "undetermined" in doc["item"]["roles"])
    for category, count in sorted(unclear.items()):
        log.warning(
            "%s: the stereotype of %d of %d items cannot be told from their groups; their people have the "
            "role 'undetermined' and count in no bias measure.",
            category,
            count,
            total[category],
        )

"""BBQ's rows as the documents that lm_eval asks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lm_eval_ext.contract.item import Doc, ItemRecord
from lm_eval_ext.datasets.bbq.roles import derive_roles, option_groups
from lm_eval_ext.datasets.bbq.rows import BbqRow
from lm_eval_ext.errors import UserError

__all__ = ["bbq_docs", "bbq_features"]

log = logging.getLogger(__name__)


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


def bbq_features() -> Any:
    """Column types of the documents, so that lists that are empty in every row keep their type."""
    from datasets import Features, Value

    text, texts = Value("string"), [Value("string")]
    texts_of_item = ("item_id", "benchmark", "category", "condition", "polarity", "cluster")
    item: dict[str, Any] = dict.fromkeys(texts_of_item, text)
    item |= {"roles": texts, "groups": [texts], "correct": Value("int64")}
    item |= {"subcategory": text, "stereotyped_groups": texts}
    return Features({"item": item, "context": text, "question": text, "options": texts, "label": Value("int64")})


def _doc(row: BbqRow, roles: tuple[str, str, str], benchmark: str) -> Doc:
    item = ItemRecord(
        item_id=f"{benchmark}/{row.category}/{row.example_id}",
        benchmark=benchmark,
        category=row.category,
        condition=row.condition,
        polarity=row.polarity,
        cluster=row.cluster,
        roles=list(roles),
        groups=[list(groups) for groups in option_groups(row)],
        correct=row.label,
        subcategory=row.subcategory,
        stereotyped_groups=list(row.stereotyped_groups),
    )
    return Doc(item=item, context=row.context, question=row.question, options=list(row.options), label=row.label)


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

"""Documents as the table that lm_eval takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lm_eval_ext.contract.item import Doc
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.errors import UserError

__all__ = ["documents_table", "features_of"]


def documents_table(docs: Sequence[Doc], scheme: Scheme) -> Any:
    """Build the table.

    Args:
        docs: Documents of one data set, in the order in which they are to be asked.
        scheme: The data set's.

    Returns:
        A `datasets.Dataset`. Column types are declared, so that what is empty or missing in every row keeps its type.

    Raises:
        UserError: If there are no documents, or two have the same item id.
    """
    from datasets import Dataset  # slow to import

    if not docs:
        raise UserError(f"{scheme.name}: there are no items")
    twice = [name for name, count in Counter(doc["item"]["item_id"] for doc in docs).items() if count > 1]
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise UserError(f"{scheme.name}: item ids that occur more than once: {', '.join(twice[:5])}{more}")
    return Dataset.from_list([dict(doc) for doc in docs], features=features_of(scheme))


def features_of(scheme: Scheme) -> Any:
    """The column types of a data set's documents."""
    from datasets import Features, Value

    text, number = Value("string"), Value("int64")
    texts = [text]
    item: dict[str, Any] = {"version": number}
    item |= dict.fromkeys(("item_id", "benchmark", "category", "condition", "polarity", "cluster"), text)
    item |= {"roles": texts, "scheme": {"name": text, "axes": dict.fromkeys(scheme.axes, text)}}
    item |= {"groups": [texts], "key": number, "subcategory": text, "stereotyped_groups": texts}
    return Features({"item": item, "context": text, "question": text, "options": texts, "key": number})

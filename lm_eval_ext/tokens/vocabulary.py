"""Whether a tokenizer's ids have rows in a model's embedding."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["refuse_foreign_ids", "refuse_foreign_tokenizer"]

log = logging.getLogger(__name__)


def refuse_foreign_tokenizer(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that belongs to another model: its ids would read beyond the embedding.

    Args:
        model: The transformers model; one without an embedding that says its size is let pass.
        tokenizer: Its tokenizer; one that does not list its vocabulary is let pass.

    Raises:
        UserError: If an ordinary token has no row. Added tokens without one (a padding token that no text holds) are
            warned of.
    """
    rows = _rows(model)
    vocabulary = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    beyond = {index: token for token, index in vocabulary.items() if rows is not None and index >= rows}
    if not beyond:
        return
    ordinary = beyond.keys() - set(getattr(tokenizer, "added_tokens_decoder", {}))
    if ordinary:
        raise UserError(
            f"the tokenizer has ids up to {max(vocabulary.values())}, the model's embedding {rows} rows: "
            f"{len(ordinary)} tokens ({beyond[min(ordinary)]!r} ...) have none. It belongs to another model; "
            "give tokenizer=NAME"
        )
    log.warning(
        "the embedding has %d rows and none for %d added tokens (%s); a text that holds one will fail",
        rows,
        len(beyond),
        ", ".join(beyond.values()),
    )


def refuse_foreign_ids(model: Any, tokenizer: Any, ids: Iterable[int], where: str) -> None:
    """Raise UserError, naming the token and `where` it stands, if one of these ids has no row in the embedding."""
    rows = _rows(model)
    largest = max(ids, default=0)
    if rows is not None and largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"{where} holds id {largest} ({token!r}), but the model's embedding has {rows} rows; "
            "give the model's own tokenizer (tokenizer=NAME)"
        )


def _rows(model: Any) -> int | None:
    """Rows of the input embedding, or None where it can't be told."""
    try:
        weight = model.get_input_embeddings().weight
    except (AttributeError, NotImplementedError):
        return None
    return int(weight.shape[0]) if weight.ndim == 2 else None

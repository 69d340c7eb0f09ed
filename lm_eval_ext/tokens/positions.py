"""How many tokens a model takes: from its config, under whichever name, and from its table of positions.

This module needs neither torch nor transformers.
"""

from __future__ import annotations

from typing import Any

__all__ = ["config_positions", "model_positions", "position_table"]

# transformers' own names first (attribute maps lead most others to the first), then those of models that come with
# their own code. Not among them: windows, chunks and buckets, which limit what a token sees and not how many there are.
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "max_context_length",
    "context_length",
    "seq_length",
    "seq_len",
    "model_max_length",
    "max_encoder_position_embeddings",
    "max_target_positions",
)
# Tables of learned positions whose names don't hold the word; and how many rows such a table may keep to itself.
_TABLES = ("wpe", "positions_embed")
_MOST_KEPT = 8
# A decoder's text part, where the config of several parts doesn't say by itself which one that is.
_PARTS = ("text_config", "llm_config", "language_config", "decoder")


def config_positions(config: Any) -> int | None:
    """Tokens that a model is made for, by its config.

    Args:
        config: A transformers config; the text part of a composite one is looked at first. Tokens of an encoder's
            input where the decoder takes another number.

    Returns:
        At least 1; None where no number is named, or one below 1, as for models that carry a state and those that have
        relative positions alone.
    """
    for part in _parts(config):
        for name in _NAMES:
            value = getattr(part, name, None)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
                return int(value)
    return None


def _parts(config: Any) -> list[Any]:
    try:
        text = config.get_text_config(decoder=True)
    except (AttributeError, ValueError):  # older configs, and those with several text parts
        text = next((part for name in _PARTS if (part := getattr(config, name, None)) is not None), config)
    return [text] if text is config else [text, config]


def model_positions(model: Any) -> int | None:
    """Tokens that a loaded model takes.

    Returns:
        Its config's number, or what its table of learned positions holds where that is less (RoBERTa's begins behind
        its padding index, so two of the rows that the config counts are not for tokens); None for no limit.
    """
    limit = config_positions(model.config)
    table = position_table(model)
    return limit if table is None or limit is None else min(limit, table)


def position_table(model: Any) -> int | None:
    """Tokens for which a model holds a table of positions, one row each; a longer text ends in an IndexError.

    Returns:
        The rows less those that it keeps to itself (`offset`, as OPT's and BART's; RoBERTa's padding index). None where
        positions are computed, and where a table's size has nothing to do with the config's number (an image's).
    """
    limit = config_positions(model.config)
    if limit is None:
        return None
    sizes = [
        int(table.num_embeddings) - _kept(parent, table)
        for parent in model.modules()
        for name, table in parent.named_children()
        if hasattr(table, "num_embeddings") and (name in _TABLES or "position" in name)
    ]
    return min((size for size in sizes if abs(size - limit) <= _MOST_KEPT), default=None)


def _kept(parent: Any, table: Any) -> int:
    """Rows of a table before that of the first token."""
    if hasattr(parent, "create_position_ids_from_input_ids") and table.padding_idx is not None:
        return int(table.padding_idx) + 1
    return int(getattr(table, "offset", 0))

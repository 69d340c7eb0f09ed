"""Whether requests fit a model, and have the tokens that their documents state."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance

from lm_eval_ext.errors import UserError

__all__ = ["counts_hold", "must_fit"]

log = logging.getLogger(__name__)


def counts_hold(requests: Sequence[Instance], rows: Sequence[tuple[Any, list[int], list[int]]]) -> None:
    """See that the token counts which a document states, and its scores are divided by, are those of its requests."""
    scored: dict[tuple[Any, Any], tuple[list[int], dict[int, int]]] = {}
    for request, (_, _, tokens) in zip(requests, rows, strict=True):
        stated = (request.doc or {}).get("option_tokens")
        if stated:
            key = (request.task_name, request.doc_id)
            scored.setdefault(key, (list(stated), {}))[1][request.idx] = len(tokens)
    for (task, _), (stated, found) in scored.items():
        space = found.get(len(stated), 0)  # the prompt's white space, where it is scored by itself
        counted = [found[option] - space for option in sorted(found) if option < len(stated)]
        if counted != stated:
            raise UserError(
                f"{task}: the options have {counted} tokens of this model's tokenizer and {stated} of the task's; "
                "leave `tokenizer` out of --metadata, or name the model's own"
            )


def must_fit(requests: Sequence[Instance], lengths: Sequence[int], limit: int) -> None:
    """Refuse requests of our tasks that exceed a length; count those of other tasks in one warning."""
    over = [(tokens, request) for tokens, request in zip(lengths, requests, strict=True) if tokens > limit]
    ours = [(tokens, str(request.task_name)) for tokens, request in over if "item" in (request.doc or {})]
    if ours:
        longest, _ = max(ours)
        raise UserError(
            f"{', '.join(sorted({name for _, name in ours}))}: {len(ours)} of {len(requests)} requests don't fit the "
            f"model. The longest needs {longest} tokens, max_length={limit}. Pass a larger max_length if the model "
            "takes it, or use a model that does"
        )
    if over:
        log.warning(
            "%d of %d requests are longer than max_length=%d (up to %d tokens) and are cut from the left",
            len(over),
            len(requests),
            limit,
            max(tokens for tokens, _ in over),
        )

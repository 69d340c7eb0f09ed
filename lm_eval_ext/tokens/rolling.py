"""Windows over a document, for its log-likelihood: each of its tokens is scored once."""

from __future__ import annotations

from collections.abc import Sequence

from lm_eval_ext.errors import UserError

__all__ = ["rolling_windows"]


def rolling_windows(
    prefix: Sequence[int], tokens: Sequence[int], max_length: int, *, each: bool = False
) -> list[tuple[list[int], list[int]]]:
    """Cut a document as lm_eval does, whatever the number of tokens that stand before it.

    Args:
        prefix: What the document's first token is conditioned on; not scored.
        tokens: The document's tokens.
        max_length: Most tokens that go into the model at once.
        each: Whether every window begins with the prefix, rather than the first alone.

    Returns:
        Pairs of context and scored tokens, which don't overlap. The first window has the prefix and as many tokens as
        fit behind it. Each further one scores as many tokens as fit, the first of them behind the one token before it
        (and `each` time the prefix before that); the last is filled up with tokens before those that are left. None
        for a document without tokens.

    Raises:
        UserError: If the prefix, or with `each` the prefix and a token, is longer than `max_length`.
    """
    again = len(prefix) if each else 0
    if max(len(prefix), again + 1) > max_length:
        raise UserError(f"max_length={max_length} has no room for the {len(prefix)} tokens before a document")
    seen = [*prefix, *tokens]
    windows = []
    start, room = 0, max_length - len(prefix) + 1
    while start < len(tokens):
        end = min(start + room, len(tokens))
        last = len(prefix) + end - 1  # the last token scored is not among the inputs
        inputs = [*seen[:again], *seen[max(again, last - max_length + again) : last]]
        scored = list(tokens[start:end])
        windows.append((inputs[: len(inputs) - len(scored) + 1], scored))
        start, room = end, max_length - again
    return windows

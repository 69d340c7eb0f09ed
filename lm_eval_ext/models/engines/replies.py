"""The two ways in which completions carry log-probabilities: OpenAI's old dicts, and the lists of its chats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.engines.listed import Listed, Step

__all__ = ["echoed", "steps_of"]

_ID = "token_id:"


def steps_of(answer: Mapping[str, Any], *, by_id: bool, where: str) -> list[Step]:
    """The generated tokens and what was listed at each.

    Args:
        answer: Of `/v1/completions`.
        by_id: Whether the lists hold the tokens that were asked for, and no others that matter.
        where: The server, for messages.

    Returns:
        One step a token; none where the answer has no log-probabilities.

    Raises:
        UserError: If a list is not one of the two kinds.
    """
    logprobs = _logprobs(answer)
    if logprobs is None:
        return []
    if isinstance(logprobs.get("content"), list):
        return [_chat_step(entry, where) for entry in logprobs["content"]]
    lists, tokens = logprobs.get("top_logprobs"), logprobs.get("tokens")
    if not isinstance(lists, list) or not isinstance(tokens, list) or len(lists) != len(tokens):
        return []
    return [_step(str(token), entries, by_id, where) for token, entries in zip(tokens, lists, strict=True)]


def echoed(answer: Mapping[str, Any]) -> list[tuple[float | None, bool]] | None:
    """Of each token of prompt and text: its log-probability (None for the first), and whether it is the likeliest.

    Returns:
        None where the answer does not have them.
    """
    logprobs = _logprobs(answer)
    values = None if logprobs is None else logprobs.get("token_logprobs")
    if logprobs is None or not isinstance(values, list) or not values:
        return None
    tops = logprobs.get("top_logprobs")
    lists = tops if isinstance(tops, list) and len(tops) == len(values) else [None] * len(values)
    if not all(value is None or (isinstance(value, int | float) and not math.isnan(value)) for value in values):
        return None
    return [
        (value, value is not None and isinstance(top, Mapping) and value >= max(top.values(), default=math.inf))
        for value, top in zip(values, lists, strict=True)
    ]


def _logprobs(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    found = first.get("logprobs") if isinstance(first, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _step(token: str, entries: Any, by_id: bool, where: str) -> Step:
    if not isinstance(entries, Mapping):
        raise UserError(f"the server at {where} lists next tokens as {seen(entries)}, expected texts and numbers")
    values = {str(name): _value(value, where) for name, value in entries.items()}
    if token.startswith(_ID):
        ids = {int(name.removeprefix(_ID)): value for name, value in values.items()}
        return Step(int(token.removeprefix(_ID)), "", Listed(ids, chosen=by_id))
    return Step(None, token, Listed(texts=values))


def _chat_step(entry: Any, where: str) -> Step:
    tops = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
    if not isinstance(tops, list) or not all(isinstance(one, Mapping) for one in tops):
        raise UserError(f"the server at {where} lists next tokens as {seen(entry)}, expected top_logprobs")
    numbered = all(isinstance(one.get("id"), int) for one in tops)
    ids = {int(one["id"]): _value(one.get("logprob"), where) for one in tops} if numbered else {}
    texts: dict[str, float] = {}
    for one in () if numbered else tops:
        name = str(one.get("token"))
        if name in texts:
            name = f"{name}\0{len(texts)}"  # another token of the same text: it keeps its probability, not its name
        texts[name] = _value(one.get("logprob"), where)
    token = entry.get("id")
    return Step(token if isinstance(token, int) else None, str(entry.get("token", "")), Listed(ids, texts))


def _value(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or math.isnan(value) or value > 0.01:
        raise UserError(f"the server at {where} gives a token the log-probability {seen(value)}, expected 0 or less")
    return min(0.0, float(value))

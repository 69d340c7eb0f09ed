"""Servers that lm_eval's own clients score nothing with: found before the first item, not after the last."""

from __future__ import annotations

import math
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["refuse_unscoring"]

# Classes of lm_eval by their full names: asking by name imports none of their libraries.
_GGUF = "lm_eval.models.gguf.GGUFLM"
_COMPLETIONS = "lm_eval.models.openai_completions.LocalCompletionsAPI"
_CONTEXT, _CONTINUATION = "The key was in the drawer. Who kept it?", " The man did"


def refuse_unscoring(task: str, model: Any) -> None:
    """Refuse a server that does not give a prompt's own log-probabilities, which these clients read scores from.

    Without them lm_eval's `gguf` ends in a traceback, and `local-completions` logs 0.0 for every letter.

    Args:
        task: The task's name.
        model: Of lm_eval; any other than these two clients passes.

    Raises:
        UserError: If a short text is scored as nothing, as certain, or not at all.
    """
    classes = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
    if _GGUF in classes:
        found = _of_gguf(model)
    elif _COMPLETIONS in classes and getattr(model, "tokenizer", None) is not None:
        found = _of_completions(model)
    else:
        return
    if found is not None:
        address = getattr(model, "base_url", None) or "ADDRESS"
        raise UserError(
            f"task {task}: the server at {address} scores no prompts for {type(model).__name__} ({found}). Use "
            f"--model served_itemlevel --model_args base_url={address},tokenizer=NAME, which reads lists of next tokens"
        )


def _of_gguf(model: Any) -> str | None:
    try:
        answer = model.gguf_completion(context=_CONTEXT, continuation=_CONTINUATION)
        logprobs = answer["choices"][0].get("logprobs") or {}
    except Exception as fault:  # it fails in many ways; to the user they are one
        return _first_line(fault)
    if not isinstance(logprobs, dict) or not logprobs.get("token_logprobs"):
        return "its answer has no token_logprobs"
    return _judged([value for value in logprobs["token_logprobs"][1:-1] if value is not None])


def _of_completions(model: Any) -> str | None:
    try:
        before, whole = (list(model.tok_encode(text)) for text in (_CONTEXT, _CONTEXT + _CONTINUATION))
        answer = model.model_call([whole], generate=False)
        (value, _), *_ = model.parse_logprobs(outputs=answer, tokens=[whole], ctxlens=[len(before)])
    except (KeyError, TypeError, IndexError, AttributeError, AssertionError, ValueError) as fault:
        return "its answer has no token_logprobs" if "token_logprobs" in str(fault) else _first_line(fault)
    except Exception:  # no connection and the like: the run itself says that, after its retries
        return None
    return _judged([value])


def _judged(values: list[Any]) -> str | None:
    if not values or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return "its log-probabilities are no numbers"
    if min(values) >= 0:
        return "every token is certain: a log-probability of 0"
    return None


def _first_line(fault: BaseException) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:120] or type(fault).__name__

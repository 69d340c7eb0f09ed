"""Which model a task is going to ask: lm_eval gives a task the chat template and no model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["asking_model", "tokenizer_of"]


def asking_model(chat_template: Callable[..., str] | None = None) -> Any:
    """Find the model that lm_eval builds requests for.

    Args:
        chat_template: What lm_eval gave to `build_all_requests`: a method of the model, or None without a template.

    Returns:
        The model, without lm_eval's response cache around it; None outside of an evaluation. Where the template does
        not tell, lm_eval's `evaluate` does, which calls the task: it holds the model as its argument `lm`.
    """
    model = getattr(chat_template, "__self__", None)
    frame = None if model is not None else sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "evaluate" and frame.f_globals.get("__name__") == "lm_eval.evaluator":
            model = frame.f_locals.get("lm")
            break
        frame = frame.f_back
    # CachingLM forwards what it does not know, so that its class must be asked and not its attributes.
    return vars(model).get("lm", model) if type(model).__name__ == "CachingLM" else model


def tokenizer_of(model: Any) -> Any:
    """A model's transformers tokenizer; None if it has none or can't load it (lm_eval's dummy asks the hub for one)."""
    try:
        return getattr(model, "tokenizer", None)
    except Exception:  # loading fails in many ways; to the caller they are one
        return None

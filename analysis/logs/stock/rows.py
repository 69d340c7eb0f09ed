"""A line of a task of lm_eval's own as if it were one of ours."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...schema.schemes import AXES
from ..answers import plain_answer
from ..options import Options, options_of
from .item import StockItem, StockTask

__all__ = ["stock_line"]


def stock_line(line: Mapping[str, Any], task: StockTask, output_type: str) -> tuple[Options, dict[str, Any]]:
    """What takes the place of parts of a line, so that the fields of our tasks find their values.

    The choice is that of the scores, or what lm_eval reads in the generated text. Right is whichever option means the
    keyed one: every wording of 'unknown' where that is the key.

    Args:
        line: The line.
        task: The reader of its task.
        output_type: lm_eval's, of the task.

    Returns:
        The item's options, and `doc`, `answer`, `$options`, `$probability` and `$answer`.

    Raises:
        LogError: If the document or the answer is not as the task's are.
    """
    document = line.get("doc")
    document = document if isinstance(document, dict) else {}
    item, given = task.item(document), plain_answer(line, output_type)
    scheme = json.dumps({"name": item.scheme.name, "axes": dict(item.scheme.axes)}).encode()
    options = options_of(2, item.roles, scheme, None, len(item.roles))
    probabilities = given.get("probs")
    shares = options.shares(probabilities)
    status, choice = given["status"], given.get("choice")
    if status == "answered" and "text" in given:
        choice = task.chosen(document, given["text"])
        status = "unparsed" if choice is None else "answered"
    elif not task.ties_are_choices and given.get("margin") == 0:
        status, choice = "unscored", None
    own = None if probabilities is None or choice is None else probabilities[choice]
    answer = options.answer(status, choice, None if choice is None else _role(item, choice))
    answer["correct"] = choice in item.keys if item.keys else None
    return options, {
        "doc": {
            "item": item.record,
            "context": item.context,
            "question": item.question,
            "options": list(item.options) or _scored(line, len(item.roles)),
        },
        "answer": {
            "protocol": output_type,
            "entropy": given.get("entropy"),
            "margin": given.get("margin"),
            "texts": {"text": given.get("text")},
        },
        "$options": options.facts | {"metric": "acc" if item.keys else None},
        "$probability": {
            **dict(zip(AXES, shares, strict=False)),
            "key": _keyed(probabilities, item.keys),
            "options": probabilities,
            "choice": own,
        },
        "$answer": answer,
    }


def _keyed(probabilities: Sequence[float] | None, keys: Collection[int]) -> float | None:
    """Probability of the keyed options, of which there may be several wordings."""
    return sum(probabilities[key] for key in keys) if probabilities is not None and keys else None


def _role(item: StockItem, choice: int) -> str | None:
    return item.roles[choice] if choice < len(item.roles) else None


def _scored(line: Mapping[str, Any], count: int) -> list[str] | None:
    """The options' texts, as they were scored behind the context."""
    arguments = line.get("arguments")
    requests = list(arguments.values())[:count] if isinstance(arguments, dict) else []
    texts = [request.get("arg_1") for request in requests if isinstance(request, dict)]
    return [text.strip() for text in texts if isinstance(text, str)] or None

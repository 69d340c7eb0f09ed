"""What was answered: one shape for our tasks' `answer` record and for other tasks' responses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..schema.schemes import AXES
from .options import Options, options_of
from .scores import check_scores, check_shares, check_texts, check_unsampled, one_score
from .values import LogError, integer, number, text

__all__ = ["item_answers", "item_options", "plain_answer", "probabilities_of"]

INVALID = "[invalid]"
"""What lm-eval's regex filters leave of a text in which they find nothing."""


def item_options(document: Mapping[str, Any]) -> Options:
    """What the item record of a document says of its options.

    Raises:
        LogError: If a value is not of its kind, or they do not go together.
    """
    item, listed = document["item"], document.get("options")
    roles = item.get("roles")
    if roles is not None and not isinstance(roles, list):
        raise LogError(f"doc.item.roles: expected a list of names, got {roles!r}")
    version = integer(item.get("version"))
    return options_of(
        version,
        tuple(text(role) or "" for role in roles or ()),
        json.dumps(item.get("scheme")).encode(),
        integer(item.get("correct" if version in (None, 1) else "key")),
        len(listed) if isinstance(listed, list) else None,
    )


def item_answers(line: Mapping[str, Any], options: Options) -> list[dict[str, Any]]:
    """The answers of one sample line of our tasks: the `answer` record, or each of its texts.

    Args:
        line: A sample line whose doc has an item record and that has an `answer`.
        options: Of its item.

    Returns:
        Per row, what takes the place of parts of the line: `$options`, `$probability`, `$answer`, and `answer`, whose
        texts are now the one of this row.

    Raises:
        LogError: If status, choice, role and probabilities do not fit each other or the item's options.
    """
    answer = line["answer"]
    if not isinstance(answer, dict):
        raise LogError("answer: missing")
    probabilities = probabilities_of(answer)
    made = _checked(answer, probabilities, line, options)
    if made is not None:
        answer = answer | dict(zip(("entropy", "margin"), made, strict=True))
    shares = dict(zip((*AXES, "key"), options.shares(probabilities), strict=True))
    # The first version of the contract calls the texts draws.
    texts = answer.get("draws") if answer.get("texts") is None else answer["texts"]
    if texts is None:
        return [_row(answer, answer, options, probabilities, shares) | {"answer": {**answer, "texts": None}}]
    if not isinstance(texts, list) or not texts or not all(isinstance(given, dict) for given in texts):
        raise LogError("answer.texts: expected a list of texts, got an empty one or something else")
    # Where the model took no seeds, the place among the texts tells them apart.
    numbered = [given | {"seed": i} if given.get("seed") is None else given for i, given in enumerate(texts)]
    return [_row(answer, given, options, probabilities, shares) for given in numbered]


def _checked(
    answer: Mapping[str, Any], probabilities: list[float | None] | None, line: Mapping[str, Any], options: Options
) -> tuple[float, float] | None:
    """Entropy and margin of an answer whose numbers go together, and that is as right as its line says."""
    texts = answer.get("draws") if answer.get("texts") is None else answer["texts"]
    scored = texts is None
    if probabilities is not None and options.size not in (None, len(probabilities)):
        return None  # options.shares says so
    made = check_shares(
        probabilities,
        choice=integer(answer.get("choice")) if scored else None,
        entropy=number(answer.get("entropy")),
        margin=number(answer.get("margin")),
        masses=[number(answer.get(name)) for name in ("letter_mass", "drawn_letter_mass")],
    )
    choices = [answer.get("choice")] if scored else [given.get("choice") for given in _records(texts)]
    options.check_right(number(line.get("acc")), choices)
    if scored:
        check_unsampled(answer.get("drawn_letter_mass"))
    else:
        words = [given.get("text") for given in _records(texts)]
        check_texts(words, probabilities, number(answer.get("drawn_letter_mass")), line.get("resps"))
    return made


def _records(texts: Any) -> list[Mapping[str, Any]]:
    return [given for given in texts if isinstance(given, dict)] if isinstance(texts, list) else []


def _row(
    answer: Mapping[str, Any],
    given: Mapping[str, Any],
    options: Options,
    probabilities: list[float | None] | None,
    shares: Mapping[str, float | None],
) -> dict[str, Any]:
    choice = integer(given.get("choice"))
    checked = options.answer(given.get("status"), choice, text(given.get("role")) or None)
    if probabilities is not None and choice is not None and choice >= len(probabilities):
        raise LogError(f"answer.probs: {len(probabilities)} probabilities, but option {choice} was chosen")
    own = None if probabilities is None or choice is None else probabilities[choice]
    return {
        "$options": options.facts,
        "$probability": {**shares, "choice": own, "options": probabilities},
        "$answer": checked,
        "answer": {**answer, "texts": given},
    }


def probabilities_of(answer: Mapping[str, Any]) -> list[float | None] | None:
    """Of each option, as the log has them. Raises LogError if they are no list of numbers."""
    probabilities = answer.get("probs")
    if probabilities is None:
        return None
    if not isinstance(probabilities, list):
        raise LogError(f"answer.probs: expected a list of probabilities, got {probabilities!r}")
    return [number(value) for value in probabilities]


def plain_answer(line: Mapping[str, Any], output_type: str) -> dict[str, Any]:
    """The answer of one sample line of any other task.

    multiple_choice: the option of the highest log-likelihood (the first of equals, as lm-eval), unscored if
    one is NaN, none is finite or all have probability 1; its probability, entropy and margin are those of the softmax
    over the options. loglikelihood: no choice. Any other type is generated: the text that the row's filter left, or
    all of them as a JSON array where it left several (repeats); unparsed if each is empty or lm-eval's "[invalid]".
    Whether it is right is decided over the whole file (metrics.py).

    Raises:
        LogError: If there are no responses, more or fewer scores than requests, or scores that contradict each other.
    """
    responses = line.get("filtered_resps")
    if not isinstance(responses, list):
        raise LogError("filtered_resps: missing")
    if output_type == "multiple_choice":
        scores = _scores(responses)
        check_scores(line, scores)
        return _choice_answer(_own_scores(line, scores)) | {"correct": None}
    if output_type == "loglikelihood":
        scores = _scores(responses)
        check_scores(line, scores)
        status = "answered" if scores and all(map(math.isfinite, scores)) else "unscored"
        return {"status": status, "correct": None}
    return _text_answer(responses) | {"correct": None}


def _text_answer(responses: Sequence[Any]) -> dict[str, Any]:
    """The text, or all texts of a document that was asked several times as a JSON array."""
    texts = list(_texts(responses))
    answered = any(text.strip() not in ("", INVALID) for text in texts)
    shown = json.dumps(texts, ensure_ascii=False) if len(texts) > 1 else next(iter(texts), None)
    return {"status": "answered" if answered else "unparsed", "text": shown}


def _texts(responses: Any) -> Iterator[str]:
    if not isinstance(responses, list):
        yield str(responses)
        return
    for one in responses:
        if one is not None:
            yield from _texts(one)


def _scores(responses: Sequence[Any]) -> list[float]:
    """The log-likelihood of each request."""
    return [one_score(entry) for entry in responses]


def _own_scores(line: Mapping[str, Any], scores: list[float]) -> list[float]:
    # Mutual information sends every option a second time, without its context, after the first round.
    if "acc_mutual_info" in (line.get("metrics") or line) and len(scores) % 2 == 0:
        return scores[: len(scores) // 2]
    return scores


def _choice_answer(scores: list[float]) -> dict[str, Any]:
    top = max(scores, default=-math.inf)
    if any(map(math.isnan, scores)) or not math.isfinite(top):
        return {"status": "unscored"}
    if len(scores) > 1 and min(scores) >= 0:  # each option certain: what a server gives that scores no prompt
        return {"status": "unscored"}
    weights = [math.exp(value - top) for value in scores]
    total = sum(weights)
    shares = [weight / total for weight in weights]
    probabilities = sorted(shares, reverse=True)
    entropy = -sum(p * math.log2(p) for p in probabilities if p > 0)
    margin = probabilities[0] - probabilities[1] if len(probabilities) > 1 else None
    return {
        "status": "answered",
        "choice": scores.index(top),
        "p_choice": probabilities[0],
        "entropy": max(entropy, 0.0),
        "margin": margin,
        "probs": shares,
    }

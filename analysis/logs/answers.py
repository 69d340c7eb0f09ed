"""What was answered: one shape for our tasks' `answer` record and for other tasks' responses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..schema.schemes import AXES, BBQ, Scheme
from .values import LogError, indicator, integer, number, score

__all__ = ["determined", "item_answers", "plain_answer", "scheme_of_roles"]

STATUSES = ("answered", "unparsed", "unscored")
INVALID = "[invalid]"
"""What lm-eval's regex filters leave of a text in which they find nothing."""
CORRECT_METRICS = ("acc", "exact_match", "em", "acc_norm")
"""Per-item metrics that say right or wrong, by preference; used only where the value is 0 or 1."""


def item_answers(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answers of one sample line of our tasks: the `answer` record, or each of its draws.

    Args:
        line: A sample line whose doc has an item record and that has an `answer`.

    Returns:
        One dict per row (keys as `$given` in fields.py).

    Raises:
        LogError: If status, choice, role and probabilities do not fit each other or the item's options.
    """
    item, answer = line["doc"]["item"], line["answer"]
    if not isinstance(answer, dict):
        raise LogError("answer: missing")
    roles = item.get("roles")
    if not isinstance(roles, list):
        raise LogError("doc.item.roles: missing")
    scheme = scheme_of_roles(roles)
    shared = {
        "scheme": None if scheme is None else scheme.text,
        "determined": determined(roles, scheme),
        **_axis_probabilities(roles, scheme, answer.get("probs")),
        **{name: answer.get(name) for name in ("letter_mass", "drawn_letter_mass", "entropy", "margin")},
    }
    draws = answer.get("draws")
    if draws is None:
        return [{**shared, **_checked(answer, roles, scheme, item.get("correct"))}]
    if not isinstance(draws, list) or not draws:
        raise LogError("answer.draws: expected a list of draws, got an empty one or something else")
    return [
        {
            **shared,
            **_checked(draw, roles, scheme, item.get("correct")),
            # Where the model took no seeds, the place among the draws tells them apart.
            "seed": place if draw.get("seed") is None else draw["seed"],
            "text": draw.get("text"),
        }
        for place, draw in enumerate(draws)
    ]


def _checked(answer: Mapping[str, Any], roles: list[str], scheme: Scheme | None, key: Any) -> dict[str, Any]:
    """Status, choice, role, axis and correctness of one answer, after checking that they agree."""
    status, choice, role = answer.get("status"), integer(answer.get("choice")), answer.get("role")
    if status not in STATUSES:
        raise LogError(f"answer.status: expected one of {', '.join(STATUSES)}, got {status!r}")
    if (choice is not None) != (status == "answered"):
        raise LogError(f"answer.choice: {choice} does not go with status {status!r}")
    if choice is not None and not 0 <= choice < len(roles):
        raise LogError(f"answer.choice: expected 0 to {len(roles) - 1}, got {choice}")
    expected = None if choice is None else roles[choice]
    if role != expected:
        raise LogError(f"answer.role: option {choice} has role {expected!r} in the item, but {role!r} is logged")
    keyed = integer(key)
    return {
        "status": status,
        "choice": choice,
        "role": role,
        "axis": None if role is None or scheme is None else scheme.axis(role),
        "correct": None if keyed is None else choice == keyed,
    }


def scheme_of_roles(roles: Sequence[Any]) -> Scheme | None:
    """The scheme of options that have these roles and name none: BBQ's, or None."""
    return BBQ if roles and all(role in BBQ.axes for role in roles) else None


def determined(roles: Sequence[str], scheme: Scheme | None) -> bool | None:
    """Whether the item's direction is told; missing where it has none."""
    if scheme is None:
        return None
    axes = [scheme.axes[role] for role in roles]
    return "toward" in axes and None not in axes


def _axis_probabilities(roles: list[str], scheme: Scheme | None, probabilities: Any) -> dict[str, float | None]:
    """Probability of each axis, summed over its options; missing where no option lies on it."""
    out: dict[str, float | None] = {f"p_{axis}": None for axis in AXES}
    if probabilities is None:
        return out
    if not isinstance(probabilities, list) or len(probabilities) != len(roles):
        raise LogError(f"answer.probs: expected {len(roles)} probabilities, got {probabilities!r}")
    values = [number(value) for value in probabilities]
    if scheme is None:
        return out
    for axis in AXES:
        of_axis = [value for value, role in zip(values, roles, strict=True) if scheme.axes[role] == axis]
        known = [value for value in of_axis if value is not None]
        out[f"p_{axis}"] = sum(known) if known and len(known) == len(of_axis) else None
    return out


def plain_answer(line: Mapping[str, Any], output_type: str) -> dict[str, Any]:
    """The answer of one sample line of any other task.

    multiple_choice: the option of the highest log-likelihood (the first of equals, as lm-eval), unscored if
    one is NaN, none is finite or all have probability 1; entropy and margin are those of the softmax over the
    options. loglikelihood: no choice. Any other type is generated: the text that the row's filter left,
    unparsed if that is empty or lm-eval's "[invalid]". Correctness is acc, exact_match, em or acc_norm, the
    first that is 0 or 1. Where acc_norm decides, the choice is missing: lm-eval does not log the lengths
    that it divided by.
    """
    name = next((metric for metric in CORRECT_METRICS if indicator(line.get(metric)) is not None), None)
    correct = None if name is None else indicator(line[name])
    responses = line.get("filtered_resps")
    if not isinstance(responses, list):
        raise LogError("filtered_resps: missing")
    if output_type == "multiple_choice":
        given = _choice_answer(_option_scores(line, responses))
        if name == "acc_norm":
            given["choice"] = None
    elif output_type == "loglikelihood":
        scores = _scores(responses)
        given = {"status": "answered" if scores and all(map(math.isfinite, scores)) else "unscored"}
    else:
        given = _text_answer(responses)
    if given["status"] != "answered" and correct is not None:
        correct = False
    return {**given, "correct": correct}


def _text_answer(responses: Sequence[Any]) -> dict[str, Any]:
    first: Any = responses
    while isinstance(first, list):
        first = first[0] if first else None
    found = None if first is None else str(first)
    answered = found is not None and found.strip() not in ("", INVALID)
    return {"status": "answered" if answered else "unparsed", "text": found}


def _scores(responses: Sequence[Any]) -> list[float]:
    """The log-likelihood of each request: responses are [log-likelihood, is greedy], or the bare number."""
    return [score(entry[0] if isinstance(entry, list) and entry else entry) for entry in responses]


def _option_scores(line: Mapping[str, Any], responses: Sequence[Any]) -> list[float]:
    scores = _scores(responses)
    # Mutual information sends every option a second time, without its context, after the first round.
    if "acc_mutual_info" in (line.get("metrics") or []) and len(scores) % 2 == 0:
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
    probabilities = sorted((weight / total for weight in weights), reverse=True)
    entropy = -sum(p * math.log2(p) for p in probabilities if p > 0)
    margin = probabilities[0] - probabilities[1] if len(probabilities) > 1 else None
    return {"status": "answered", "choice": scores.index(top), "entropy": max(entropy, 0.0), "margin": margin}

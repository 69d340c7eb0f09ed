"""The raw scores of a line, and whether they go with what was asked and with each other."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .values import LogError, score

__all__ = ["check_scores", "check_shares", "check_texts", "check_unsampled", "one_score", "raw_scores", "uncertainty"]

_EPSILON = 1e-3
"""How far above 0 a log-likelihood may lie: what kernels of few bits round."""
_FLAGS = frozenset(("True", "False"))
_CLOSE = 1e-6
_EXACT = 1e-12
"""How far a number may lie from the same made again."""
_MASS = 0.01
"""How far a sum of letters' probabilities may lie above 1: what log-probabilities in bfloat16 round."""


def raw_scores(responses: Any, *, rolling: bool) -> list[str] | None:
    """The log-likelihoods among the responses, as canonical strings; None if they are not all scores.

    Scored responses are [log-likelihood, is greedy] per repeat; for rolling tasks the bare number, which in any
    other task would be a generated text that happens to be one.
    """
    try:
        # One pair a request, as nearly always; the way below knows the rest, and is slower.
        if responses and {flag for ((_, flag),) in responses} <= _FLAGS:
            return [repr(float(value) if type(value) is str else score(value)) for ((value, _),) in responses]
    except (TypeError, ValueError):
        pass
    flat: list[str] = []
    for request in responses if isinstance(responses, list) else []:
        for entry in request if isinstance(request, list) else []:
            pair = isinstance(entry, list) and len(entry) == 2 and str(entry[1]) in ("True", "False")
            if not pair and not rolling:
                return None
            try:
                flat.append(repr(score(entry[0] if pair else entry)))
            except LogError:
                return None
    return flat or None


def check_scores(line: Mapping[str, Any], scores: Sequence[float]) -> None:
    """See that the scores of a line's options are one a request, possible, and those that the model gave.

    Args:
        line: A line of a scored task.
        scores: Log-likelihoods of `filtered_resps`, one an option.

    Raises:
        LogError: If they are fewer or more than was sent, one is above 0, or `resps` has others.
    """
    sent, given = line.get("arguments"), line.get("resps")
    if isinstance(sent, dict) and sent and len(sent) != len(scores):
        raise LogError(f"filtered_resps: {len(scores)} scores for {len(sent)} requests")
    if isinstance(given, list) and given:
        first = [one_score(request) for request in given]
        if len(first) != len(scores) or any(_differ(*pair) for pair in zip(first, scores, strict=True)):
            raise LogError("resps and filtered_resps hold different scores")
    # All at 0 or above is what a server gives that scores no prompt: answers.py calls that unscored.
    if any(value > _EPSILON for value in scores) and min(scores) < 0:
        raise LogError(f"filtered_resps: a log-likelihood of {max(scores):.6g}, expected at most 0")


def one_score(response: Any) -> float:
    """A request's log-likelihood: the bare number, or [log-likelihood, is greedy], also as the first of its repeats.

    Raises:
        LogError: If it is no number.
    """
    while isinstance(response, list) and response:
        response = response[0]
    return score(response)


def _differ(one: float, other: float) -> bool:
    return one != other and not (math.isnan(one) and math.isnan(other))


def check_unsampled(drawn_letter_mass: Any) -> None:
    """See that an answer without texts says nothing of a first token drawn. Raises LogError if it does."""
    if drawn_letter_mass is not None:
        raise LogError(f"answer.drawn_letter_mass: {drawn_letter_mass!r}, but nothing was drawn"[:120])


def check_shares(
    probabilities: Sequence[float | None] | None,
    *,
    choice: int | None,
    entropy: float | None,
    margin: float | None,
    masses: Sequence[float | None],
) -> tuple[float, float] | None:
    """See that an answer's probabilities are some, and that what is made of them is.

    Args:
        probabilities: Of each option; None for one that is not known.
        choice: The scored choice; None where there is none, or texts chose.
        entropy: In bits.
        margin: Highest minus second highest probability.
        masses: Probabilities of letters among all tokens.

    Returns:
        Entropy and margin as the probabilities have them (`uncertainty`).

    Raises:
        LogError: If one is out of [0, 1], they do not add up to 1, the choice is not the best scored, or entropy or
            margin are not those of the probabilities.
    """
    for mass in masses:
        if mass is not None and not 0 <= mass <= 1 + _MASS:
            raise LogError(f"answer: a probability of letters of {mass:.6g}, expected 0 to 1")
    if probabilities is None:
        return None
    known = [value for value in probabilities if value is not None]
    if any(not 0 <= value <= 1 + _CLOSE for value in known):
        raise LogError(f"answer.probs: expected probabilities from 0 to 1, got {_shown(probabilities)}")
    total = sum(known)
    if total > 1 + _CLOSE or (len(known) == len(probabilities) and total < 1 - _CLOSE):
        raise LogError(f"answer.probs: expected a sum of 1, got {_shown(probabilities)}, which add up to {total:.6g}")
    made = uncertainty(probabilities)
    if made is None:
        return None
    (bits, gap), top = made, max(known)
    if choice is not None and 0 <= choice < len(known) and known[choice] < top - _CLOSE:
        raise LogError(f"answer.choice: option {choice} was chosen, but {known.index(top)} is the likeliest")
    if margin is not None and abs(margin - gap) > _CLOSE:
        raise LogError(f"answer.margin: {margin:.6g}, but the probabilities differ by {gap:.6g}")
    if entropy is not None and abs(entropy - bits) > _CLOSE:
        raise LogError(f"answer.entropy: {entropy:.6g} bits, but the probabilities have {bits:.6g}")
    return made


def uncertainty(probabilities: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Entropy in bits, and margin, of probabilities that are all known; None without them, or of fewer than two."""
    known = [value for value in probabilities or () if value is not None]
    if len(known) < 2 or len(known) < len(probabilities or ()):
        return None
    first, second = sorted(known, reverse=True)[:2]
    return sum(-value * math.log2(value) for value in known if value > 0), first - second


def check_texts(
    texts: Sequence[Any], probabilities: Sequence[float | None] | None, mass: float | None, responses: Any
) -> None:
    """See that sampled texts, and the letters' probabilities beside them, are those that the model gave.

    Args:
        texts: Of the answer.
        probabilities: Of each option, given that a letter comes first.
        mass: Probability that one does, at the texts' temperature.
        responses: `resps`: the texts, and as the only entry of a second request the scores of the first token.

    Raises:
        LogError: If they are others.
    """
    given = responses if isinstance(responses, list) else []
    first = given[0] if given else None
    as_many = isinstance(first, list) and len(first) == len(texts) and all(isinstance(entry, str) for entry in first)
    if as_many and list(texts) != first:
        raise LogError("answer.texts: other texts than in resps")
    drawn = _drawn(given[1]) if len(given) == 2 else None
    if drawn is None or mass is None or probabilities is None or len(drawn) != len(probabilities):
        return
    chances = [math.exp(min(value, 1.0)) for value in drawn]
    total = math.fsum(chances)
    if abs(min(total, 1.0) - mass) > _EXACT:
        raise LogError(f"answer.drawn_letter_mass: {mass:.6g}, but the first token's scores give {total:.6g}")
    for chance, value in zip(chances, probabilities, strict=True):
        if total > 0 and (value is None or abs(chance / total - value) > _EXACT):
            raise LogError(f"answer.probs: {_shown(probabilities)}, but the first token's scores give other ones")


def _drawn(request: Any) -> list[float] | None:
    """Scores of the letters as first token drawn, where a request's only response holds them as JSON."""
    entry = request[0] if isinstance(request, list) and len(request) == 1 else None
    if not isinstance(entry, str) or not entry.startswith("{"):
        return None
    try:
        values = json.loads(entry).get("drawn")
        return [score(value) for value in values] if isinstance(values, list) else None
    except (ValueError, AttributeError, RecursionError):
        return None


def _shown(values: Sequence[float | None]) -> str:
    text = ", ".join("none" if value is None else f"{value:.4g}" for value in values[:6])
    return f"[{text}{', ...' if len(values) > 6 else ''}]"

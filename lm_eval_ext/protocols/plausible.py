"""Scores that no model can have given: checked together, since each alone may look like a probability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lm_eval_ext.contract.answer import Reason
from lm_eval_ext.contract.score import Bound

__all__ = ["ROUNDING", "distinct_spellings", "exclusive_fault", "letters_fault", "probability", "text_fault"]

ROUNDING = 0.01
"""How far a sum of probabilities may lie above 1. Log-probabilities in bfloat16 are off by up to 1/512 of their size,
which moves p by p |ln p| / 512 and a sum over n letters by ln n / 512 at most: below 0.008 for 26 in two spellings."""

_SAME = 1e-4
"""Log-likelihoods of one token in two requests differ by less, in float32."""


def letters_fault(rounds: Sequence[Mapping[str, Sequence[float]]]) -> Reason | None:
    """What is wrong with an item's letters.

    Args:
        rounds: For each asking, by spelling, the natural log-likelihood of each letter after the same prompt. Of all
            letters in all their spellings one at most can come first, so that each asking's add up to 1 or less.

    Returns:
        The reason why there is no answer, None for scores that a model can have given. Scores that are equal to the
        last digit in every asking come from a model that tells nothing apart or a server that repeats a constant:
        nobody can say which.
    """
    asked = [[value for row in scores.values() for value in row] for scores in rounds]
    for values in asked:
        fault = exclusive_fault(values)
        if fault is not None:
            return fault
    return "all_equal" if all(len(set(row)) == 1 for scores in rounds for row in scores.values()) else None


def text_fault(
    log_likelihoods: Sequence[float], tokens: Sequence[int], texts: Sequence[str], whitespace: float
) -> Reason | None:
    """What is wrong with the scores of an item's options as texts.

    Args:
        log_likelihoods: Natural log-likelihood of each option's text, with the prompt's white space.
        tokens: Number of tokens of each text itself.
        texts: The texts. One that begins with another is not exclusive of it and is left out of the sum.
        whitespace: Log-likelihood of the prompt's white space, 0 where it is not scored.

    Returns:
        As `letters_fault`; scores that are all equal by token tell nothing apart either.
    """
    if not math.isfinite(whitespace):
        return "no_number"
    own = [value - whitespace for value in log_likelihoods]
    whole = [v for v, t in zip(own, texts, strict=True) if not any(t != o and t.startswith(o) for o in texts)]
    fault = exclusive_fault(own, whole)
    if fault is not None:
        return fault
    if any(value == 0 and count > 1 for value, count in zip(own, tokens, strict=True)):
        return "certain_text"
    means = [value / count for value, count in zip(own, tokens, strict=True)]
    same = len(set(own)) == 1 or all(math.isclose(mean, means[0], rel_tol=1e-9) for mean in means)
    return "all_equal" if same else None


def exclusive_fault(values: Sequence[float], exclusive: Sequence[float] | None = None) -> Reason | None:
    """What is wrong with log-likelihoods, of which `exclusive` (all, if not given) exclude each other."""
    if any(math.isnan(value) or value == math.inf for value in values):
        return "no_number"
    if max(values) > ROUNDING or probability(values if exclusive is None else exclusive) > 1 + ROUNDING:
        return "above_one"
    return "no_probability" if max(values) == -math.inf else None


def probability(values: Sequence[float]) -> float:
    """Sum of exp(l): the probability that one of several exclusive things happens."""
    return math.fsum(math.exp(min(value, 1.0)) for value in values)


def distinct_spellings(scores: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The spellings without those that a model reads as one before: alike in the scores of all letters."""
    kept: dict[str, Sequence[float]] = {}
    for name, row in scores.items():
        if not any(all(map(_alike, row, other)) for other in kept.values()):
            kept[name] = row
    return kept


def _alike(first: float, second: float) -> bool:
    if isinstance(first, Bound) and isinstance(second, Bound):
        return first.upper == second.upper
    return first == second or abs(first - second) <= _SAME

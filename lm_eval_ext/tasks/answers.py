"""From log-likelihoods to an answer: which option, with what probability, how surely.

Every protocol ends in the same record. An answer that cannot be had is named "unscored" and has no choice; it
is never a number. Ties go to the first option in the item's order, which the margin of 0 shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypedDict

from lm_eval_ext.tasks.parsers import strict_parse, study_parse

__all__ = ["ROTATIONS", "Answer", "Draw", "cyclic_answer", "letters_answer", "sampled_answer", "text_answer"]

Protocol = Literal["letters", "text", "cyclic", "sampled"]

ROTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
"""The three orders in which the cyclic protocol shows an item's options: each stands once at each letter."""


class Draw(TypedDict):
    """One sampled text, and the letters that are read in it."""

    seed: int | None
    """None where the model took none."""
    text: str
    status: Literal["answered", "unparsed"]
    """By the strict parser, as `choice` and `role`."""
    choice: int | None
    role: str | None
    study_choice: int | None
    """By the studies' parser, as `study_role`."""
    study_role: str | None


class Answer(TypedDict):
    """One model's answer to one item, as logged with every sample."""

    protocol: Protocol
    status: Literal["answered", "unparsed", "unscored"]
    choice: int | None
    """Index of the chosen option in the item's order."""
    role: str | None
    """The chosen option's role."""
    probs: list[float] | None
    """Probability of each option, in the item's order; they add up to 1."""
    letter_mass: float | None
    """Probability that the answer is one of the letters at all, where letters are scored."""
    drawn_letter_mass: float | None
    """The same at the temperature of a sampled protocol: of the first token drawn."""
    entropy: float | None
    """Entropy of `probs` in bits: 0 (sure) to log2(3)."""
    margin: float | None
    """Probability of the choice minus that of the runner-up."""
    draws: list[Draw] | None
    """One entry a seed, for sampled protocols only."""


def letters_answer(log_likelihoods: Sequence[float], roles: Sequence[str]) -> Answer:
    """Answer by the letters' probabilities: p_k = exp(l_k) / sum_j exp(l_j).

    Args:
        log_likelihoods: Natural log-likelihood of each option's letter after the same prompt.
        roles: The options' roles.

    Returns:
        The answer; unscored if a value is not a number or above any probability, or all are minus infinity.
    """
    mass = _mass(log_likelihoods)
    return _answer("letters", _softmax(log_likelihoods), roles, mass)


def text_answer(
    log_likelihoods: Sequence[float], tokens: Sequence[int], roles: Sequence[str], whitespace: float = 0.0
) -> Answer:
    """Answer by the options' texts, each log-likelihood divided by its number of tokens.

    g_k = exp((l_k - w) / n_k), p_k = g_k / sum_j g_j: the geometric mean of the tokens' probabilities, as
    PostTrainingBiasBench (arXiv 2602.06181) scores.

    Args:
        log_likelihoods: Natural log-likelihood of each option's text after the same prompt.
        tokens: Number of tokens in each option's text, all positive.
        roles: The options' roles.
        whitespace: Log-likelihood w of the prompt's own white space, where it is scored with every option.

    Returns:
        The answer; unscored as in `letters_answer`.
    """
    means = [(value - whitespace) / count for value, count in zip(log_likelihoods, tokens, strict=True)]
    return _answer("text", _softmax(means), roles, None)


def cyclic_answer(log_likelihoods: Sequence[float], roles: Sequence[str]) -> Answer:
    """Answer by the letters' probabilities, averaged over the three rotations of the options.

    Args:
        log_likelihoods: Nine values: for each order of ROTATIONS in turn, those of the letters A, B, C.
        roles: The options' roles, in the item's own order.

    Returns:
        The answer in the item's own order. An option's probability is the mean of its three; the letter mass
        is the mean of the rotations'. Unscored if one rotation is.
    """
    probs, mass = [0.0, 0.0, 0.0], 0.0
    for turn, order in enumerate(ROTATIONS):
        values = log_likelihoods[3 * turn : 3 * turn + 3]
        of_letters = _softmax(values)
        if of_letters is None:
            return _answer("cyclic", None, roles, None)
        mass += _mass(values) / len(ROTATIONS)
        for letter, option in enumerate(order):
            probs[option] += of_letters[letter] / len(ROTATIONS)
    return _answer("cyclic", probs, roles, mass)


def sampled_answer(
    texts: Sequence[str],
    seeds: Sequence[int | None],
    plain: Sequence[float] | None,
    drawn: Sequence[float] | None,
    roles: Sequence[str],
) -> Answer:
    """Answer by one text a seed, with the exact probabilities of the letters as first token beside them.

    Args:
        texts: What was drawn with each seed.
        seeds: The seeds; None for a text that no seed repeats.
        plain: Natural log-probability of each option's letter as the first token, of the model itself.
        drawn: The same at the texts' temperature, over the whole vocabulary.
        roles: The options' roles.

    Returns:
        The answer, without a choice of its own. `probs` are those of `drawn`, divided by their sum
        `drawn_letter_mass`: how probable each letter is as the first token drawn, given that it is a letter. They are
        missing where `drawn` is not a number, or no letter has a positive probability.
    """
    draws = []
    for seed, text in zip(seeds, texts, strict=True):
        strict, study = strict_parse(text), study_parse(text)
        draws.append(
            Draw(
                seed=seed,
                text=text,
                status="unparsed" if strict is None else "answered",
                choice=strict,
                role=None if strict is None else roles[strict],
                study_choice=study,
                study_role=None if study is None else roles[study],
            )
        )
    usable = plain is not None and drawn is not None
    probs = _softmax(drawn) if drawn is not None else None
    answer = _answer("sampled", probs, roles, _mass(plain) if plain is not None and usable else None)
    answer["drawn_letter_mass"] = _mass(drawn) if drawn is not None and usable else None
    answered = any(draw["status"] == "answered" for draw in draws)
    answer["status"] = "answered" if answered else "unparsed"
    answer["choice"] = answer["role"] = None
    answer["draws"] = draws
    return answer


def _answer(protocol: Protocol, probs: list[float] | None, roles: Sequence[str], mass: float | None) -> Answer:
    if probs is None:
        return Answer(
            protocol=protocol,
            status="unscored",
            choice=None,
            role=None,
            probs=None,
            letter_mass=None,
            drawn_letter_mass=None,
            entropy=None,
            margin=None,
            draws=None,
        )
    choice = max(range(len(probs)), key=probs.__getitem__)
    first, second = sorted(probs, reverse=True)[:2]
    return Answer(
        protocol=protocol,
        status="answered",
        choice=choice,
        role=roles[choice],
        probs=probs,
        letter_mass=mass,
        drawn_letter_mass=None,
        entropy=sum(-p * math.log2(p) for p in probs if p > 0),
        margin=first - second,
        draws=None,
    )


def _softmax(values: Sequence[float]) -> list[float] | None:
    """Softmax; None where it is undefined, so that a broken model's output never becomes a choice."""
    top = max(values)
    if any(math.isnan(value) for value in values) or math.isinf(top):
        return None
    weights = [math.exp(value - top) for value in values]
    return [weight / sum(weights) for weight in weights]


def _mass(values: Sequence[float]) -> float:
    # Rounding can lift the sum of a very sure model's probabilities over 1 by a hair.
    return min(1.0, sum(math.exp(min(value, 0.0)) for value in values if not math.isnan(value)))

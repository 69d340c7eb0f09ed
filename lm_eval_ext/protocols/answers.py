"""From log-likelihoods to an answer: which option, with what probability, how surely.

Every protocol ends in the same record. An answer that cannot be had is named "unscored" and has no choice; it
is never a number. Ties between some options go to the first in the item's order, which the margin of 0 shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lm_eval_ext.contract.answer import Answer, Protocol, Reason, SampledText
from lm_eval_ext.protocols.bounds import bounds_of, is_bound, known_scores
from lm_eval_ext.protocols.lettering import rotations as orders_of
from lm_eval_ext.protocols.parsers import strict_parse, study_parse
from lm_eval_ext.protocols.plausible import (
    distinct_spellings,
    exclusive_fault,
    letters_fault,
    probability,
    text_fault,
)

__all__ = ["cyclic_answer", "letters_answer", "sampled_answer", "text_answer"]


def letters_answer(scores: Mapping[str, Sequence[float]], roles: Sequence[str]) -> Answer:
    """Answer by the letters' probabilities: P_k = sum over spellings of exp(l_k), p_k = P_k / sum_j P_j.

    Args:
        scores: By spelling, the natural log-likelihood of each option's letter after the same prompt. A spelling whose
            scores are another's is the same token, and counts once. A `Bound` stands for one that was not listed.
        roles: The options' roles.

    Returns:
        The answer; unscored for scores that no model can have given, or that tell nothing apart (`letters_fault`).
        The letter mass is the sum of the P_k. With a bound there are no probabilities but `bounds`, and the choice if
        it follows from them.
    """
    return _by_letters("letters", [scores], [range(len(roles))], roles)


def text_answer(
    log_likelihoods: Sequence[float],
    tokens: Sequence[int],
    roles: Sequence[str],
    texts: Sequence[str],
    whitespace: float = 0.0,
) -> Answer:
    """Answer by the options' texts, each log-likelihood divided by its number of tokens.

    g_k = exp((l_k - w) / n_k), p_k = g_k / sum_j g_j: the geometric mean of the tokens' probabilities, as
    PostTrainingBiasBench (arXiv 2602.06181) scores.

    Args:
        log_likelihoods: Natural log-likelihood of each option's text after the same prompt.
        tokens: Number of tokens in each option's text, all positive.
        roles: The options' roles.
        texts: The options' texts.
        whitespace: Log-likelihood w of the prompt's own white space, where it is scored with every option.

    Returns:
        The answer; unscored as in `letters_answer` (`text_fault`).
    """
    reason = text_fault(log_likelihoods, tokens, texts, whitespace)
    means = [(value - whitespace) / count for value, count in zip(log_likelihoods, tokens, strict=True)]
    return _answer("text", None if reason else _softmax(means), roles, reason=reason)


def cyclic_answer(rotations: Sequence[Mapping[str, Sequence[float]]], roles: Sequence[str]) -> Answer:
    """Answer by the letters' probabilities, averaged over the rotations of the options.

    Args:
        rotations: For each order of `lettering.rotations` in turn, as `letters_answer`.
        roles: The options' roles, in the item's own order.

    Returns:
        The answer in the item's own order. An option's probability is the mean over the rotations, as are the letter
        mass and the spellings' shares. Unscored if one rotation is; where the scores of one rotation
        alone are equal, the others tell.
    """
    return _by_letters("cyclic", rotations, orders_of(len(roles)), roles)


def sampled_answer(
    texts: Sequence[str],
    seeds: Sequence[int | None],
    plain: Sequence[float] | None,
    drawn: Sequence[float] | None,
    roles: Sequence[str],
    *,
    texts_only: bool = False,
) -> Answer:
    """Answer by one text a seed, with the exact probabilities of the letters as first token beside them.

    Args:
        texts: What was sampled with each seed.
        seeds: The seeds; None for a text that no seed repeats.
        plain: Natural log-probability of each option's letter as the first token, of the model itself.
        drawn: The same at the texts' temperature, over the whole vocabulary.
        roles: The options' roles.
        texts_only: Whether the letters' probabilities are missing because the model was not asked for them.

    Returns:
        The answer, without a choice of its own. `probs` are those of `drawn`, divided by their sum
        `drawn_letter_mass`: how probable each letter is as the first token drawn, given that it is a letter. They are
        missing where `drawn` is not a number, or no letter has a positive probability.
    """
    sampled = []
    for seed, text in zip(seeds, texts, strict=True):
        strict, study = strict_parse(text, len(roles)), study_parse(text)
        study = study if study is None or study < len(roles) else None
        sampled.append(
            SampledText(
                seed=seed,
                text=text,
                status="unparsed" if strict is None else "answered",
                choice=strict,
                role=None if strict is None else roles[strict],
                study_choice=study,
                study_role=None if study is None else roles[study],
            )
        )
    known = [values for values in (plain, drawn) if values is not None]
    reason = letters_fault([{"": values} for values in known]) if len(known) == 2 else "no_number"
    reason = "texts_only" if texts_only and not known else reason
    usable = reason in (None, "no_probability")  # no letter can be drawn: that is known too
    probs = _softmax(drawn) if drawn is not None and usable else None
    answer = _answer("sampled", probs, roles, reason=reason)
    answer["letter_mass"] = _mass(plain) if plain is not None and usable else None
    answer["drawn_letter_mass"] = _mass(drawn) if drawn is not None and usable else None
    answered = any(text["status"] == "answered" for text in sampled)
    answer["status"] = "answered" if answered else "unparsed"
    answer["choice"] = answer["role"] = None
    answer["texts"] = sampled
    return answer


def _by_letters(
    protocol: Protocol,
    rounds: Sequence[Mapping[str, Sequence[float]]],
    orders: Sequence[Sequence[int]],
    roles: Sequence[str],
) -> Answer:
    rounds = [distinct_spellings(scores) for scores in rounds]
    if is_bound(rounds):
        return _by_bounds(protocol, rounds, orders, roles)
    reason = letters_fault(rounds)
    if reason is not None:
        return _answer(protocol, None, roles, reason=reason)
    of_option: list[list[float]] = [[] for _ in roles]
    masses, shares = [], []
    for scores, order in zip(rounds, orders, strict=True):
        values = [value for row in scores.values() for value in row]
        top = max(values)  # so that letters of tiny probability keep their ratios
        weights = {name: [math.exp(value - top) for value in row] for name, row in scores.items()}
        total = math.fsum(weight for row in weights.values() for weight in row)
        for letter, option in enumerate(order):
            of_option[option].append(math.fsum(row[letter] for row in weights.values()) / total)
        masses.append(_mass(values))
        shares.append({name: math.fsum(row) / total for name, row in weights.items()})
    # fsum: options whose probabilities are the same numbers in another order tie exactly.
    answer = _answer(protocol, [math.fsum(values) / len(rounds) for values in of_option], roles)
    answer["letter_mass"] = math.fsum(masses) / len(rounds)
    names = dict.fromkeys(name for share in shares for name in share)
    answer["spellings"] = {name: math.fsum(s.get(name, 0.0) for s in shares) / len(rounds) for name in names}
    return answer


def _by_bounds(
    protocol: Protocol,
    rounds: Sequence[Mapping[str, Sequence[float]]],
    orders: Sequence[Sequence[int]],
    roles: Sequence[str],
) -> Answer:
    """The answer where a letter was not listed: a choice if one follows, and never a probability."""
    faults = [exclusive_fault(known) for scores in rounds if (known := known_scores(scores))]
    fault = next((reason for reason in faults if reason not in (None, "no_probability")), None)
    found = bounds_of(rounds, orders)
    answer = _answer(protocol, None, roles, reason=fault or ("undecided" if found.choice is None else "bounded"))
    if fault is None and found.choice is not None:
        answer["status"], answer["choice"], answer["role"] = "answered", found.choice, roles[found.choice]
        answer["bounds"] = [list(pair) for pair in zip(found.low, found.high, strict=True)]
    return answer


def _answer(
    protocol: Protocol, probs: list[float] | None, roles: Sequence[str], *, reason: Reason | None = None
) -> Answer:
    """The record of these probabilities; unscored without them. Masses, texts and spellings are the caller's."""
    answer = Answer(
        protocol=protocol,
        status="unscored",
        choice=None,
        role=None,
        probs=None,
        letter_mass=None,
        drawn_letter_mass=None,
        entropy=None,
        margin=None,
        texts=None,
        spellings=None,
        bounds=None,
        reason=reason,
    )
    if probs is None:
        return answer
    choice = max(range(len(probs)), key=probs.__getitem__)
    first, second = sorted(probs, reverse=True)[:2]
    answer["status"], answer["choice"], answer["role"], answer["probs"] = "answered", choice, roles[choice], probs
    answer["entropy"] = sum(-p * math.log2(p) for p in probs if p > 0)
    answer["margin"] = first - second
    return answer


def _softmax(values: Sequence[float]) -> list[float] | None:
    """Softmax of values without NaN; None if none is finite."""
    top = max(values)
    if math.isinf(top):
        return None
    weights = [math.exp(value - top) for value in values]
    return [weight / sum(weights) for weight in weights]


def _mass(values: Sequence[float]) -> float:
    """Probability that one of several letters comes, of scores without a fault: above 1 by rounding alone."""
    return min(1.0, probability(values))

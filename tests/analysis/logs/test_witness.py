"""Probabilities made again from scores, beside the protocols that made them."""

from __future__ import annotations

import json
import math
import random

import pytest

from analysis.logs.witness import agrees
from lm_eval_ext.protocols.answers import cyclic_answer, letters_answer, text_answer
from lm_eval_ext.protocols.lettering import letters

DRAW = random.Random(0)


def asked(size: int, spellings: int, spread: float) -> dict[str, list[float]]:
    """Scores of letters in some spellings, together less than certain."""
    return {
        f"{' ' * i}A": [math.log(DRAW.uniform(0.01, 1) * spread / (size * spellings)) for _ in letters(size)]
        for i in range(spellings)
    }


def responses(rows: list[list[float]]) -> list[list[list[str]]]:
    return [[[repr(value), "False"]] for row in rows for value in row]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("spellings", [1, 2])
def test_letters(size: int, spellings: int) -> None:
    scores = asked(size, spellings, 0.9)
    answer = letters_answer(scores, ["r"] * size)
    given = responses(list(scores.values()))
    assert agrees("letters", answer["probs"], answer["letter_mass"], given, None)
    assert not agrees("letters", answer["probs"], (answer["letter_mass"] or 0) + 0.01, given, None)
    assert not agrees("letters", (answer["probs"] or [])[::-1], None, given, None)


def test_a_spelling_that_is_the_same_token_counts_once() -> None:
    row = [-1.0, -2.0, -3.0]
    answer = letters_answer({" A": row, "A": list(row)}, ["r"] * 3)
    assert agrees("letters", answer["probs"], answer["letter_mass"], responses([row, row]), None)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_rotations(size: int) -> None:
    rounds = [asked(size, 2, 0.8) for _ in range(size)]
    answer = cyclic_answer(rounds, ["r"] * size)
    given = responses([row for scores in rounds for row in scores.values()])
    assert agrees("cyclic", answer["probs"], answer["letter_mass"], given, None)
    turned = [*(answer["probs"] or [])[1:], (answer["probs"] or [])[0]]
    assert not agrees("cyclic", turned, None, given, None)


@pytest.mark.parametrize("space", [None, -0.25])
def test_texts(space: float | None) -> None:
    values, tokens = [-9.5, -4.0, -7.25], [3, 2, 4]
    answer = text_answer(values, tokens, ["r"] * 3, ["a", "b", "c"], space or 0.0)
    given = responses([[*values, *([] if space is None else [space])]])
    assert agrees("text", answer["probs"], None, given, tokens)
    assert not agrees("text", answer["probs"], None, given, [3, 2, 5])
    assert agrees("text", answer["probs"], None, given, None)  # nothing to hold it against


def test_what_holds_no_scores_denies_nothing() -> None:
    for given in (None, [], "x", [[["nan", "False"]]] * 3, [[["-1", "False"]]] * 4, json.loads("[[1], [2], [3]]")):
        assert agrees("letters", [0.5, 0.3, 0.2], 0.9, given, None)
    assert agrees("sampled", [0.5, 0.3, 0.2], 0.9, responses([[-1.0, -1.0, -1.0]]), None)

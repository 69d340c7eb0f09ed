"""Expected answers by hand: probabilities in the place of what was drawn, missing answers counted as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.answers.answers import COUNT_NAMES, Answers
from analysis.answers.expected import expected_answers, read_as_letters
from tests.helpers.answers import items_frame

SURE = {"p_toward": 0.5, "p_against": 0.2, "p_neutral": 0.3, "p_key": 0.3, "drawn_letter_mass": 0.9}


def texts(*given: str, **more: Any) -> list[dict[str, Any]]:
    """Texts of one item: t(oward), n(eutral) or u(nparsed), by seed."""
    role = {"t": {"role": "stereotype"}, "n": {"role": "unknown"}, "u": {"status": "unparsed"}}
    return [
        {"run": "a", "item": "i", "seed": seed, **role[letter], **SURE, **more} for seed, letter in enumerate(given)
    ]


def by_name(row: np.ndarray) -> dict[str, float]:
    return dict(zip(COUNT_NAMES, row.tolist(), strict=True))


def test_answers_are_spread_as_the_probabilities_say() -> None:
    answers = Answers.of(items_frame(texts(*"ttnnu")))
    counts = answers.matrix("a")
    found = expected_answers(answers, "a", np.array([0]), counts)
    assert found is not None
    # Four texts name an option: 4 x 0.5 toward, 4 x 0.2 against, 4 x 0.3 neutral, which is right. One stays missing.
    told = by_name(found[0])
    assert (told["toward"], told["against"], told["neutral"]) == (2.0, pytest.approx(0.8), pytest.approx(1.2))
    assert (told["answered"], told["n"], told["unparsed"], told["keyed"]) == (4, 5, 1, 5)
    assert told["correct"] == pytest.approx(1.2)


def test_without_probabilities_nothing_is_expected() -> None:
    answers = Answers.of(items_frame(texts(*"tn", p_toward=None)))
    assert expected_answers(answers, "a", np.array([0]), answers.matrix("a")) is None
    # Of an item without an answer nothing is needed.
    silent = Answers.of(items_frame(texts(*"uu", p_toward=None, p_key=None)))
    found = expected_answers(silent, "a", np.array([0]), silent.matrix("a"))
    assert found is not None
    assert by_name(found[0])["toward"] == 0


def test_letters_and_answers_are_set_side_by_side() -> None:
    answers = Answers.of(items_frame(texts(*"ttnnu")))
    assert read_as_letters(answers, "a", np.array([0]), answers.matrix("a")) == (pytest.approx(0.9), pytest.approx(0.8))
    scored = Answers.of(items_frame([{"run": "a", "item": "i", "role": "stereotype"}]))
    assert read_as_letters(scored, "a", np.array([0]), scored.matrix("a")) == (0.0, 0.0)

"""Tokens that spell a word, against a vocabulary written out."""

from __future__ import annotations

from lm_eval_ext.models.scoring.spellings import Spellings

WORDS = ["A", "B", " A", "\nA", "A ", "AB", "a", " ", "", "\u2581A", "\u00e9", " \u00e9"]


def of(word: str) -> list[int]:
    return Spellings(len(WORDS), lambda tokens: WORDS[tokens[0]]).of(word)


def test_by_hand() -> None:
    assert of("A") == [0, 2, 3, 4]
    assert of("B") == [1]
    assert of("\u00e9") == [10, 11]
    assert [of(word) for word in ("C", "", " ", " A", "BA")] == [[]] * 5


def test_the_vocabulary_is_read_once_and_not_before_it_is_asked_for() -> None:
    read: list[int] = []

    def decode(tokens: list[int]) -> str:
        read.extend(tokens)
        return WORDS[tokens[0]]

    spellings = Spellings(3, decode)
    assert read == []
    spellings.of("A").append(99)
    assert spellings.of("A") == [0, 2]
    assert read == [0, 1, 2]

"""The tokens that spell a word."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Spellings"]


class Spellings:
    r"""Single tokens of a vocabulary by the word that they are, but for white space around it.

    "A", " A" and "\nA" are one word: which of them a model says behind a prompt is a matter of the template's last
    character, so a word's probability is the sum over all.
    """

    def __init__(self, size: int, decode: Callable[[list[int]], str]) -> None:
        """Prepare; the vocabulary is read at the first question.

        Args:
            size: Number of tokens.
            decode: From tokens to text.
        """
        self._size = size
        self._decode = decode
        self._words: dict[str, list[int]] | None = None

    def of(self, word: str) -> list[int]:
        """Tokens that are this word, in rising order; none for a word of several tokens, or of white space alone."""
        if self._words is None:
            self._words = {}
            for number in range(self._size):
                self._words.setdefault(self._decode([number]).strip(), []).append(number)
        return list(self._words.get(word, ())) if word.strip() else []

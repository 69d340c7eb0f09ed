"""The letters that options are shown with."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

__all__ = ["letters", "listed", "rotations"]


def letters(count: int) -> list[str]:
    """The letters of so many options: A, B, C for three.

    Raises:
        ValueError: If there are fewer than 2 or more than 26.
    """
    if not 2 <= count <= len(ascii_uppercase):
        raise ValueError(f"expected 2 to {len(ascii_uppercase)} options, got {count}")
    return list(ascii_uppercase[:count])


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "A or B", "A, B or C"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def rotations(count: int) -> tuple[tuple[int, ...], ...]:
    """The orders in which the cyclic protocol shows so many options: each stands once at each letter."""
    return tuple(tuple((first + place) % count for place in range(count)) for first in range(count))

"""Draws by themselves: where a text ends, and which tokens can be drawn at all. No model is run."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lm_eval_ext.models.scoring.draws import Drawer, Prompt, Protocol

Decided = Callable[[str], bool]


def said(pieces: list[bytes], *, stop: tuple[str, ...] = (), decided: Decided | None = None) -> tuple[str, int]:
    """The text, and how many tokens were drawn, where the model says these pieces of UTF-8 one after the other."""
    protocol = Protocol((1,), 0.0, len(pieces), stop, decided=decided)

    def decode(drawn: list[int]) -> str:
        return b"".join(pieces[token] for token in drawn).decode("utf-8", "replace")

    drawer = Drawer(protocol, [Prompt("a", (1,))], decode)
    branches = [drawer.start(0)]
    for token in range(len(pieces)):
        logprobs = torch.full((1, len(pieces)), -9.0)
        logprobs[0, token] = 0.0
        branches = [branch for _, branch in drawer.step(branches, logprobs)]
        if not branches:
            return drawer.texts[0][0], token + 1
    raise AssertionError("a text has no end")


def always(text: str) -> bool:
    return True


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7])
def test_a_stop_that_has_begun_is_waited_for(length: int) -> None:
    # "the end" lacks from six characters to none when the text is settled.
    stop = "the end"
    first, *rest = [f"A {stop[:length]}", *stop[length:]]
    assert said([piece.encode() for piece in (first, *rest)], stop=(stop,), decided=always) == ("A ", 1 + len(rest))


@pytest.mark.parametrize("length", [1, 2, 6])
def test_a_stop_that_does_not_come_costs_no_text(length: int) -> None:
    pieces = [f"A {'the end'[:length]}".encode(), b"?", b"never drawn"]
    assert said(pieces, stop=("the end",), decided=always) == (f"A {'the end'[:length]}?", 2)


def test_a_stop_of_one_character_is_not_waited_for() -> None:
    assert said([b"A", b"\n"], stop=("\n",), decided=always) == ("A", 1)


def test_of_several_stops_the_one_that_has_begun_counts() -> None:
    assert said([b"A E", b"ND", b"no"], stop=("xyz", "END"), decided=always) == ("A ", 2)
    assert said([b"A x", b"END"], stop=("END", "xyz"), decided=always) == ("A x", 2)


LETTER = "\u00e9".encode()  # two bytes
SIGN = "\u20ac".encode()  # three


@pytest.mark.parametrize("letter", [LETTER, SIGN])
def test_half_a_letter_settles_nothing(letter: bytes) -> None:
    # Settled by "A" before anything but a letter; half of a letter reads as a character that is none.
    def decided(text: str) -> bool:
        return text[:1] == "A" and len(text) > 1 and not text[1].isalpha()

    pieces = [b"A", *(letter[i : i + 1] for i in range(len(letter))), b"!", b"never drawn"]
    text, drawn = said(pieces, decided=decided)
    if letter.decode().isalpha():
        assert (text, drawn) == ("A\u00e9!never drawn", len(pieces))
    else:
        assert (text, drawn) == ("A\u20ac", 4)  # not before its third byte


@pytest.mark.parametrize("letter", [LETTER, SIGN])
def test_a_stop_in_bytes_ends_a_text_when_it_is_whole(letter: bytes) -> None:
    pieces = [b"A", *(letter[i : i + 1] for i in range(len(letter))), b"never drawn"]
    assert said(pieces, stop=(letter.decode(),)) == ("A", 1 + len(letter))


# The largest and the smallest number of 52 random bits, by the formula in the documentation.
LARGEST, SMALLEST = (-math.log(-math.log(u)) for u in (1 - 2**-53, 2**-53))


@pytest.mark.parametrize("temperature", [0.25, 1.0, 1.7, 3.0])
def test_whoever_can_be_drawn_is_a_candidate(temperature: float) -> None:
    """A token is left out only where the largest number would not lift it above the first with the smallest."""
    logprobs = torch.linspace(0, -300, 1201)[None]
    drawer = Drawer(Protocol((1,), temperature, 1), [Prompt("a", (1,))], str)
    ((tokens, values),) = drawer._candidates(logprobs)
    scaled = logprobs[0].double().numpy() / temperature
    reachable = np.flatnonzero(scaled + LARGEST >= scaled[0] + SMALLEST)
    assert set(reachable) <= set(tokens.tolist())
    # Some more for the rounding, and no more than that.
    assert set(tokens.tolist()) <= set(np.flatnonzero(scaled + LARGEST + 2 >= scaled[0] + SMALLEST))
    np.testing.assert_allclose(values, scaled[tokens], rtol=1e-6)

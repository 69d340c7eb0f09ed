"""Sketches of what models gave back, files of other lengths held against each other."""

from __future__ import annotations

import random

from analysis.logs.fingerprint import Fingerprint, Gathering


def texts(count: int, seed: int, shared: float) -> Fingerprint:
    """Texts of `count` items, of which a share is the same for every seed."""
    own, gathered = random.Random(seed), Gathering()
    for item in range(count):
        text = f"answer {item}" if random.Random(item).random() < shared else f"{own.random()}"
        gathered.add("none", f"t/{item}", [[text]])
    found = gathered.fingerprint()
    assert found is not None
    return found


def test_a_short_file_beside_a_long_one_is_alike_only_on_many_lines() -> None:
    # Of 6,000 lines 64 are kept, of 100 all: about one item is held against the other.
    pairs = [(texts(6000, seed, 0.6), texts(100, seed + 1000, 0.6)) for seed in range(20)]
    assert not any(long.agrees(short) for long, short in pairs)
    assert texts(6000, 1, 1.0).agrees(texts(5000, 2, 1.0))
    # Of two short files every line is.
    assert texts(6, 1, 1.0).agrees(texts(6, 2, 1.0))
    assert not texts(60, 1, 0.6).agrees(texts(60, 2, 0.6))

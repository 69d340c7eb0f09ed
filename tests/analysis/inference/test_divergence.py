"""The estimate of a divergence over a whole vocabulary, against the divergence itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax, rel_entr

from analysis.inference.divergence import Sketch, divergence

Floats = npt.NDArray[np.float64]
GRID = 2.0**-23


def sketch(log_p: Floats, u: Floats, k: int, read: str = "text") -> Sketch:
    """What a run logs of [tokens, vocabulary] log-probabilities: an entry where u < k p, and the top one."""
    size, vocabulary = log_p.shape
    keep = u < k * np.exp(log_p)
    top = log_p.argmax(axis=1)
    keep[np.arange(size), top] = True
    return Sketch(
        read=read,
        vocabulary=vocabulary,
        k=k,
        windows=np.array([size]),
        chosen=log_p[:, 0],
        top=top,
        counts=keep.sum(axis=1),
        ids=np.nonzero(keep)[1],
        values=log_p[keep].astype(np.float32),
    )


def uniforms(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.integers(0, 1 << 23, size=shape) * GRID


def test_all_entries_give_the_divergence_itself() -> None:
    rng = np.random.default_rng(0)
    log_p, log_q = (log_softmax(rng.normal(size=(40, 30)) * 2, axis=1) for _ in range(2))
    u = np.zeros((40, 30))  # below k p whatever p
    found = divergence(sketch(log_p, u, 10**8), sketch(log_q, u, 10**8))
    exact = rel_entr(np.exp(log_p), np.exp(log_q)).sum(axis=1)  # scipy.special.rel_entr
    assert found.estimate == pytest.approx(exact, rel=1e-5)
    assert found.at_least == pytest.approx(exact, rel=1e-5)
    assert (found.same_top == (log_p.argmax(axis=1) == log_q.argmax(axis=1))).all()


def test_one_token_by_hand() -> None:
    # p = (1/2, 1/4, 1/8, 1/8), q = (1/2, 1/8, 1/8, 1/4), k = 4: kept for certain in both is token 0 alone (k q of
    # token 1 is 1/2, k p of tokens 2 and 3 too), so C = {0}, P = Q = 1/2 and r = 1. With u = 0.4 both keep all of the
    # others, each with the chance 1/2: twice (log(2) / 4 - 1/4 + 1/8) and (-log(2) / 8 - 1/8 + 1/4), log(2) / 4 in all.
    # Exactly it is log(2) / 4 - log(2) / 8 = log(2) / 8. With u = 0.6 neither does, and 0 is left: the mean is right.
    p, q = np.log([[1 / 2, 1 / 4, 1 / 8, 1 / 8]]), np.log([[1 / 2, 1 / 8, 1 / 8, 1 / 4]])
    within, beyond = (
        divergence(sketch(p, u, 4), sketch(q, u, 4)) for u in (np.full((1, 4), 0.4), np.full((1, 4), 0.6))
    )
    assert within.estimate == pytest.approx([np.log(2) / 4], rel=1e-5)
    assert beyond.estimate == pytest.approx([0.0], abs=1e-6)
    # All kept and named one by one: the bound is the divergence. Beyond: 0 and the rest as one, (1/2, 1/2) twice.
    assert within.at_least == pytest.approx([np.log(2) / 8], rel=1e-5)
    assert beyond.at_least == pytest.approx([0.0], abs=1e-6)


@pytest.mark.parametrize("apart", [0.05, 0.3, 1.0])
def test_the_estimate_is_unbiased_and_the_bound_a_bound(apart: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 300)) * 2
    log_p, log_q = (log_softmax(given, axis=1) for given in (logits, logits + apart * rng.normal(size=logits.shape)))
    exact = rel_entr(np.exp(log_p), np.exp(log_q)).sum(axis=1)
    u = uniforms(rng, logits.shape)
    found = divergence(sketch(log_p, u, 8), sketch(log_q, u, 8))
    apart_by = found.estimate - exact
    assert abs(apart_by.mean()) < 4 * apart_by.std() / len(exact) ** 0.5
    assert abs(apart_by.mean()) < 0.1 * exact.mean()
    assert (found.at_least <= exact * (1 + 1e-4) + 1e-6).all()
    assert 0 < found.at_least.mean() < found.estimate.mean()
    assert (found.estimate >= 0).all()


def test_equal_sketches_are_no_distance() -> None:
    rng = np.random.default_rng(2)
    log_p = log_softmax(rng.normal(size=(50, 100)), axis=1)
    one = sketch(log_p, uniforms(rng, log_p.shape), 8)
    found = divergence(one, one)
    assert found.estimate.max() == found.at_least.max() == 0
    assert found.same_top.all()


def test_many_tokens_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    log_p, log_q = (log_softmax(rng.normal(size=(50, 40)), axis=1) for _ in range(2))
    u = uniforms(rng, log_p.shape)
    sides = sketch(log_p, u, 8), sketch(log_q, u, 8)
    whole = divergence(*sides)
    monkeypatch.setattr("analysis.inference.divergence._BLOCK", 7)
    parts = divergence(*sides)
    assert parts.estimate == pytest.approx(whole.estimate)
    assert parts.at_least == pytest.approx(whole.at_least)


@pytest.mark.parametrize("other", [{"read": "else"}, {"k": 9}])
def test_other_texts_or_rules_are_refused(other: dict[str, Any]) -> None:
    log_p, u = np.log(np.full((2, 4), 0.25)), np.zeros((2, 4))
    changed = sketch(log_p, u, **({"k": 8} | other))
    with pytest.raises(ValueError, match="not asked for the same"):
        divergence(sketch(log_p, u, 8), changed)

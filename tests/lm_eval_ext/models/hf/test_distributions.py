"""What is kept of each token's distribution, without a model."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from analysis.logs.distributions import _Record, _sketch
from lm_eval_ext.models.hf.distributions import Keeper, Kept, uniforms

WINDOWS = [([1, 2, 3], [2, 3, 4]), ([3, 4, 5, 6], [5, 6, 7])]


def kept(rows: list[torch.Tensor], k: int = 8) -> Kept:
    """As if a model had been called with both windows in one batch, padded, the second first."""
    document = Kept([(list(inputs), list(scored)) for inputs, scored in WINDOWS], k)
    keeper = Keeper([document])
    keeper.called(torch.tensor([[3, 4, 5, 6], [1, 2, 3, 0]]))
    keeper.scored(rows[1], 4, 4)
    keeper.scored(rows[0], 4, 3)
    return document


def log_probabilities(seed: int, vocabulary: int = 100) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [torch.log_softmax(torch.randn(3, vocabulary) * 3, dim=-1) for _ in WINDOWS]


def read(document: Kept) -> Any:
    return _sketch(msgspec.convert(document.record(), _Record), None)


def test_a_record_holds_what_the_rule_keeps() -> None:
    rows = log_probabilities(0)
    found = read(kept(rows))
    values = torch.cat(rows).numpy()
    u = (uniforms(0, 100)[None] + uniforms(int(found.read[:16], 16), 6)[:, None]) % 1
    keep = u < 8 * np.exp(values)
    keep[np.arange(6), values.argmax(axis=1)] = True
    assert found.counts.tolist() == keep.sum(axis=1).tolist()
    assert found.ids.tolist() == np.nonzero(keep)[1].tolist()
    assert found.values.tolist() == values[keep].tolist()
    assert found.top.tolist() == values.argmax(axis=1).tolist()
    assert found.chosen == pytest.approx(values[np.arange(6), [2, 3, 4, 5, 6, 7]])
    assert (found.windows.tolist(), found.vocabulary, found.k) == ([3, 3], 100, 8)


def test_the_chance_of_a_token_is_k_times_its_probability() -> None:
    # One distribution at 20,000 positions: each token is kept in min(1, 8 p) of them.
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])
    u = (uniforms(0, 7)[None] + uniforms(12345, 20000)[:, None]) % 1
    shares, expected = (u < 8 * p).mean(axis=0), np.minimum(8 * p, 1)
    assert shares == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 20000))


def test_numbers_are_spread_evenly_and_stay_what_they_are() -> None:
    numbers = uniforms(7, 100_000)
    counts = np.bincount((numbers * 20).astype(int), minlength=20)
    assert abs(counts - 5000).max() < 5 * math.sqrt(5000)
    # By the published SplitMix64: its first outputs from seed 0 are e220a8397b1dcdaf, 6e789e6aa1b965f4.
    assert uniforms(0, 2).tolist() == [(x >> 41) / 2**23 for x in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)]


def test_without_a_window_or_a_distribution_there_is_no_record() -> None:
    rows = log_probabilities(0)
    document = Kept([(list(inputs), list(scored)) for inputs, scored in WINDOWS], 8)
    assert document.record() is None
    keeper = Keeper([document])
    keeper.called(torch.tensor([[1, 2, 3]]))
    keeper.scored(rows[0], 3, 3)
    assert document.record() is None
    rows[1][1, 5] = math.nan
    assert kept(rows).record() is None
    assert Kept([], 8).record() is None


def test_virtual_tokens_before_a_window_are_not_its_own() -> None:
    document = Kept([([1, 2, 3], [2, 3, 4])], 8)
    keeper = Keeper([document])
    keeper.called(torch.tensor([[1, 2, 3, 0]]))
    keeper.scored(log_probabilities(0)[0], 4 + 10, 3 + 10)  # ten of them, and one position of padding
    assert document.record() is not None

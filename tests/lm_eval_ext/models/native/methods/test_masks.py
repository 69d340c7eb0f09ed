"""The selection of the smallest entries, against numpy's sorts, in chunks of every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.methods import _masks
from lm_eval_ext.models.targets.matrix import MatrixInfo

# Few different values (many ties), zero, the smallest and greatest denormals, the least normal, the greatest float.
SPECIAL = [0.0, 1e-45, 1.1754942e-38, 1.1754944e-38, 0.5, 1.0, 1.0000001, 3.4028235e38]
numbers = st.one_of(st.sampled_from(SPECIAL), st.floats(0, width=32, allow_nan=False, allow_infinity=False))


@st.composite
def ranked(draw: st.DrawFn) -> tuple[list[list[float]], int]:
    """Parts of numbers, and a rank among all of them."""
    parts = draw(st.lists(st.lists(numbers, min_size=1, max_size=12), min_size=1, max_size=4))
    return parts, draw(st.integers(1, sum(map(len, parts))))


@settings(max_examples=120, deadline=None)
@given(ranked(), st.sampled_from([7, 2**22]))
def test_smallest_threshold_is_the_order_statistic(case: tuple[list[list[float]], int], chunk: int) -> None:
    parts, k = case
    everything = np.sort(np.concatenate([np.asarray(part, dtype=np.float32) for part in parts]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_masks, "CHUNK", chunk)
        value, ties = _masks.smallest_threshold(lambda: [torch.tensor(part) for part in parts], k)
    assert value == everything[k - 1]
    assert ties == k - int((everything < everything[k - 1]).sum())


def stable_mask(scores: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
    """True for the k smallest of each row, the earlier of equals first."""
    mask = np.zeros(scores.shape, dtype=bool)
    for row, order in zip(mask, np.argsort(scores, axis=1, kind="stable"), strict=True):
        row[order[:k]] = True
    return mask


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    rows, cols = draw(st.integers(1, 6)), draw(st.sampled_from([4, 8, 12]))
    levels = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    return random.integers(0, levels, (rows, cols)).astype(np.float32)


def dropped(weight: Tensor) -> NDArray[np.bool_]:
    return np.asarray(weight.numpy() == 0)


@settings(max_examples=100, deadline=None)
@given(matrices(), st.floats(0, 0.999), st.sampled_from([1, 9, 2**22]))
def test_rows_groups_and_whole_matrices(scores: NDArray[np.float32], share: float, chunk: int) -> None:
    rows, cols = scores.shape
    given_scores = torch.from_numpy(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_masks, "CHUNK", chunk)

        weight = torch.ones(rows, cols)
        _masks.prune_rows(lambda part: given_scores[part], weight, int(cols * share))
        assert np.array_equal(dropped(weight), stable_mask(scores, int(cols * share)))

        weight = torch.ones(rows, cols)
        _masks.prune_groups(lambda part: given_scores[part], weight, (1, 4))
        assert np.array_equal(dropped(weight), stable_mask(scores.reshape(-1, 4), 3).reshape(rows, cols))

        k = max(1, int(rows * cols * share))
        threshold, ties = _masks.smallest_threshold(lambda: [given_scores], k)
        weight = torch.ones(rows, cols)
        gone = _masks.prune_smallest(lambda part: given_scores[part], weight, threshold, ties)
        assert gone == ties
        assert np.array_equal(dropped(weight), stable_mask(scores.reshape(1, -1), k).reshape(rows, cols))

        weight = torch.ones(rows, cols)
        _masks.prune_smallest(lambda part: given_scores[part], weight, threshold, None)
        assert np.array_equal(dropped(weight), scores <= threshold)


def test_a_transposed_view_is_written_through() -> None:
    stored = torch.ones(3, 4)
    _masks.prune_rows(lambda rows: torch.tensor([[3.0, 1.0, 2.0]]).expand(4, 3)[rows], stored.t(), 1)
    assert torch.equal(stored, torch.tensor([[1.0] * 4, [0.0] * 4, [1.0] * 4]))


def test_nothing_to_prune_touches_nothing() -> None:
    weight = torch.ones(2, 2)
    _masks.prune_rows(lambda rows: pytest.fail("scores were asked for"), weight, 0)
    assert torch.equal(weight, torch.ones(2, 2))


def test_pattern_by_hand() -> None:
    # Of 5 1 | 2 2 the larger of each pair stays; of equals the later.
    weight = torch.tensor([[5.0, 1.0, 2.0, 2.0]])
    _masks.prune_groups(lambda rows: weight[rows].clone(), weight, (1, 2))
    assert weight.tolist() == [[5.0, 0.0, 0.0, 2.0]]


@pytest.mark.parametrize("pattern", ["2", "2:", ":4", "4:2", "4:4", "0:4", "-1:4", "2:4:8", "1.5:4", "", "²:4"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected N:M with 0 < N < M"):
        _masks.parse_pattern(pattern)


def test_good_patterns() -> None:
    assert _masks.parse_pattern("2:4") == (2, 4)
    assert _masks.parse_pattern("1:16") == (1, 16)
    assert _masks.parse_pattern(None) is None


def test_all_indivisible_matrices_are_named() -> None:
    matrices = [MatrixInfo("a", 3, 8), MatrixInfo("b", 3, 6), MatrixInfo("c", 2, 4), MatrixInfo("d", 1, 7)]
    with pytest.raises(
        UserError, match=r"pattern 2:4 needs columns that 4 divides; 2 matrices have not: b \[3, 6\], d \[1, 7\]"
    ):
        _masks.check_pattern((2, 4), matrices)
    _masks.check_pattern((2, 4), matrices[::2])
    _masks.check_pattern(None, matrices)

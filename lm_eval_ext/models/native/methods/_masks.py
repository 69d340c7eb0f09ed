"""Which entries are the smallest: exact counts, in bounded memory, with ties broken by position."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.targets.matrix import MatrixInfo, list_matrices

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_pattern",
    "parse_pattern",
    "pattern_breaches",
    "prune_groups",
    "prune_rows",
    "prune_smallest",
    "smallest_threshold",
]

# Entries in work at a time: sorting one costs about 20 bytes, so 2**22 stay below 100 MB.
CHUNK = 2**22
_PATTERN = re.compile(r"([1-9][0-9]{0,5}):([1-9][0-9]{0,5})")


def parse_pattern(pattern: str | None) -> tuple[int, int] | None:
    """Read 'N:M' (N of every M consecutive inputs are kept) as (N, M).

    Raises:
        ValueError: If it is not two integers with 0 < N < M.
    """
    if pattern is None:
        return None
    found = _PATTERN.fullmatch(pattern)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError(f"pattern {seen(pattern)}: expected N:M with 0 < N < M, such as 2:4 (two of four kept)")
    return int(found[1]), int(found[2])


def check_pattern(pattern: tuple[int, int] | None, matrices: Iterable[MatrixInfo]) -> None:
    """Raise UserError, listing every matrix, if M does not divide some matrix's columns."""
    if pattern is None:
        return
    bad = [matrix for matrix in matrices if matrix.cols % pattern[1]]
    if bad:
        raise UserError(
            f"pattern {pattern[0]}:{pattern[1]} needs columns that {pattern[1]} divides; {len(bad)} matrices have not: "
            f"{list_matrices(bad)}. Choose another pattern, or leave them out with exclude."
        )


def _row_chunks(rows: int, cols: int) -> Iterable[slice]:
    step = max(1, CHUNK // max(cols, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def prune_rows(scores: Callable[[slice], Tensor], weight: Tensor, k: int) -> None:
    """Zero, in every row, the k entries of the lowest score; of equal scores the earlier goes first.

    Args:
        scores: Gives the scores of some rows, [rows, cols] float32.
        weight: [rows, cols], changed in place.
        k: How many entries of a row go; 0 changes nothing.
    """
    if k == 0:
        return
    for rows in _row_chunks(*weight.shape):
        part = scores(rows)
        if part.device.type == "cpu":
            weight[rows] = weight[rows].masked_fill(_lowest(part, k), 0)
        else:
            order = part.sort(dim=1, stable=True).indices[:, :k]
            weight[rows] = weight[rows].scatter(1, order, 0)


def _lowest(scores: Tensor, k: int) -> Tensor:
    """Which entries of each row are its k lowest, the earlier of equal ones first: what a stable sort puts in front.

    The k-th lowest of a row is found without sorting it, which takes a thirtieth of the time on a CPU.

    Args:
        scores: [rows, cols] float32 on the CPU, no NaN.
        k: From 1 to cols.

    Returns:
        [rows, cols], bool, k of each row.
    """
    import numpy as np
    import torch

    highest = torch.from_numpy(np.partition(scores.numpy(), k - 1, axis=1)[:, k - 1 : k])
    low = scores <= highest
    if bool((low.sum(dim=1) == k).all()):
        return low
    below, equal = scores < highest, scores == highest
    room = k - below.sum(dim=1, keepdim=True)
    return below | (equal & (equal.cumsum(dim=1) <= room))


def prune_groups(scores: Callable[[slice], Tensor], weight: Tensor, pattern: tuple[int, int]) -> None:
    """Zero, in every M consecutive columns, all but the N entries of the highest score (in place)."""
    kept, size = pattern
    for rows in _row_chunks(*weight.shape):
        part = scores(rows)
        order = part.reshape(-1, size).sort(dim=1, stable=True).indices[:, : size - kept]
        groups = weight[rows].reshape(-1, size).scatter(1, order, 0)
        weight[rows] = groups.reshape(part.shape)


def smallest_threshold(parts: Callable[[], Iterable[Tensor]], k: int) -> tuple[float, int]:
    """The k-th smallest of non-negative numbers that need not fit in memory at once.

    The bit patterns of non-negative float32 numbers are ordered as the numbers are, so two histograms of
    65,536 bins (high half, then low half of the pattern) find it exactly in two passes.

    Args:
        parts: Starts a pass over the numbers: tensors of any shape, float32, finite, no -0.0.
        k: Rank, from 1 to the count of all numbers.

    Returns:
        The k-th smallest number, and how many numbers equal to it are among the k smallest.
    """
    import torch

    high = torch.zeros(65536, dtype=torch.int64)
    for part in parts():
        for piece in _pieces(part):
            high += torch.bincount(piece.view(torch.int32).long() >> 16, minlength=65536).cpu()
    below, top = _locate(high, k)
    low = torch.zeros(65536, dtype=torch.int64)
    for part in parts():
        for piece in _pieces(part):
            bits = piece.view(torch.int32)
            inside = bits[(bits >> 16) == top].long() & 0xFFFF
            low += torch.bincount(inside, minlength=65536).cpu()
    before, bottom = _locate(low, k - below)
    value = torch.tensor((top << 16) | bottom, dtype=torch.int32).view(torch.float32)
    return float(value), k - below - before


def _pieces(part: Tensor) -> Iterable[Tensor]:
    flat = part.reshape(-1)
    return (flat[start : start + CHUNK] for start in range(0, flat.numel(), CHUNK))


def _locate(histogram: Tensor, k: int) -> tuple[int, int]:
    """Count of numbers in the bins before the one that holds rank k, and that bin."""
    import torch

    total = histogram.cumsum(0)
    bin_index = int(torch.searchsorted(total, k))
    return int(total[bin_index] - histogram[bin_index]), bin_index


def prune_smallest(scores: Callable[[slice], Tensor], weight: Tensor, threshold: float, ties: int | None) -> int:
    """Zero the entries whose score is below a threshold, and some of those that equal it.

    Args:
        scores: Gives the scores of some rows, [rows, cols] float32.
        weight: [rows, cols], changed in place.
        threshold: Scores below it go.
        ties: How many of the scores equal to it go, in order of position; None for all.

    Returns:
        How many of the ties went.
    """
    gone = 0
    for rows in _row_chunks(*weight.shape):
        part = scores(rows)
        drop = part < threshold
        equal = part == threshold
        if ties is not None:
            equal &= equal.reshape(-1).cumsum(0).reshape(equal.shape) <= ties - gone
        gone += int(equal.sum())
        weight[rows] = weight[rows].masked_fill(drop | equal, 0)
    return gone


def pattern_breaches(weight: Tensor, kept: int, size: int) -> tuple[int, int]:
    """How far a matrix is from an N:M pattern.

    Args:
        weight: [rows, cols].
        kept: N, weights of a group that may differ from zero.
        size: M, consecutive columns of a group.

    Returns:
        Groups with more than N weights that are not zero, and groups in all. Where M does not divide the columns, every
        row counts as one broken group.
    """
    if weight.shape[1] % size:
        return weight.shape[0], weight.shape[0]
    filled = (weight != 0).reshape(weight.shape[0], -1, size).sum(dim=-1)
    return int((filled > kept).sum()), filled.numel()

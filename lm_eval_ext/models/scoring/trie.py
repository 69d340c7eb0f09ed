"""Token sequences as a forest: every distinct prefix once.

Nodes are numbered in the order of a depth-first walk over the sorted sequences, so that a subtree is a range of
numbers and an ancestor comes before its descendants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Forest", "Query", "build_forest"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """One continuation to score."""

    inputs: tuple[int, ...]
    """Tokens that the model sees; the last of the continuation is not among them."""
    targets: tuple[int, ...]
    """Tokens of the continuation: the t-th last is predicted at the t-th last input."""


@dataclass(frozen=True)
class Forest:
    """Distinct prefixes of a set of sequences."""

    tokens: Ints
    """[nodes] token of each node."""
    parents: Ints
    """[nodes] number of the node before it; -1 for the first of a sequence."""
    depths: Ints
    """[nodes] position in the sequence, from 0."""
    ends: Ints
    """[nodes] one past the last node of its subtree."""
    leaves: Ints
    """[sequences] node at which each sequence, in the order given, ends."""

    def path(self, node: int) -> list[int]:
        """Nodes from the root down to this one, itself included."""
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = int(self.parents[node])
        return nodes[::-1]


def build_forest(sequences: Sequence[tuple[int, ...]]) -> Forest:
    """Merge sequences into a forest.

    Args:
        sequences: Token ids, none empty; repeated ones share all their nodes.

    Returns:
        The forest; its node count is the number of distinct prefixes.
    """
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    tokens: list[Ints] = []
    parents: list[Ints] = []
    depths: list[Ints] = []
    leaves = np.empty(len(sequences), dtype=np.int64)
    path: Ints = np.empty(0, dtype=np.int64)
    before: Ints = np.empty(0, dtype=np.int64)
    closed: list[tuple[Ints, int]] = []
    size = 0
    for index in order:
        current: Ints = np.asarray(sequences[index], dtype=np.int64)
        shared = _common(before, current)
        fresh = len(current) - shared
        numbers: Ints = np.arange(size, size + fresh)
        closed.append((path[shared:], size))
        path = np.concatenate([path[:shared], numbers])
        if fresh:
            tokens.append(current[shared:])
            depths.append(np.arange(shared, len(current)))
            parents.append(np.concatenate([path[shared - 1 : shared] if shared else [-1], numbers[:-1]]))
        leaves[index] = path[-1]
        before, size = current, size + fresh
    closed.append((path, size))
    ends = np.empty(size, dtype=np.int64)
    for nodes, end in closed:
        ends[nodes] = end
    parent = np.concatenate(parents).astype(np.int64)
    return Forest(np.concatenate(tokens), parent, np.concatenate(depths), ends, leaves)


def _common(first: Ints, second: Ints) -> int:
    """Length of the common prefix of two arrays."""
    short = min(len(first), len(second))
    different = np.flatnonzero(first[:short] != second[:short])
    return int(different[0]) if len(different) else short

"""A forest cut into rows of bounded length, and rows into groups that share a cached prefix.

A row holds whole subtrees and whatever of their ancestors is not in the group's prefix. Cutting repeats
ancestors, long rows waste attention on what they must not see: rows of a few hundred tokens lie between.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lm_eval_ext.models.scoring.trie import Forest, Ints

__all__ = ["Group", "best_row_length", "pack"]

# A prefix is cached on its own where that saves at least this share of the group's tokens.
_WORTH = 0.02


@dataclass
class Group:
    """Rows behind one common prefix."""

    prefix: Ints
    """Nodes of the prefix, from the root; empty for rows that start at their roots."""
    rows: list[Ints] = field(default_factory=list)
    """Nodes of each row in depth-first order, ancestors below the prefix included."""


def pack(forest: Forest, queries_per_node: Ints, row_tokens: int) -> list[Group]:
    """Cut a forest into rows.

    Args:
        forest: What to score.
        queries_per_node: [nodes] above zero where something is scored; such nodes are never in a prefix.
        row_tokens: Length of a row. A sequence that is longer gets a row of its own length.

    Returns:
        Groups whose rows together hold every node below their prefix at least once. An ancestor that several
        pieces need stands before each of them, so a node may be in more than one row, or in a row twice.
    """
    groups: list[Group] = []
    loose = Group(prefix=np.empty(0, dtype=np.int64))
    pieces: list[Ints] = []
    for root in np.flatnonzero(forest.parents < 0):
        prefix = _prefix(forest, int(root), queries_per_node)
        size = int(forest.ends[root] - root)
        rows = max(1, -(-size // row_tokens))
        if len(prefix) * (rows - 1) < _WORTH * size:
            pieces += _pieces(forest, int(root), row_tokens, 0)
            continue
        children = _children(forest, int(prefix[-1]))
        below = [piece for child in children for piece in _pieces(forest, child, row_tokens, len(prefix))]
        groups.append(Group(prefix=prefix, rows=_fill(below, row_tokens)))
    loose.rows = _fill(pieces, row_tokens)
    return [*groups, loose] if loose.rows else groups


def best_row_length(forest: Forest, queries_per_node: Ints, cell_cost: float, longest: int) -> int:
    """Choose the length of rows: short ones repeat ancestors and pad, long ones attend to what they must not see.

    Args:
        forest: What to score.
        queries_per_node: As for `pack`.
        cell_cost: Cost of a cell of the attention mask, relative to that of a token.
        longest: Largest length to consider.

    Returns:
        The length, out of fractions of the longest, at which tokens + cells x `cell_cost` are fewest.
    """
    lengths = sorted({max(1, longest * eighths // 8) for eighths in (2, 3, 4, 6, 8)}, reverse=True)

    def cost(length: int) -> float:
        total = 0.0
        for group in pack(forest, queries_per_node, length):
            sizes = [len(row) for row in group.rows]
            total += len(group.prefix) + sum(size + size * (size + len(group.prefix)) * cell_cost for size in sizes)
        return total

    return min(lengths, key=cost)


def _prefix(forest: Forest, root: int, scored: Ints) -> Ints:
    """Nodes from the root down to the first branch or scored node (which is left out)."""
    nodes = []
    node = root
    while scored[node] == 0 and node + 1 < forest.ends[node]:
        nodes.append(node)
        if forest.ends[node + 1] != forest.ends[node]:
            break
        node += 1
    return np.asarray(nodes, dtype=np.int64)


def _children(forest: Forest, node: int) -> Iterator[int]:
    child = node + 1
    while child < forest.ends[node]:
        yield child
        child = int(forest.ends[child])


def _pieces(forest: Forest, top: int, limit: int, above: int) -> list[Ints]:
    """Cut the subtree of `top`, whose ancestors from depth `above` on are not cached, into runs of nodes."""
    pieces: list[Ints] = []
    # A stack rather than recursion: a sequence may branch at each of its thousands of tokens.
    waiting = [top]
    while waiting:
        node = waiting.pop()
        ancestors = forest.path(node)[above:-1]
        if len(ancestors) + forest.ends[node] - node <= limit:
            pieces.append(np.asarray([*ancestors, *range(node, int(forest.ends[node]))], dtype=np.int64))
            continue
        # Down the chain to the branch; then the branches in order, as many to a piece as fit, with their path in front.
        start = node
        while node + 1 < forest.ends[node] and forest.ends[node + 1] == forest.ends[node]:
            node += 1
        path = [*ancestors, *range(start, node + 1)]
        placed = len(pieces)
        open_piece: list[int] = []
        held = False
        for child in _children(forest, node):
            size = int(forest.ends[child] - child)
            if len(path) + size > limit and size > 1:
                waiting.append(child)
                held = True
                continue
            if open_piece and len(path) + len(open_piece) + size > limit:
                pieces.append(np.asarray([*path, *open_piece], dtype=np.int64))
                open_piece = []
            open_piece += range(child, child + size)
        if open_piece or (len(pieces) == placed and not held):
            pieces.append(np.asarray([*path, *open_piece], dtype=np.int64))
    return pieces


def _fill(pieces: list[Ints], limit: int) -> list[Ints]:
    """Best fit, longest first: pieces into rows of at most `limit` nodes (one longer piece is a row)."""
    rows: list[list[Ints]] = []
    rooms: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        place = bisect_left(rooms, (len(piece), -1))
        if place == len(rooms):
            rows.append([piece])
            room, row = limit - len(piece), len(rows) - 1
        else:
            room, row = rooms.pop(place)
            rows[row].append(piece)
            room -= len(piece)
        if room > 0:
            insort(rooms, (room, row))
    return [np.concatenate(row) for row in rows]

"""A row of packed tokens as tensors: who sits where, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lm_eval_ext.models.scoring.trie import Forest, Ints

__all__ = ["Row", "packed_row", "stretched"]

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One row as tensors on the CPU."""

    tokens: Tensor
    """[length]"""
    positions: Tensor
    """[length] depth of each node."""
    visible: Tensor
    """[length, length] bool: which nodes of the row a node may attend to (itself and its ancestors)."""
    scored: list[tuple[int, int]]
    """Index in the row and number of the node, for the nodes that are scored here."""


def packed_row(forest: Forest, nodes: Ints, above: int, scored: Ints, claimed: Flags) -> Row:
    """Tensors of one row; claims the nodes that it scores, so that a later copy of one is not scored again.

    Args:
        forest: What is scored.
        nodes: Numbers of the row's nodes, piece after piece.
        above: Tokens of the cached prefix before it.
        scored: [nodes of the forest] above 0 where something is scored.
        claimed: [nodes of the forest] true where that is done elsewhere; set for the nodes scored here.
    """
    # A piece begins where the prefix ends; in it an ancestor's subtree, a range of numbers, holds the node.
    piece = np.cumsum(forest.depths[nodes] == above)
    visible = piece[:, None] == piece
    visible &= nodes <= nodes[:, None]
    visible &= nodes[:, None] < forest.ends[nodes]
    # A node that stands in several rows, or in several pieces of one, is scored at the first place only.
    fresh = np.flatnonzero((scored[nodes] > 0) & ~claimed[nodes])
    _, first = np.unique(nodes[fresh], return_index=True)
    places = np.sort(fresh[first])
    claimed[nodes[places]] = True
    wanted = list(zip(places.tolist(), nodes[places].tolist(), strict=True))
    return Row(
        torch.from_numpy(forest.tokens[nodes]),
        torch.from_numpy(forest.depths[nodes]),
        torch.from_numpy(visible),
        wanted,
    )


def stretched(row: Row, node: int, length: int, vocabulary: int) -> Row:
    """The same row with all else that is in it, and tokens that nobody sees, between the halves of one sequence.

    Whoever takes distances from the order of tokens in a row, rather than from their depth, gets that sequence wrong.

    Args:
        row: As it is packed.
        node: A node that is scored in it: the end of the sequence.
        length: Tokens that the row should have at least.
        vocabulary: Number of token ids.
    """
    end = next(place for place, number in row.scored if number == node)
    path = row.visible[end].nonzero().flatten().tolist()
    cut = path[len(path) // 2]
    behind = row.visible[:, cut]
    order = torch.cat([(~behind).nonzero().flatten(), behind.nonzero().flatten()])
    size, first = len(order), int((~behind).sum())
    fill = max(0, length - size)
    kept = torch.cat([torch.arange(first), torch.arange(first + fill, size + fill)])
    tokens = torch.arange(size + fill) % vocabulary
    positions = torch.full((size + fill,), int(row.positions[cut]))
    visible = torch.eye(size + fill, dtype=torch.bool)
    # What is put between sees the first half, as another branch would.
    visible[first : first + fill, kept] = (row.visible[cut] & ~behind)[order]
    tokens[kept], positions[kept] = row.tokens[order], row.positions[order]
    visible[kept[:, None], kept] = row.visible[order][:, order]
    places = {int(old): int(new) for old, new in zip(order, kept, strict=True)}
    return Row(tokens, positions, visible, [(places[place], number) for place, number in row.scored])

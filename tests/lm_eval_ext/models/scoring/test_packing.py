"""Rows: everything is in one, after its ancestors, and no longer than asked."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lm_eval_ext.models.scoring.packing import best_row_length, pack
from lm_eval_ext.models.scoring.rows import packed_row
from lm_eval_ext.models.scoring.trie import Forest, build_forest

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=30)


def scored_of(forest: Forest, tails: int = 1) -> np.ndarray:
    """The last `tails` nodes of every sequence are scored."""
    scored = np.zeros(len(forest.tokens), dtype=np.int64)
    for leaf in forest.leaves.tolist():
        scored[forest.path(leaf)[-tails:]] = 1
    return scored


def pieces_of(forest: Forest, row: np.ndarray, prefix: int) -> list[list[int]]:
    """A row cut wherever a node stands directly below the prefix (or is a root): every piece begins with such a node.

    Pieces that hold several such nodes are cut between them too, which separates nothing that may see each other.
    """
    starts = [place for place, node in enumerate(row.tolist()) if forest.depths[node] == prefix]
    assert starts[0] == 0
    return [row[first:last].tolist() for first, last in zip(starts, [*starts[1:], len(row)], strict=True)]


@given(SEQUENCES, st.integers(4, 40), st.integers(1, 3))
def test_rows_hold_all_nodes_behind_their_ancestors(sequences: list[tuple[int, ...]], limit: int, tails: int) -> None:
    forest = build_forest(sequences)
    scored = scored_of(forest, tails)
    groups = pack(forest, scored, limit)
    seen: set[int] = set()
    for group in groups:
        prefix = group.prefix.tolist()
        assert not scored[prefix].any()
        assert prefix == (forest.path(prefix[-1]) if prefix else [])
        seen |= set(prefix)
        for row in group.rows:
            for piece in pieces_of(forest, row, len(prefix)):
                # Anew for each piece: an ancestor in another piece of the row is not this piece's.
                placed: set[int] = set(prefix)
                for node in piece:
                    assert node not in placed
                    parent = int(forest.parents[node])
                    assert parent < 0 or parent in placed
                    placed.add(node)
                seen |= placed
    assert seen == set(range(len(forest.tokens)))


@given(SEQUENCES, st.integers(4, 40), st.integers(1, 3))
def test_a_node_sees_its_path_in_its_own_piece_and_nothing_else(
    sequences: list[tuple[int, ...]], limit: int, tails: int
) -> None:
    forest = build_forest(sequences)
    scored = scored_of(forest, tails)
    taken: list[int] = []
    claimed = np.zeros(len(forest.tokens), dtype=bool)
    for group in pack(forest, scored, limit):
        above = len(group.prefix)
        for nodes in group.rows:
            row = packed_row(forest, nodes, above, scored, claimed)
            taken += [node for _, node in row.scored]
            start = 0
            for piece in pieces_of(forest, nodes, above):
                places = {node: start + offset for offset, node in enumerate(piece)}
                for node, place in places.items():
                    path = forest.path(node)[above:]
                    assert row.visible[place].nonzero().flatten().tolist() == [places[step] for step in path]
                    assert int(row.positions[place]) == above + len(path) - 1
                    assert int(row.tokens[place]) == forest.tokens[node]
                start += len(piece)
    # Every node that is to be scored is, in one of its copies.
    assert sorted(taken) == np.flatnonzero(scored).tolist()


def test_a_repeated_ancestor_is_seen_in_the_copy_of_its_own_piece() -> None:
    # Root 7 is node 0; below it 1 (node 1, its leaves 2 to 9) and 2 (node 10, its leaves from 11 on).
    forest = build_forest([(7, branch, leaf) for branch in (1, 2) for leaf in range(10, 18)])
    nodes = np.array([0, 1, 2, 3, 0, 10, 11])  # 7 1 10 11 | 7 2 10
    scored = scored_of(forest)
    row = packed_row(forest, nodes, 0, scored, np.zeros(len(forest.tokens), dtype=bool))
    assert row.tokens.tolist() == [7, 1, 10, 11, 7, 2, 10]
    seen = [line.nonzero().flatten().tolist() for line in row.visible]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [4], [4, 5], [4, 5, 6]]
    assert row.positions.tolist() == [0, 1, 2, 2, 0, 1, 2]


@given(SEQUENCES, st.integers(4, 40))
def test_rows_are_no_longer_than_asked_or_than_one_sequence(sequences: list[tuple[int, ...]], limit: int) -> None:
    forest = build_forest(sequences)
    bound = max(limit, int(forest.depths.max()) + 1)
    assert all(len(row) <= bound for group in pack(forest, scored_of(forest), limit) for row in group.rows)


def test_a_long_common_beginning_is_kept_apart() -> None:
    beginning = tuple(range(100, 140))
    forest = build_forest([(*beginning, i, j) for i in range(20) for j in range(3)])
    (group,) = pack(forest, scored_of(forest), 32)
    assert forest.tokens[group.prefix].tolist() == list(beginning)
    # 20 branches of four nodes in rows of 32: eight to a row, three rows, nothing twice.
    assert sorted(len(row) for row in group.rows) == [16, 32, 32]


def test_one_node_with_very_many_children() -> None:
    forest = build_forest([(7, 8, i) for i in range(3000)])
    groups = pack(forest, scored_of(forest), 64)
    rows = [row for group in groups for row in group.rows]
    assert max(map(len, rows)) <= 64
    assert {int(node) for row in rows for node in row if forest.depths[node] == 2} == set(range(2, 3002))


def test_a_sequence_that_branches_at_every_token_is_no_recursion() -> None:
    main = list(range(1, 3001))
    forest = build_forest([(*main[:n], 0) for n in range(1, 3000)])
    groups = pack(forest, scored_of(forest), 4096)
    assert len({int(node) for group in groups for row in group.rows for node in row}) == len(forest.tokens)


def test_the_length_of_rows_follows_the_cost_of_attention() -> None:
    # 40 prompts of 60 tokens behind 40 cached ones: two fill a quarter of 512, and longer rows save no token.
    draw = random.Random(0)
    prompts = [(*range(200, 240), 5 + i, *(draw.randrange(100) for _ in range(59))) for i in range(40)]
    forest = build_forest(prompts)
    assert best_row_length(forest, scored_of(forest), 1.0, 512) == 128
    assert best_row_length(forest, scored_of(forest), 0.0, 512) > 128

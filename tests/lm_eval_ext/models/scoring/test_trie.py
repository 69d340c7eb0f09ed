"""Sequences as a forest, against sets of prefixes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lm_eval_ext.models.scoring.trie import build_forest

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple), min_size=1, max_size=25)


@given(SEQUENCES)
def test_one_node_a_distinct_prefix(sequences: list[tuple[int, ...]]) -> None:
    forest = build_forest(sequences)
    prefixes = {sequence[:n] for sequence in sequences for n in range(1, len(sequence) + 1)}
    spelt = {tuple(int(forest.tokens[node]) for node in forest.path(node)) for node in range(len(forest.tokens))}
    assert spelt == prefixes
    assert len(forest.tokens) == len(prefixes)


@given(SEQUENCES)
def test_every_sequence_ends_at_its_leaf(sequences: list[tuple[int, ...]]) -> None:
    forest = build_forest(sequences)
    for sequence, leaf in zip(sequences, forest.leaves.tolist(), strict=True):
        path = forest.path(leaf)
        assert tuple(forest.tokens[path].tolist()) == sequence
        assert forest.depths[path].tolist() == list(range(len(sequence)))


@given(SEQUENCES)
def test_subtrees_are_ranges(sequences: list[tuple[int, ...]]) -> None:
    forest = build_forest(sequences)
    for node in range(len(forest.tokens)):
        below = {other for other in range(len(forest.tokens)) if node in forest.path(other)}
        assert below == set(range(node, int(forest.ends[node])))


def test_by_hand() -> None:
    # 1-2-3 and 1-2-4 share two nodes, 5 stands alone: sorted walk 1, 2, 3, 4, 5.
    forest = build_forest([(5,), (1, 2, 4), (1, 2, 3), (1, 2, 4)])
    assert forest.tokens.tolist() == [1, 2, 3, 4, 5]
    assert forest.parents.tolist() == [-1, 0, 1, 1, -1]
    assert forest.depths.tolist() == [0, 1, 2, 2, 0]
    assert forest.ends.tolist() == [4, 4, 3, 4, 5]
    assert forest.leaves.tolist() == [4, 3, 2, 3]

"""Windows over a document: every token once, as much context as fits; behind one token they are lm_eval's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lm_eval_ext.errors import UserError
from lm_eval_ext.tokens.rolling import rolling_windows

LENGTHS = st.integers(0, 60)


@settings(max_examples=200)
@given(count=LENGTHS, max_length=st.integers(1, 20))
def test_behind_one_token_they_are_lm_evals(count: int, max_length: int) -> None:
    tokens = list(range(100, 100 + count))
    theirs = map(make_disjoint_window, get_rolling_token_windows(tokens, 7, max_length, 1))
    assert rolling_windows([7], tokens, max_length) == list(theirs)


@settings(max_examples=300)
@given(count=LENGTHS, before=st.integers(1, 4), room=st.integers(1, 16), each=st.booleans())
def test_every_token_is_scored_once_behind_what_came_before(count: int, before: int, room: int, each: bool) -> None:
    prefix, tokens = list(range(1, before + 1)), list(range(100, 100 + count))
    max_length = before + room
    windows = rolling_windows(prefix, tokens, max_length, each=each)
    assert [token for _, scored in windows for token in scored] == tokens
    for number, (context, scored) in enumerate(windows):
        inputs = [*context, *scored[:-1]]
        start = scored[0] - 100
        if number == 0 or each:
            assert context[:before] == prefix
            context = context[before:]
        # What is left is the document itself, up to the first scored token.
        whole = tokens if number == 0 or each else [*prefix, *tokens]
        end = start + len(whole) - len(tokens)
        assert context == whole[end - len(context) : end]
        assert number == 0 or len(context) >= 1
        full = len(inputs) == max_length
        assert full or (number == 0 and len(windows) == 1)


def test_no_room_for_what_comes_before() -> None:
    assert rolling_windows([1, 2], [100], 2) == [([1, 2], [100])]
    with pytest.raises(UserError, match="max_length=1 has no room for the 2 tokens before a document"):
        rolling_windows([1, 2], [100], 1)
    with pytest.raises(UserError, match="max_length=2 has no room for the 2 tokens before a document"):
        rolling_windows([1, 2], [100], 2, each=True)

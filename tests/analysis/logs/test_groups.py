from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.logs.groups import decode_groups, decode_options, encode_groups, encode_options
from analysis.logs.values import LogError

NAMES = st.lists(st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), min_size=1), max_size=4)


def test_groups_are_sorted_and_joined() -> None:
    assert encode_groups(["old", "F-Black", "M"]) == "F-Black | M | old"
    assert encode_options([["lowSES", "old"], [], ["young"]]) == "lowSES | old ||  || young"
    assert decode_options("lowSES | old ||  || young") == (("lowSES", "old"), (), ("young",))


@pytest.mark.parametrize("nothing", [None, []])
def test_no_groups_are_missing(nothing: object) -> None:
    assert encode_groups(nothing) is None
    assert encode_options(nothing) is None
    assert encode_options([[], [], []]) is None
    assert decode_groups(None) == decode_options(None) == ()


@given(NAMES, st.lists(NAMES, max_size=4))
def test_what_is_encoded_comes_back(groups: list[str], options: list[list[str]]) -> None:
    assert decode_groups(encode_groups(groups)) == tuple(sorted(groups))
    if any(options):
        assert decode_options(encode_options(options)) == tuple(map(tuple, options))


@pytest.mark.parametrize("wrong", ["old", [1], ["a|b"], {"a": 1}])
def test_what_can_not_come_back_is_named(wrong: object) -> None:
    with pytest.raises(LogError, match="names without"):
        encode_groups(wrong)
    with pytest.raises(LogError, match="expected a list of"):
        encode_options([wrong] if wrong != {"a": 1} else wrong)


def test_half_characters_become_question_marks() -> None:
    assert encode_groups(["a\ud83d"]) == "a?"

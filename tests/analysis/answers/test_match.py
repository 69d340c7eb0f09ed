"""Pairing by key: against a pandas merge on random frames, with missing seeds, and with answers given twice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.answers.match import KEY, match, match_codes
from analysis.errors import UserError

KEYS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["i0", "i1", "i2", "i10"]), st.sampled_from([None, 1, 2])),
    unique=True,
    max_size=15,
)


def frame(keys: list[tuple[str, str, int | None]], categories: list[str] | None = None) -> pd.DataFrame:
    out = pd.DataFrame(keys, columns=KEY).astype({"filter": "string", "item_id": "string", "seed": "Int64"})
    out.index = pd.Index(range(100, 100 + len(out)))  # places are no index
    return out if categories is None else out.astype({"item_id": pd.CategoricalDtype(categories)})


@given(KEYS, KEYS, st.booleans())
def test_the_rows_are_those_of_a_merge_on_the_key(
    run: list[tuple[str, str, int | None]], baseline: list[tuple[str, str, int | None]], coded: bool
) -> None:
    own, other = (frame(keys, ["i10", "i2", "i1", "i0"] if coded else None) for keys in (run, baseline))
    found = match(own, other)
    sides = [side.astype({"item_id": "string"}).assign(place=range(len(side))) for side in (own, other)]
    merged = sides[0].merge(sides[1], on=KEY, how="outer", suffixes=("", "_baseline"), indicator=True)
    both = merged[merged["_merge"] == "both"]
    assert set(zip(found.run, found.baseline, strict=True)) == set(
        zip(both["place"].astype(int), both["place_baseline"].astype(int), strict=True)
    )
    assert set(found.run_alone) == set(merged.loc[merged["_merge"] == "left_only", "place"])
    assert set(found.baseline_alone) == set(merged.loc[merged["_merge"] == "right_only", "place_baseline"])


def test_pairs_are_in_the_order_of_their_keys_whatever_the_order_of_the_rows() -> None:
    own = frame([("a", "i2", None), ("a", "i1", None), ("a", "i0", None)])
    found = match(own, own)
    assert own["item_id"].iloc[found.run].tolist() == ["i0", "i1", "i2"]
    found = match(own, own.iloc[[1, 0]])
    assert own["item_id"].iloc[found.run].tolist() == ["i1", "i2"]
    assert found.run_alone.tolist() == [2]


def test_categoricals_of_other_categories_are_matched_by_their_values() -> None:
    keys = [("a", "i0", 1), ("a", "i1", 1)]
    found = match(frame(keys, ["i0", "i1"]), frame(keys[1:], ["i1"]))
    assert (found.run.tolist(), found.baseline.tolist(), found.run_alone.tolist()) == ([1], [0], [0])


def test_an_answer_given_twice_is_named() -> None:
    twice = frame([("a", "i0", 1), ("a", "i1", 2), ("a", "i1", 2), ("a", "i1", None)])
    line = r"one run answers filter a, item_id i1, seed 2 more than once \(1 such answers\): keep one answer per"
    for sides in ((twice, frame([])), (frame([]), twice)):
        with pytest.raises(UserError, match=line):
            match(*sides)


def test_numbers_are_matched_as_they_are() -> None:
    found = match_codes(np.array([5, 3, 9]), np.array([9, 4, 5, 1]))
    assert (found.run.tolist(), found.baseline.tolist()) == ([0, 2], [2, 0])
    assert (found.run_alone.tolist(), found.baseline_alone.tolist()) == ([1], [3, 1])

from __future__ import annotations

from math import sqrt
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import t

from analysis.schema.items import ITEMS
from analysis.tables.flips import FLIP_COLUMNS, FLIPS, flips

RUNS = pd.DataFrame({"run": ["dense", "w"], "baseline": [None, "dense"]})


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of the columns that flips need, with ITEMS' dtypes."""
    defaults = {"task": "t", "filter": "none", "seed": None, "status": "answered", "choice": None, "text": None}
    rows = [{"metric": "acc" if row.get("correct") is not None else None} | row for row in rows]
    full = pd.DataFrame([defaults | row for row in rows], columns=list(FLIP_COLUMNS))
    return full.astype({column.name: column.dtype for column in ITEMS.columns if column.name in FLIP_COLUMNS})


def answers(run: str, choices: list[int | None], key: int = 0, **rest: Any) -> list[dict[str, Any]]:
    """One row per item; a choice of None is an unscored answer."""
    return [
        {
            "run": run,
            "item_id": f"i{i}",
            "choice": choice,
            "correct": choice == key,
            "status": "unscored" if choice is None else "answered",
            **rest,
        }
        for i, choice in enumerate(choices)
    ]


def row(items: list[dict[str, Any]]) -> dict[str, Any]:
    found = flips(frame(items), RUNS)
    assert len(found) == 1
    return dict(found.iloc[0])


def test_a_case_by_hand() -> None:
    # item:      0  1  2  3  4  5     key 0
    # dense:     0  0  0  1  1  2     correct 3 of 6
    # wanda:     0  0  1  0  2  2     correct 3 of 6; 2 turns wrong, 3 turns right, 4 is wrong in another way
    found = row(answers("dense", [0, 0, 0, 1, 1, 2]) + answers("w", [0, 0, 1, 0, 2, 2]))
    # Six items of their own, two of which flip: the mean's error is sqrt((2 x 4/9 + 4 x 1/9) / (6 x 5)), in log-odds
    # divided by 1/3 x 2/3; Student's t with 5 degrees of freedom.
    reach = t.isf(0.025, 5) * sqrt((2 * 4 / 9 + 4 / 9) / 30) / (2 / 9)
    low, high = expit(logit(1 / 3) - reach), expit(logit(1 / 3) + reach)
    assert found == {
        "run": "w",
        "baseline": "dense",
        "task": "t",
        "filter": "none",
        "metric": "acc",
        "n_items": 6,
        "n": 6,
        "both_correct": 2,
        "both_wrong": 2,
        "correct_to_wrong": 1,
        "wrong_to_correct": 1,
        "flip_rate": pytest.approx(2 / 6),
        "flip_rate_low": pytest.approx(low),
        "flip_rate_high": pytest.approx(high),
        "net_change": 0.0,
        "accuracy_baseline": 0.5,
        "accuracy": 0.5,
        "changed_same_correctness": 1,
        "n_without_key": 0,
        "changed_without_key": 0,
        # Items 2, 3 and 4 have another answer.
        "changed_rate": 0.5,
    }


CHOICES = st.lists(st.tuples(*(st.one_of(st.none(), st.integers(0, 2)) for _ in range(2))), min_size=1, max_size=30)


@given(CHOICES)
def test_margins_add_up(pairs: list[tuple[int | None, int | None]]) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    found = row(answers("dense", before) + answers("w", after))
    cells = ("both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct")
    assert sum(found[name] for name in cells) == found["n"] == len(pairs)
    assert found["both_correct"] + found["correct_to_wrong"] == before.count(0)
    assert found["both_correct"] + found["wrong_to_correct"] == after.count(0)
    assert found["net_change"] == pytest.approx(found["accuracy"] - found["accuracy_baseline"])
    changed = sum(old != new and (old == 0) == (new == 0) for old, new in pairs)
    assert found["changed_same_correctness"] == changed


@given(CHOICES)
def test_swapping_the_runs_swaps_the_directions(pairs: list[tuple[int | None, int | None]]) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    there = row(answers("dense", before) + answers("w", after))
    back = row(answers("dense", after) + answers("w", before))
    assert there["correct_to_wrong"] == back["wrong_to_correct"]
    assert there["flip_rate"] == back["flip_rate"]
    assert there["net_change"] == pytest.approx(-back["net_change"])


def test_rows_without_a_key_are_counted_apart_and_those_without_a_partner_not_at_all() -> None:
    items = answers("dense", [0, 1]) + answers("w", [1, 1])
    more = [
        {"run": "dense", "item_id": "keyless", "choice": 0, "correct": None},
        {"run": "w", "item_id": "keyless", "choice": 1, "correct": True},
        {"run": "w", "item_id": "alone", "choice": 1, "correct": True},
    ]
    # Of the two keyed pairs one has another answer, and so has the third.
    rates = {"changed_rate": pytest.approx(2 / 3)}
    assert row(items)["changed_rate"] == 0.5
    assert row(items + more) == row(items) | {"n_without_key": 1, "changed_without_key": 1} | rates


def test_seeds_and_filters_are_paired_with_their_own() -> None:
    items = [
        part | {"item_id": "i0", "seed": seed, "filter": name}
        for name in ("a", "b")
        for seed in (1, 2)
        for part in (*answers("dense", [seed % 2]), *answers("w", [0]))
    ]
    found = flips(frame(items), RUNS)
    assert found["filter"].tolist() == ["a", "b"]
    assert found["n"].tolist() == [2, 2]
    assert found["n_items"].tolist() == [1, 1]
    assert found["wrong_to_correct"].tolist() == [1, 1]


def test_texts_tell_answers_apart_where_there_is_no_option() -> None:
    texts = {"dense": ["5", "6", "7"], "w": ["5", "9", "4"]}
    items = [
        {"run": run, "item_id": f"i{i}", "text": text, "correct": text == "4"}
        for run, given_texts in texts.items()
        for i, text in enumerate(given_texts)
    ]
    assert row(items)["changed_same_correctness"] == 1


def test_answers_that_the_log_does_not_name_have_no_count() -> None:
    items = [{"run": run, "item_id": "i0", "correct": False} for run in ("dense", "w")]
    assert row(items)["changed_same_correctness"] is pd.NA


def test_texts_that_no_metric_calls_right_or_wrong_have_a_rate_of_change_and_no_flips() -> None:
    # A metric that is a share: all texts changed, and nothing can be said to have flipped.
    items = [
        {"run": run, "item_id": f"i{i}", "text": f"{run} {i}", "correct": None}
        for run in ("dense", "w")
        for i in range(4)
    ]
    found = row(items)
    assert (found["n"], found["n_without_key"], found["changed_without_key"]) == (0, 4, 4)
    assert found["changed_rate"] == 1.0
    assert [found[name] for name in ("metric", "flip_rate", "accuracy")] == [pd.NA] * 3


def test_what_two_metrics_call_right_is_not_mixed() -> None:
    old, new = answers("dense", [0, 0, 1], metric="acc"), answers("w", [0, 1, 0], metric="acc_norm")
    found = row(old + new)
    assert (found["n"], found["n_without_key"]) == (0, 3)
    assert [found[name] for name in ("metric", "accuracy", "flip_rate")] == [pd.NA] * 3
    assert row(old + answers("w", [0, 1, 0], metric="acc"))["accuracy"] == pytest.approx(2 / 3)


def test_nothing_to_compare_gives_an_empty_table() -> None:
    assert flips(frame(answers("dense", [0])), RUNS).equals(FLIPS.empty())
    assert flips(frame([]), RUNS.head(1)).equals(FLIPS.empty())

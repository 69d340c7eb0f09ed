from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.answers.changed import CHANGED_COLUMNS, changed
from analysis.schema.items import ITEMS


def rows(*given: dict[str, Any]) -> pd.DataFrame:
    defaults = {"status": "answered", "choice": None, "text": None, "correct": None}
    frame = pd.DataFrame([defaults | row for row in given], columns=list(CHANGED_COLUMNS))
    return frame.astype({column.name: column.dtype for column in ITEMS.columns if column.name in CHANGED_COLUMNS})


CASES: list[tuple[dict[str, Any], dict[str, Any], Any]] = [
    # run, baseline, whether the answer is another
    ({"choice": 1}, {"choice": 1}, False),
    ({"choice": 1}, {"choice": 2}, True),
    ({"choice": 1, "text": "B"}, {"choice": 1, "text": "B) The"}, False),  # the same option in other words
    ({"text": "4"}, {"text": "4"}, False),
    ({"text": "4"}, {"text": "5"}, True),
    ({"status": "unparsed", "text": "?"}, {"status": "unparsed", "text": "!"}, False),
    ({"status": "unparsed"}, {"status": "unscored"}, True),
    ({"status": "unparsed"}, {"choice": 0}, True),
    ({"correct": True}, {"correct": False}, True),  # not named, but right and wrong are two answers
    ({"correct": True}, {"correct": True}, pd.NA),
    ({}, {}, pd.NA),
    ({"choice": 1}, {"text": "4"}, pd.NA),
    ({"choice": 1, "correct": True}, {"choice": 1, "correct": False}, True),  # the key is another: targets differ
    ({"status": "unscored", "correct": False}, {"status": "unscored", "correct": False}, False),
]


def test_each_way_to_differ() -> None:
    found = changed(rows(*(case[0] for case in CASES)), rows(*(case[1] for case in CASES)))
    assert found.tolist() == [case[2] for case in CASES]
    assert found.dtype == "boolean"


def test_no_pairs_give_no_rows_and_the_index_is_the_runs() -> None:
    assert changed(rows(), rows()).tolist() == []
    run = rows({"choice": 1}, {"choice": 2}).set_axis([7, 9])
    assert changed(run, rows({"choice": 1}, {"choice": 1})).to_dict() == {7: False, 9: True}

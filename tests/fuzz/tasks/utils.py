"""Rows and scores of the small tasks that the fuzz test reads: everything made up, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from tests.helpers.bbq_raw import OLD_FIRST, Answers, raw_row

SIZE = 24
_THINGS = ("ferry", "bridge", "orchard", "lantern", "kettle", "ladder", "harbour", "bicycle")
_PLACES = ("north", "south", "east", "west")
_YOUNG_FIRST: Answers = (["niece", "nonOld"], ["aunt", "old"], ["Not known", "unknown"])


def _test(rows: list[dict[str, Any]]) -> dict[str, datasets.Dataset]:
    return {"test": datasets.Dataset.from_list(rows)}


def load_choices(**_: Any) -> dict[str, datasets.Dataset]:
    """Questions with four options of unequal length, so that acc and acc_norm can differ."""
    rows = [
        {
            "question": f"Where does the {_THINGS[i % 8]} of house {i} stand?",
            "choices": [f"in the {place}", f"near the {_THINGS[(i + 3) % 8]} of the old town", "nowhere", place],
            "answer": i % 4,
        }
        for i in range(SIZE)
        for place in [_PLACES[i % 4]]
    ]
    return _test(rows)


def load_sums(**_: Any) -> dict[str, datasets.Dataset]:
    """Sums that are answered in words and numbers."""
    return _test([{"question": f"What is {i} and {i % 7}?", "answer": str(i + i % 7)} for i in range(SIZE)])


def load_texts(**_: Any) -> dict[str, datasets.Dataset]:
    """Short texts."""
    return _test([{"page": f"The {_THINGS[i % 8]} of house {i} was painted {_PLACES[i % 4]} again."} for i in range(8)])


def load_bbq(**_: Any) -> dict[str, datasets.Dataset]:
    """Rows in BBQ's published format, four a template."""
    rows = []
    for i in range(SIZE):
        ambiguous, negative = i % 2 == 0, i % 4 < 2
        answers = OLD_FIRST if i % 3 else _YOUNG_FIRST
        old = 0 if answers is OLD_FIRST else 1
        rows.append(
            raw_row(
                i,
                question_index=str(i // 4),
                polarity="neg" if negative else "nonneg",
                condition="ambig" if ambiguous else "disambig",
                answers=answers,
                label=2 if ambiguous else old,
            )
        )
    return _test(rows)


def shares(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """The probability of the right options among all, which is no 0 or 1: what truthfulqa_mc2 calls acc."""
    weights = np.exp(np.array([score for score, _ in results], dtype=float))
    total = float(weights.sum())
    return {"acc": float(weights[doc["answer"]] / total) if total and math.isfinite(total) else 0.0}

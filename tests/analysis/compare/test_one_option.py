"""Runs that follow the place of an option are named."""

from __future__ import annotations

import pandas as pd

from analysis.compare.one_option import one_option_issues

RUNS = pd.DataFrame({"run": ["dense", "rtn-4"], "file": ["a/results_1.json", "a/results_2.json"]})


ORDERS = ("toward | against | neutral", "neutral | toward | against", "against | neutral | toward")


def items(run: str, choices: list[int | None], orders: tuple[str, ...] = ORDERS) -> pd.DataFrame:
    """Answers to items in which the axes stand in these orders in turn."""
    status = ["unparsed" if choice is None else "answered" for choice in choices]
    frame = pd.DataFrame({"run": run, "task": "bbq", "status": status, "choice": choices})
    frame["option_axes"] = [orders[i % len(orders)] for i in range(len(choices))]
    return frame.astype({"choice": "Int64"})


def test_a_run_that_always_takes_one_place_is_named() -> None:
    frame = pd.concat([items("dense", [0, 1, 2] * 20), items("rtn-4", [1] * 48 + [0] * 12)])
    (issue,) = one_option_issues(frame, RUNS)
    # 48 of 60 is 80 %, the share from which a run is named.
    assert issue.message.startswith("rtn-4 answers B to 48 of 60 items of bbq (80.0%)")
    assert (issue.file, issue.kind, issue.level) == ("a/results_2.json", "one_option", "warning")


def test_just_below_too_few_or_unanswered_is_not() -> None:
    assert not one_option_issues(items("dense", [1] * 47 + [0] * 13), RUNS)
    assert not one_option_issues(items("dense", [1] * 29), RUNS)
    assert not one_option_issues(items("dense", [None] * 60), RUNS)
    assert not one_option_issues(items("dense", []), RUNS)


def test_where_a_place_is_an_axis_nothing_is_said_of_places() -> None:
    # 90 % of the answers are the first of two sentences, which is always the one toward the stereotype.
    assert not one_option_issues(items("dense", [0] * 54 + [1] * 6, ("toward | against",)), RUNS)
    assert one_option_issues(items("dense", [0] * 54 + [1] * 6, ("toward | against", "against | toward")), RUNS)

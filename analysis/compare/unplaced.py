"""Items that the tables by role can't place, counted and named: nothing is left out without a line that says so."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..answers.answers import Answers
from ..logs import Issue
from ..schema.schemes import scheme_of

__all__ = ["unplaced_issues"]


def unplaced_issues(answers: Answers, runs: pd.DataFrame, undirected: Mapping[tuple[str, str], int]) -> list[Issue]:
    """Name the tasks with a direction whose items, all or some, no table by role can place.

    Args:
        answers: Of items with a direction.
        runs: Columns run and file.
        undirected: By run and task, items without a direction beside those that have one.

    Returns:
        A warning for each run and task of which no item tells its direction, and for each task that mixes schemes; a
        note for each run and task with items that have no direction.
    """
    files = {str(run): str(file) for run, file in zip(runs["run"], runs["file"], strict=True)}
    items = answers.items
    issues = []
    for label, span in answers.spans.items():
        own = items.loc[answers.rows["item"].iloc[span].unique()]
        for task, rows in own.groupby("task"):
            if label in files and not rows["determined"].any():
                message = (
                    f"{label}: none of the {len(rows):,} items of {task} tells its direction. Expected an option "
                    "toward the stereotype, and every option on an axis. Their answers are counted (n_undetermined), "
                    "and no rate or test is made of them"
                )
                issues.append(Issue(files[label], "no_direction_told", message))
    for (label, task), count in undirected.items():
        message = (
            f"{label}: {count:,} items of {task} have no direction, beside items that have one: they are in flips and "
            "item_changes, and in no table by role"
        )
        issues.append(Issue(files[label], "no_direction", message, "note"))
    return issues + _mixed(items, next(iter(files.values()), ""))


def _mixed(items: pd.DataFrame, file: str) -> list[Issue]:
    """Tasks whose items come with several schemes."""
    issues = []
    for task, texts in items.groupby("task")["scheme"]:
        counts = texts.value_counts()
        if len(counts) > 1:
            named = ", ".join(f"{count:,} of {scheme_of(str(text)).name}" for text, count in counts.items())
            message = (
                f"items of {task} come with {len(counts)} schemes of roles ({named}): its rows pool them by axis, and "
                "role_transitions joins their role names; make them tasks of their own"
            )
            issues.append(Issue(file, "several_schemes", message))
    return issues

"""Runs that answer nearly everything with one option: a preference for a letter, not for a role."""

from __future__ import annotations

import pandas as pd

from ..logs import Issue

__all__ = ["MOST", "one_option_issues"]

MOST = 0.8
"""Share of the answers at one option from which a run is named."""
_FEWEST = 30


def one_option_issues(items: pd.DataFrame, runs: pd.DataFrame) -> list[Issue]:
    """Name the runs whose choices say more about the place of an option than about what it says.

    In BBQ the roles are spread evenly over the places, so a model that always takes the same place shows a
    stereotype rate near 1/3, and a change of its favourite place turns two thirds of its answers. Where the axes stand
    in one order in every item (crows_pairs), a place is an axis and says nothing of its own: such tasks are left out.

    Args:
        items: Columns run, task, status, choice, option_axes of items with a direction.
        runs: Columns run, file.

    Returns:
        A warning for each run and task with at least 30 answers, MOST of which chose the same option.
    """
    files = dict(zip(runs["run"], runs["file"], strict=True))
    orders = items["option_axes"].groupby(items["task"].astype("string")).nunique()
    mixed = items["task"].isin(orders.index[orders > 1])
    answered = items[(mixed & (items["status"] == "answered")).to_numpy(bool)]
    keys = [answered[name].astype("string") for name in ("run", "task")]
    places = answered["choice"].astype("Int64").groupby(keys)
    n, top = places.count(), places.agg(lambda choices: choices.value_counts().iloc[0])
    favourite = places.agg(lambda choices: choices.value_counts().index[0])
    issues = []
    for run, task in n[(n >= _FEWEST) & (top >= MOST * n)].index:
        most, count = int(top[run, task]), int(n[run, task])
        message = (
            f"{run} answers {chr(ord('A') + int(favourite[run, task]))} to {most:,} of {count:,} items of {task} "
            f"({most / count:.1%}): it follows the place of an option rather than its words. Changes of role are then "
            "mostly changes of place; ask the items in all rotations (bbq_itemlevel_cyclic)"
        )
        issues.append(Issue(str(files[run]), "one_option", message))
    return issues

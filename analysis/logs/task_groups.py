"""Groups of tasks, such as mmlu: which tasks they hold, and what the results file says of them as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .aggregates import Aggregates, aggregates
from .values import LogError, mapping

__all__ = ["TaskGroup", "task_groups"]


@dataclass(frozen=True, kw_only=True)
class TaskGroup:
    """A group that has values of its own."""

    tasks: tuple[str, ...]
    """Names of the tasks in it and in groups below it, sorted."""
    metrics: Aggregates
    """By filter and metric, the group's own values."""
    higher_is_better: dict[str, bool]


def task_groups(content: Mapping[str, Any], tasks: Iterable[str]) -> dict[str, TaskGroup]:
    """The groups of a results file by name.

    Args:
        content: The file.
        tasks: Names of its tasks; what else `group_subtasks` names is a group.

    Returns:
        Those with tasks and with a number of their own. What is not of the kind that lm_eval writes is left out.
    """
    known = frozenset(tasks)
    listed = mapping(content.get("group_subtasks"))
    results, better = mapping(content.get("results")), mapping(content.get("higher_is_better"))
    out = {}
    for name in listed:
        try:
            told = aggregates(results.get(name), None, mapping(better.get(name)))
        except LogError:  # the task of this name, if it is one, says what is wrong
            continue
        members = sorted(_below(name, listed, known))
        if isinstance(name, str) and name not in known and members and told["metrics"]:
            out[name] = TaskGroup(
                tasks=tuple(members), metrics=told["metrics"], higher_is_better=told["higher_is_better"]
            )
    return out


def _below(name: Any, listed: Mapping[str, Any], known: frozenset[str]) -> set[str]:
    """All tasks in a group and in the groups in it; a group that holds itself ends there."""
    found, waiting, seen = set(), [name], set()
    while waiting:
        current = waiting.pop()
        if not isinstance(current, str) or current in seen:
            continue
        seen.add(current)
        if current in known:
            found.add(current)
        below = listed.get(current)
        waiting += below if isinstance(below, list) else []
    return found

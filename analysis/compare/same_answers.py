"""Runs that claim different models and answered alike: a cache answered, or one model under two names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..logs import Issue, RunLog
from ..logs.fingerprint import Fingerprint
from ..logs.labels import base_groups
from ..logs.results import ROLLING

__all__ = ["same_answers", "scored_weights"]

_SCORES = 3
"""Different numbers from which scores can't be alike by chance; one is enough for a text of many tokens."""
_TEXTS = 5
"""Different texts from which texts tell something: below, two models may well say the same few words."""
_NAMED = 4

# Model arguments that make another model of the same name.
_QUANTIZED = re.compile(r"bit|quant|gptq|awq|hqq")


def same_answers(runs: Mapping[str, RunLog]) -> list[Issue]:
    """Name runs of different models whose scores, or generated texts, are the same on all items of a task.

    Every two runs of a task are held against each other, whether they are compared or not. Runs of the same weights
    are expected to agree: those of one hash, or of one name where a hash is missing. Answers that carry no information
    (constant scores, the same few words) are no sign of anything.

    Args:
        runs: Runs by label, in order of date.

    Returns:
        One issue for each set of runs that agree, with their tasks: a warning, or a note where the texts of weights
        that were proved to be changed are the same, since a mild compression may change no text.
    """
    groups = base_groups(runs.values())
    found: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for task in dict.fromkeys(task for run in runs.values() for task in run.tasks):
        for labels, scored in _alike(task, runs):
            if any(_differ(runs[one], runs[other], groups) for one in labels for other in labels):
                found.setdefault((labels, scored), []).append(task)
    return [_issue(labels, scored, tasks, runs, groups) for (labels, scored), tasks in found.items()]


def _alike(task: str, runs: Mapping[str, RunLog]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Runs whose answers to a task are the same, and whether these are scores."""
    sets: list[tuple[Fingerprint, list[str]]] = []
    for label, run in runs.items():
        log = run.tasks.get(task)
        if log is None or log.fingerprint is None:
            continue
        mark, fewest = log.fingerprint, 1 if log.output_type == ROLLING else _SCORES
        if mark.distinct < (fewest if mark.scored else _TEXTS):
            continue
        for first, labels in sets:
            if mark.agrees(first):
                labels.append(label)
                break
        else:
            sets.append((mark, [label]))
    return ((tuple(labels), first.scored) for first, labels in sets if len(labels) > 1)


def _differ(run: RunLog, other: RunLog, groups: Mapping[str, str]) -> bool:
    """Whether two runs claim to be of different weights."""
    own, theirs = scored_weights(run), scored_weights(other)
    if own and theirs:
        return own != theirs
    return _claim(run, groups) != _claim(other, groups)


def _claim(run: RunLog, groups: Mapping[str, str]) -> tuple[object, ...]:
    arguments = run.facts.get("arguments") or {}
    quantized = sorted((name, str(value)) for name, value in arguments.items() if _QUANTIZED.search(name))
    return groups[run.base_model], "" if run.is_dense else run.label, tuple(quantized)


def scored_weights(run: RunLog) -> str | None:
    """Hash of the weights that a run was scored with; None where it logs none."""
    found: str | None = run.facts["weights_hash"] or (run.facts["base_hash"] if run.is_dense else None)
    return found


def _issue(
    labels: tuple[str, ...], scored: bool, tasks: list[str], runs: Mapping[str, RunLog], groups: Mapping[str, str]
) -> Issue:
    named = ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
    where = ", ".join(tasks[:_NAMED]) + (f" and {len(tasks) - _NAMED} more tasks" if len(tasks) > _NAMED else "")
    cached = [f"{label} ({runs[label].facts['use_cache']})" for label in labels if runs[label].facts.get("use_cache")]
    by = f"a cache ({', '.join(cached[:_NAMED])})" if cached else "a cache (--use_cache)"
    file = runs[labels[-1]].file
    advice = f"{by} answered for them, or they are one model. Delete the cache and run again"
    if scored:
        message = f"{named} have the same scores, to the last digit, on all items of {where}: {advice}"
        return Issue(file, "identical_scores", message)
    start = f"{named} generated the same texts on all items of {where}"
    if all(
        _proved(runs[one]) or _proved(runs[other])
        for one in labels
        for other in labels
        if _differ(runs[one], runs[other], groups)
    ):
        return Issue(file, "identical_texts", f"{start}, though their weights differ", "note")
    return Issue(file, "identical_texts", f"{start}: {advice}")


def _proved(run: RunLog) -> bool:
    """Whether evidence says that the weights were changed."""
    before, after = run.facts["base_hash"], run.facts["weights_hash"]
    return bool(before and after and before != after)

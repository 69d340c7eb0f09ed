"""A label for every run that is unique within one analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .faults import some
from .issues import Issue
from .runlog import RunLog, last_parts

__all__ = ["base_groups", "label_runs", "same_base"]

_NAMED = 3
"""Files that an issue names at most."""


def base_groups(runs: Iterable[RunLog]) -> dict[str, str]:
    """Which names stand for the same base model.

    Args:
        runs: All runs.

    Returns:
        For each base model name the first name of its group. Names are of one group if runs of both have the
        same hash of the weights before compression (a hub name and its local copy).
    """
    leader: dict[str, str] = {}
    by_hash: dict[str, str] = {}
    for run in runs:
        name = run.base_model
        first = leader.setdefault(name, name)
        other = by_hash.setdefault(run.facts["base_hash"], first) if run.facts["base_hash"] else first
        if other != first:
            leader = {key: other if value == first else value for key, value in leader.items()}
            by_hash = {key: other if value == first else value for key, value in by_hash.items()}
    return leader


def same_base(run: RunLog, other: RunLog) -> bool:
    """Whether two runs start from the same weights: of one hash where both log it, else of one name."""
    before, theirs = run.facts["base_hash"], other.facts["base_hash"]
    if before and theirs:
        return bool(before == theirs)
    return run.base_model == other.base_model


def label_runs(runs: list[RunLog]) -> tuple[dict[str, RunLog], list[Issue]]:
    """Label the runs.

    The label is that of the compression evidence, 'dense' for a run that is taken as dense, and the model's name with
    what is suggested in brackets where nobody proved a compression ("m-AWQ(unverified awq)"). Where several base models
    are present, the last component of the base model's path goes before it ("pythia-70m/wanda-50"; all of it if two
    end alike).
    Runs that still share a label get "#1", "#2" ... in order of date, then of file.

    Args:
        runs: Runs in order of date.

    Returns:
        The runs by label, and an issue for every run that shares its label with another.
    """
    leaders = base_groups(runs)
    names = set(leaders.values())
    short = {name: last_parts(name) for name in names}
    ends = Counter(short.values())
    prefix = {name: f"{end if ends[end] == 1 else name}/" for name, end in short.items()}
    groups: dict[str, list[RunLog]] = {}
    for run in runs:
        start = prefix[leaders[run.base_model]] if len(names) > 1 else ""
        # A label that is made from the model's own name tells its base model already.
        named = run.standing.label is None and run.base_model == run.own_name
        groups.setdefault(("" if named else start) + run.label, []).append(run)
    taken = set(groups)
    labelled: dict[int, str] = {}
    issues: list[Issue] = []
    for label, same in groups.items():
        numbered = [label] if len(same) == 1 else _numbered(label, len(same), taken)
        labelled |= {id(run): name for run, name in zip(same, numbered, strict=True)}
        if len(same) > 1:
            issues += [_same_identity(run, label, numbered, same) for run in same]
    return {labelled[id(run)]: run for run in runs}, issues


def _numbered(label: str, count: int, taken: set[str]) -> list[str]:
    """`count` labels with numbers, leaving out those that a run already has as its own."""
    out: list[str] = []
    number = 1
    while len(out) < count:
        candidate = f"{label}#{number}"
        number += 1
        if candidate not in taken:
            out.append(candidate)
    return out


def _same_identity(run: RunLog, label: str, names: list[str], runs: list[RunLog]) -> Issue:
    """What this run's file shares with the other files of its label, each named with the tasks that it holds too."""
    place = next(place for place, other in enumerate(runs) if other is run)
    others = [(name, other) for name, other in zip(names, runs, strict=True) if other is not run]
    holding = [(name, other) for name, other in others if not other.tasks.keys().isdisjoint(run.tasks)]
    said = []
    for name, other in (holding or others)[:_NAMED]:
        tasks = [task for task in run.tasks if task in other.tasks]
        has = f"has {some(tasks)} too" if tasks else "has none of its tasks"
        said.append(f"{name!r} ({other.file}) {has}, with {_weights(run, other)}")
    more = len(holding or others) - len(said)
    listed = "; ".join(said) + (f"; and {more} more" if more else "")
    message = f"{len(runs)} runs are {label!r}; kept apart, this one is {names[place]!r}: {listed}"
    return Issue(run.file, "same_identity", message, "warning" if holding else "note")


def _weights(run: RunLog, other: RunLog) -> str:
    own, theirs = run.facts["weights_hash"], other.facts["weights_hash"]
    if own is None or theirs is None:
        return "no hash of the weights"
    return "the same weights" if own == theirs else "different weights"

"""Which run each task of each run is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import UserError, unknown_name
from ..logs import Issue, RunLog
from ..logs.faults import some
from ..logs.labels import base_groups, same_base
from .commands import AnalyzeCommand
from .engines import nearest
from .uncompared import Uncompared, find_uncompared

__all__ = ["Baselines", "SeveralBaselinesError", "choose_baselines"]


class SeveralBaselinesError(UserError):
    """Several uncompressed runs hold a task of a compressed run."""

    def __init__(self, seen: str, command: str) -> None:
        """Say what was seen, and the command that names one of them."""
        super().__init__(f"{seen}. Name one (`{command}`), or move the other away.")
        self.seen, self.command = seen, command


@dataclass
class Baselines:
    """Which run each task of each run is compared with."""

    by_task: dict[tuple[str, str], str] = field(default_factory=dict)
    """Baseline's label by (run, task)."""
    uncompared: list[Uncompared] = field(default_factory=list)
    """Runs and tasks that have none and are none."""
    issues: list[Issue] = field(default_factory=list)
    """What these are, one issue each."""

    def of(self, run: str, tasks: Iterable[str]) -> str | None:
        """The baseline over some tasks; several labels are joined by '+', none gives None."""
        found = sorted({self.by_task[run, task] for task in tasks if (run, task) in self.by_task})
        return "+".join(found) or None


def choose_baselines(
    runs: dict[str, RunLog], named: str | None = None, command: AnalyzeCommand | None = None
) -> Baselines:
    """Find what every run is to be compared with, task by task.

    The baseline of a compressed run is the uncompressed run of the same base model that holds the task: the
    same hash of the weights before compression where both log it, else the same name. Of several, that of the run's own
    engine is taken, then one whose evidence says that it is dense, then that of the run's own settings. A run that may
    be compressed in a way that nobody measured is no baseline unless it is named. A named run is the
    baseline of all other runs of its base model, and of uncompressed runs that nothing else is compared with
    and that have no baseline of their own (a quantized checkpoint under another name). If it is uncompressed,
    tasks that it lacks follow the rule above.

    Args:
        runs: Runs by label.
        named: Label given by the user (`--baseline`).
        command: What the user typed; issues say how to change it.

    Returns:
        The baselines, and what is compared with nothing: as issues of level error where it is no baseline, with what
        to type.

    Raises:
        UserError: If `named` is no label; SeveralBaselinesError if uncompressed runs share a task of a compressed run.
    """
    if named is not None and named not in runs:
        raise unknown_name("label of a run (--baseline)", named, list(runs))
    groups, command = base_groups(runs.values()), command or AnalyzeCommand()
    out = Baselines(_assign(runs, named, groups, command))
    suggested = _suggested(runs, groups, command, out.by_task) if named is None else None
    out.uncompared = find_uncompared(runs, out.by_task, named, suggested, command)
    out.issues = [entry.issue(runs[entry.run].file) for entry in out.uncompared]
    out.issues += _chosen(runs, out.by_task, named)
    return out


def _chosen(runs: dict[str, RunLog], by_task: dict[tuple[str, str], str], named: str | None) -> Iterable[Issue]:
    """Which of several uncompressed runs a run is compared with, where nobody named one."""
    told = set()
    for (label, task), baseline in by_task.items():
        others = [other for other in _candidates(runs, label, task) if other != baseline]
        if not runs[label].is_dense and others and baseline != named and (label, baseline) not in told:
            told.add((label, baseline))
            message = (
                f"{label} is compared with {baseline} rather than {some(others)}: its engine, evidence and settings "
                "are nearest to the run's own"
            )
            yield Issue(runs[label].file, "baseline_chosen", message, "note")


def _candidates(runs: dict[str, RunLog], label: str, task: str) -> list[str]:
    """The uncompressed runs of a run's model that hold a task."""
    return [
        other
        for other, dense in runs.items()
        if dense.is_dense and task in dense.tasks and same_base(runs[label], dense)
    ]


def _assign(
    runs: dict[str, RunLog], named: str | None, groups: dict[str, str], command: AnalyzeCommand
) -> dict[tuple[str, str], str]:
    """The baseline's label by (run, task)."""
    by_task = {}
    for label, run in runs.items():
        for task in run.tasks:
            found = _baseline(label, task, runs, named, groups, command)
            if found is not None:
                by_task[label, task] = found
    return by_task if named is None else by_task | _adopted(named, runs, by_task)


def _suggested(
    runs: dict[str, RunLog], groups: dict[str, str], command: AnalyzeCommand, by_task: dict[tuple[str, str], str]
) -> str | None:
    """The uncompressed run that makes the most comparisons if it is named; None where none makes more than are made.

    Of those that make as many, one that is a baseline already, then the one of the shortest name: what a checkpoint is
    made from mostly has the shorter one.
    """
    gains = {}
    for label, run in runs.items():
        if run.is_dense and not by_task.keys() >= {(label, task) for task in run.tasks}:
            gained = len(_assign(runs, label, groups, command)) - len(by_task)
            if gained > 0:
                gains[label] = (gained, label in by_task.values(), -len(run.base_model))
    return max(gains, key=lambda label: gains[label]) if gains else None


def _baseline(
    label: str,
    task: str,
    runs: dict[str, RunLog],
    named: str | None,
    groups: dict[str, str],
    command: AnalyzeCommand,
) -> str | None:
    run = runs[label]
    if label == named:
        return None
    if named is not None:
        chosen = runs[named]
        if groups[chosen.base_model] == groups[run.base_model]:
            if task in chosen.tasks:
                return named
            if not chosen.is_dense:
                return None
    if run.is_dense:
        return None
    candidates = nearest(run, {other: runs[other] for other in _candidates(runs, label, task)})
    if len(candidates) > 1:
        listed = " and ".join(f"{other} ({runs[other].file})" for other in candidates)
        seen = f"task {task} of {label} has {len(candidates)} possible baselines: {listed}"
        raise SeveralBaselinesError(seen, command.text(baseline=candidates[0]))
    return candidates[0] if candidates else None


def _is_alone(run: RunLog) -> bool:
    """Whether it may be compressed, and nobody knows from what."""
    return run.is_unverified and run.base_model == run.own_name


def _adopted(named: str, runs: dict[str, RunLog], by_task: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """The named baseline for uncompressed runs of other names that stand alone."""
    paired = {label for label, _ in by_task} | set(by_task.values()) | {named}
    alone = {label: run for label, run in runs.items() if label not in paired and (run.is_dense or _is_alone(run))}
    return {(label, task): named for label, run in alone.items() for task in run.tasks if task in runs[named].tasks}

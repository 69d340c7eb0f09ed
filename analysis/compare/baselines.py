"""Which run each task of each run is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import UserError, unknown_name
from ..logs import Issue, RunLog
from ..logs.labels import base_groups

__all__ = ["Baselines", "choose_baselines"]


@dataclass
class Baselines:
    """Which run each task of each run is compared with."""

    by_task: dict[tuple[str, str], str] = field(default_factory=dict)
    """Baseline's label by (run, task)."""
    issues: list[Issue] = field(default_factory=list)

    def of(self, run: str, tasks: Iterable[str]) -> str | None:
        """The baseline over some tasks; several labels are joined by '+', none gives None."""
        found = sorted({self.by_task[run, task] for task in tasks if (run, task) in self.by_task})
        return "+".join(found) or None


def choose_baselines(runs: dict[str, RunLog], named: str | None = None) -> Baselines:
    """Find what every run is to be compared with, task by task.

    The baseline of a compressed run is the uncompressed run of the same base model that holds the task: the
    same hash of the weights before compression where both log it, else the same name. A named run is the
    baseline of all other runs of its base model, and of uncompressed runs that nothing else is compared with
    and that have no baseline of their own (a quantized checkpoint under another name). If it is uncompressed,
    tasks that it lacks follow the rule above.

    Args:
        runs: Runs by label.
        named: Label given by the user (`--baseline`).

    Returns:
        The baselines, and issues for runs and tasks without one.

    Raises:
        UserError: If `named` is no label, or if several uncompressed runs hold a task of a compressed run.
    """
    if named is not None and named not in runs:
        raise unknown_name("label of a run (--baseline)", named, list(runs))
    groups = base_groups(runs.values())
    out = Baselines()
    for label, run in runs.items():
        for task in run.tasks:
            found = _baseline(label, task, runs, named, groups)
            if found is not None:
                out.by_task[label, task] = found
    if named is not None:
        _adopt(named, runs, out)
    out.issues = [issue for label in runs for issue in _missing(label, runs, out, groups)]
    if all(run.is_dense for run in runs.values()) and not out.by_task:
        message = f"nothing is compared: no run is compressed ({', '.join(runs)}). Name a baseline to compare them"
        out.issues.append(Issue(next(iter(runs.values())).file, "nothing_to_compare", message))
    return out


def _baseline(label: str, task: str, runs: dict[str, RunLog], named: str | None, groups: dict[str, str]) -> str | None:
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
    candidates = [
        other for other, dense in runs.items() if dense.is_dense and task in dense.tasks and _same_base(run, dense)
    ]
    if len(candidates) > 1:
        listed = " and ".join(f"{other} ({runs[other].file})" for other in candidates)
        raise UserError(
            f"task {task} of {label} has {len(candidates)} possible baselines: {listed}. "
            f"Name one with --baseline {candidates[0]!r}, or move the other away."
        )
    return candidates[0] if candidates else None


def _same_base(run: RunLog, dense: RunLog) -> bool:
    before, other = run.facts["base_hash"], dense.facts["base_hash"]
    if before and other:
        return bool(before == other)
    return run.base_model == dense.base_model


def _adopt(named: str, runs: dict[str, RunLog], out: Baselines) -> None:
    """Give the named baseline to uncompressed runs of other names that stand alone."""
    paired = {label for label, _ in out.by_task} | set(out.by_task.values()) | {named}
    for label, run in runs.items():
        if run.is_dense and label not in paired:
            shared = [task for task in run.tasks if task in runs[named].tasks]
            out.by_task |= {(label, task): named for task in shared}


def _missing(label: str, runs: dict[str, RunLog], out: Baselines, groups: dict[str, str]) -> list[Issue]:
    """Issues of a run whose tasks, all or some, have nothing to be compared with."""
    run = runs[label]
    without = [task for task in run.tasks if (label, task) not in out.by_task]
    if not without or label in out.by_task.values():
        return []
    if len(without) < len(run.tasks):
        message = f"{label}: no baseline holds {', '.join(without)}; left out of all comparisons and tables"
        return [Issue(run.file, "task_without_baseline", message)]
    if run.is_dense:
        return []
    dense = [other for other in runs.values() if other.is_dense]
    same_name = [other for other in dense if groups[other.base_model] == groups[run.base_model]]
    if not dense:
        reason = "no run without compression is in the folder"
    elif not same_name:
        names = ", ".join(sorted({other.base_model for other in dense}))
        reason = f"no uncompressed run of {run.base_model} is in the folder (there are runs of {names})"
    elif not any(_same_base(run, other) for other in same_name):
        reason = "its weights before compression are not those of the uncompressed run (revision or dtype differ)"
    else:
        reason = "the uncompressed run holds none of its tasks"
    return [Issue(run.file, "no_baseline", f"{label} is not compared with anything: {reason}")]

"""Runs and tasks that are compared with nothing: why, and what to type."""

from __future__ import annotations

from collections.abc import Mapping

from ..logs import Issue, RunLog
from ..logs.labels import base_groups, same_base
from .commands import AnalyzeCommand, lm_eval_command

__all__ = ["uncompared_issues"]

_BY_US = ("hf", "compressed_hf")
"""Types of lm_eval's models that can be compressed on load."""
_EXAMPLE = "rtn-4"


def uncompared_issues(
    runs: Mapping[str, RunLog],
    by_task: Mapping[tuple[str, str], str],
    named: str | None,
    suggested: str | None,
    command: AnalyzeCommand,
) -> list[Issue]:
    """Name what no comparison was made of.

    Args:
        runs: Runs by label.
        by_task: Baseline's label by (run, task).
        named: The baseline that the user named.
        suggested: The run that would make the most comparisons as the named baseline.
        command: What the user typed.

    Returns:
        Of level error: runs without a baseline, tasks of a compared run that no baseline holds, and that nothing is
        compared at all. A run that others are compared with needs no baseline. Of level note: uncompressed runs whose
        tasks no compressed run of their model has.
    """
    found = _Uncompared(runs, by_task, named, suggested, command)
    issues = [issue for label in runs for issue in found.of(label)]
    if not by_task and not any(issue.level == "error" for issue in issues):
        file = next(iter(runs.values())).file
        issues = [Issue(file, "nothing_to_compare", f"nothing is compared: {found.nothing()}", "error")]
    return issues


class _Uncompared:
    def __init__(
        self,
        runs: Mapping[str, RunLog],
        by_task: Mapping[tuple[str, str], str],
        named: str | None,
        suggested: str | None,
        command: AnalyzeCommand,
    ) -> None:
        self.runs, self.by_task, self.named, self.suggested, self.command = runs, by_task, named, suggested, command
        self.groups = base_groups(runs.values())
        self.compared = {label for label, _ in by_task}
        self.baselines = set(by_task.values())

    def of(self, label: str) -> list[Issue]:
        """Issues of a run whose tasks, all or some, have nothing to be compared with."""
        run = self.runs[label]
        without = [task for task in run.tasks if (label, task) not in self.by_task]
        if not without or label in self.baselines or label == self.named:
            return []
        if label in self.compared:
            evaluate = lm_eval_command(self._baseline_of(label), without, self.command.runs[0], again=True)
            message = (
                f"{label}: no baseline holds {', '.join(without)}; left out of all comparisons and tables. "
                f"To evaluate the baseline on them, type `{evaluate}`"
            )
            return [Issue(run.file, "task_without_baseline", message, "error")]
        return self._lone(label, run) if run.is_dense else [self._without_baseline(label, run)]

    def _baseline_of(self, label: str) -> RunLog:
        """A run that some task of this run is compared with."""
        return self.runs[next(base for (run, _), base in self.by_task.items() if run == label)]

    def _without_baseline(self, label: str, run: RunLog) -> Issue:
        dense = {name: other for name, other in self.runs.items() if other.is_dense}
        same_name = [other for other in dense.values() if self._group(other) == self._group(run)]
        source, again = run, False
        if not dense:
            reason = "no run without compression was found"
        elif not same_name:
            names = ", ".join(sorted({other.base_model for other in dense.values()}))
            reason = f"no uncompressed run of {run.base_model} was found (there are runs of {names})"
        elif not any(same_base(run, other) for other in same_name):
            reason = "its weights before compression are not those of the uncompressed run (revision or dtype differ)"
        else:
            reason, source, again = "the uncompressed run holds none of its tasks", same_name[0], True
        evaluate = lm_eval_command(source, run.tasks, self.command.runs[0], again=again)
        message = f"{label} is not compared with anything: {reason}. To evaluate its baseline, type `{evaluate}`"
        return Issue(run.file, "no_baseline", message, "error")

    def _lone(self, label: str, run: RunLog) -> list[Issue]:
        """An uncompressed run that no other is compared with."""
        family = [name for name, other in self.runs.items() if self._group(other) == self._group(run)]
        if any(name in self.compared or name in self.baselines for name in family):
            message = f"{label} is compared with nothing: no compressed run of its model has {', '.join(run.tasks)}"
            return [Issue(run.file, "lone_baseline", message, "note")]
        if not self.by_task:
            return []  # said once, of all
        reason = "it is uncompressed, and so are all runs of its model"
        message = f"{label} is not compared with anything: {reason}. {self._way()}"
        return [Issue(run.file, "no_baseline", message, "error")]

    def _way(self) -> str:
        if self.suggested is None:
            return "To compare it, evaluate another model on its tasks; else move its files away"
        return (
            f"To compare it with {self.suggested}, type `{self.command.text(baseline=self.suggested)}`; "
            "else move its files away"
        )

    def nothing(self) -> str:
        """Why no run is compared with any other, and what to type."""
        label, run = next(iter(self.runs.items()))
        if self.suggested is not None:
            line = self.command.text(baseline=self.suggested)
            return (
                f"no run is compressed ({', '.join(self.runs)}). "
                f"To compare the others with {self.suggested}, type `{line}`"
            )
        if self.named is not None and len(self.runs) > 1:
            return f"no other run has a task in common with {self.named}. Evaluate them on the same tasks"
        if len(self.runs) > 1:
            return f"no two of the runs have a task in common ({', '.join(self.runs)}). Evaluate them on the same tasks"
        if str(run.facts["model_type"]) not in _BY_US:
            return f"{label} is the only run. Evaluate another model on the same tasks"
        evaluate = lm_eval_command(run, run.tasks, self.command.runs[0], recipe=_EXAMPLE)
        return f"{label} is the only run. To evaluate it compressed too, type `{evaluate}`"

    def _group(self, run: RunLog) -> str:
        return self.groups[run.base_model]

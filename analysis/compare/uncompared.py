"""Runs and tasks that are compared with nothing: why, and what to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..logs import Issue, RunLog
from ..logs.faults import some
from ..logs.labels import base_groups, same_base
from ..logs.origins import short_name
from .commands import AnalyzeCommand, lm_eval_command

__all__ = ["Uncompared", "find_uncompared"]

_BY_US = ("hf", "compressed_hf")
"""Types of lm_eval's models that can be compressed on load."""
_EXAMPLE = "rtn-4"

_SAID = {
    "no_baseline": "{run} is not compared with anything: {reason}",
    "task_without_baseline": "{run}: {reason}; left out of all comparisons and tables",
    "lone_baseline": "{run} is compared with nothing: {reason}",
    "nothing_to_compare": "nothing is compared: {reason}",
}


@dataclass(frozen=True, kw_only=True)
class Uncompared:
    """One run, or some of its tasks, that no comparison was made of."""

    run: str
    """Its label."""
    kind: str
    """Kind of the issue."""
    reason: str
    """Why, as a clause."""
    advice: str = ""
    """What to do: the beginning of a sentence that ends in the command, or a whole one."""
    command: str | None = None
    """What to type, quoted for a shell."""

    @property
    def is_missing(self) -> bool:
        """Whether a comparison is missing that was asked for."""
        return self.kind != "lone_baseline"

    def issue(self, file: str) -> Issue:
        """The issue that says so, of a file."""
        said = [_SAID[self.kind].format(run=self.run, reason=self.reason)]
        if self.advice:
            said.append(f"{self.advice} `{self.command}`" if self.command else self.advice)
        return Issue(file, self.kind, ". ".join(said), "error" if self.is_missing else "note")


def find_uncompared(
    runs: Mapping[str, RunLog],
    by_task: Mapping[tuple[str, str], str],
    named: str | None,
    suggested: str | None,
    command: AnalyzeCommand,
) -> list[Uncompared]:
    """Name what no comparison was made of.

    Args:
        runs: Runs by label.
        by_task: Baseline's label by (run, task).
        named: The baseline that the user named.
        suggested: The run that would make the most comparisons as the named baseline.
        command: What the user typed.

    Returns:
        Runs without a baseline, tasks of a compared run that no baseline holds, and one entry where nothing is compared
        at all. A run that others are compared with needs no baseline; uncompressed runs whose tasks no compressed run
        of their model has are told, and are not missing.
    """
    search = _Search(runs, by_task, named, suggested, command)
    found = [entry for label in runs if (entry := search.of(label)) is not None]
    return found if by_task or any(entry.is_missing for entry in found) else [search.nothing()]


class _Search:
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

    def of(self, label: str) -> Uncompared | None:
        """A run whose tasks, all or some, have nothing to be compared with."""
        run = self.runs[label]
        without = [task for task in run.tasks if (label, task) not in self.by_task]
        if not without or label in self.baselines or label == self.named:
            return None
        if label not in self.compared:
            return self._lone(label, run) if run.is_dense else self._without_baseline(label, run)
        base = self.runs[next(base for (name, _), base in self.by_task.items() if name == label)]
        return Uncompared(
            run=label,
            kind="task_without_baseline",
            reason=f"no baseline holds {', '.join(without)}",
            advice="To evaluate the baseline on them, type",
            command=lm_eval_command(base, without, self.command.folder, again=True),
        )

    def _without_baseline(self, label: str, run: RunLog) -> Uncompared:
        if run.is_unverified and run.standing.by_name and run.base_model == run.own_name:
            return self._without_base(label, run)
        dense = {name: other for name, other in self.runs.items() if other.is_dense}
        same_name = [other for other in dense.values() if self._group(other) == self._group(run)]
        source, again = run, False
        if not dense:
            unsure = [name for name, other in self.runs.items() if other.is_unverified and name != label]
            said = f" ({some(unsure)}: unverified, and so a baseline only by --baseline)" if unsure else ""
            reason = f"no run without compression was found{said}"
        elif not same_name:
            names = ", ".join(sorted({other.base_model for other in dense.values()}))
            reason = f"no uncompressed run of {run.base_model} was found (there are runs of {names})"
        elif not any(same_base(run, other) for other in same_name):
            reason = "its weights before compression are not those of the uncompressed run (revision or dtype differ)"
        else:
            reason, source, again = "the uncompressed run holds none of its tasks", same_name[0], True
        command = lm_eval_command(source, run.tasks, self.command.folder, again=again)
        advice = "To evaluate its baseline, type"
        return Uncompared(run=label, kind="no_baseline", reason=reason, advice=advice, command=command)

    def _without_base(self, label: str, run: RunLog) -> Uncompared:
        """A run of a checkpoint that came compressed, of which nobody says what it was made from."""
        bases = list(dict.fromkeys(other.base_model for other in self.runs.values() if other.is_dense))
        reason = f"it is {run.method}, and nothing says which model it was made from"
        if not bases:
            return Uncompared(
                run=label,
                kind="no_baseline",
                reason=f"{reason}; no run without compression was found",
                advice="Evaluate that model on the same tasks by the same engine. To name it, type",
                command=self.command.basing(run.own_name, "BASE"),
            )
        likely = _likely(run.own_name, bases)
        return Uncompared(
            run=label,
            kind="no_baseline",
            reason=f"{reason} (there are runs of {', '.join(sorted(bases))})",
            advice=f"To say that it was made from {likely}, type",
            command=self.command.basing(run.own_name, likely),
        )

    def _lone(self, label: str, run: RunLog) -> Uncompared | None:
        """An uncompressed run that no other is compared with."""
        family = [name for name, other in self.runs.items() if self._group(other) == self._group(run)]
        if any(name in self.compared or name in self.baselines for name in family):
            reason = f"no compressed run of its model has {', '.join(run.tasks)}"
            repeated = [
                name
                for name in family
                if name in self.baselines and not run.tasks.keys().isdisjoint(self.runs[name].tasks)
            ]
            if repeated:
                reason = f"it repeats {some(repeated)}, and stands in the tables of noise (replicates)"
            return Uncompared(run=label, kind="lone_baseline", reason=reason)
        if not self.by_task:
            return None  # said once, of all
        reason = "it is uncompressed, and so are all runs of its model"
        if self.suggested is None:
            advice = "To compare it, evaluate another model on its tasks; else move its files away"
            return Uncompared(run=label, kind="no_baseline", reason=reason, advice=advice)
        advice = f"To compare it with {self.suggested} (else move its files away), type"
        command = self.command.text(baseline=self.suggested)
        return Uncompared(run=label, kind="no_baseline", reason=reason, advice=advice, command=command)

    def nothing(self) -> Uncompared:
        """Why no run is compared with any other."""
        label, run = next(iter(self.runs.items()))
        reason, advice, command = f"{label} is the only run", "", None
        if self.suggested is not None:
            reason = f"no run is compressed ({', '.join(self.runs)})"
            advice = f"To compare the others with {self.suggested}, type"
            command = self.command.text(baseline=self.suggested)
        elif len(self.runs) > 1:
            alone = f"no two of the runs have a task in common ({', '.join(self.runs)})"
            reason = f"no other run has a task in common with {self.named}" if self.named else alone
            advice = "Evaluate them on the same tasks"
        elif str(run.facts["model_type"]) not in _BY_US:
            advice = "Evaluate another model on the same tasks"
        else:
            advice = "To evaluate it compressed too, type"
            command = lm_eval_command(run, run.tasks, self.command.folder, recipe=_EXAMPLE)
        return Uncompared(run=label, kind="nothing_to_compare", reason=reason, advice=advice, command=command)

    def _group(self, run: RunLog) -> str:
        return self.groups[run.base_model]


def _likely(name: str, bases: list[str]) -> str:
    """The base model whose own name begins that of a checkpoint, the longest such; else the only one, or BASE."""
    short = short_name(name).lower()
    found = [base for base in bases if short.startswith(short_name(base).lower())]
    if found:
        return max(found, key=lambda base: len(short_name(base)))
    return bases[0] if len(bases) == 1 else "BASE"

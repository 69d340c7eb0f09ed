"""What a folder of runs holds, what can be compared in it, and what to type where something can't: in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..compare.baselines import Baselines, SeveralBaselinesError, choose_baselines
from ..compare.commands import AnalyzeCommand, lm_eval_command
from ..compare.differences import NO_ITEMS
from ..compare.pairing import Pairing, Refusal, check_allowed, pair_runs
from ..logs import Inputs, Issue, ItemStore, Logs, RunLog, read_logs
from ..result.render import many

__all__ = ["Examination", "Finding", "examine"]

_NAMED = 4
"""Runs or tasks that a line names at most."""
_RUNS = 12
"""Runs that the table shows at most."""
_WARNINGS = 4
"""Kinds of warnings that are shown at most."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Comparisons that are missing for one reason."""

    text: str
    """Which, and why."""
    advice: str = ""
    """What to do, before the command."""
    command: str | None = None
    """What to type, quoted for a shell."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What `examine` found."""

    found: str
    """One sentence: how many runs, of what, of which versions."""
    rows: list[dict[str, str]]
    """One row a run: run, base model, tasks, answers, lm_eval, compared with. Of many runs the first."""
    more: int
    """Runs that are not in `rows`."""
    findings: list[Finding]
    """What is missing; empty where every comparison can be made."""
    warnings: list[str]
    """What to read before the tables, a line a kind."""
    comparisons: int
    """How many comparisons `analyze` makes."""
    exit_code: int
    """That `analyze` ends with: 0 where these are all, 1 where some are missing, 2 where it makes no report."""
    command: str
    """The line that makes them."""

    @property
    def complete(self) -> bool:
        """Whether `analyze` makes every comparison."""
        return self.exit_code == 0


def examine(
    runs: Path | str | Iterable[Path | str],
    baseline: str | None = None,
    allow: Iterable[str] = (),
    tasks: Iterable[str] = (),
    base: Iterable[str] = (),
) -> Examination:
    """Read runs and pair them as `analyze` does, without a report: nothing is written beside them.

    Args:
        runs: As `analyze` takes them.
        baseline: As `analyze` takes it.
        allow: Likewise.
        tasks: Likewise.
        base: Likewise.

    Returns:
        What was found, what can be compared, and what to type for the rest.

    Raises:
        UserError: If something is not there, there is no readable run, no task matches, or `baseline`, `allow` or
            `base` holds an unknown name.
    """
    allowed, patterns, bases = check_allowed(allow), tuple(tasks), tuple(base)
    options = {"task": patterns, "allow": sorted(allowed), "base": bases}
    inputs = Inputs.of(runs)
    plain = AnalyzeCommand.of(inputs, options)
    command = AnalyzeCommand.of(inputs, options | ({"baseline": baseline} if baseline else {}))
    with TemporaryDirectory(prefix="lm-eval-ext-") as scratch, ItemStore(Path(scratch) / "items.parquet") as store:
        logs = read_logs(inputs, store, patterns, bases=bases)
        findings, baselines, undecided = [], Baselines(), False
        try:
            baselines = choose_baselines(logs.runs, baseline, plain)
        except SeveralBaselinesError as error:
            findings.append(_undecided(error))
            undecided = True
        pairing = pair_runs(logs, baselines, allowed)
    findings += [*_refused(pairing, logs.runs, command), *_uncompared(baselines)]
    lost = any(difference.name == NO_ITEMS for refusal in pairing.refusals for difference in refusal.differences)
    # A label tells it, and the table.
    told = {"refused", "unverified", *(entry.kind for entry in baselines.uncompared)}
    issues = [*logs.issues, *baselines.issues, *pairing.issues]
    return Examination(
        found=_found(logs),
        rows=[_row(label, run, baselines, pairing) for label, run in list(logs.runs.items())[:_RUNS]],
        more=max(len(logs.runs) - _RUNS, 0),
        findings=findings,
        warnings=_warnings(issues, {*told, "no_samples"} if lost else told),
        comparisons=len(pairing.pairs),
        exit_code=2 if undecided else int(bool(findings) or any(issue.level == "error" for issue in issues)),
        command=command.text(),
    )


def _undecided(error: SeveralBaselinesError) -> Finding:
    return Finding(text=error.seen, advice="Move the others away, or name one", command=error.command)


def _found(logs: Logs) -> str:
    runs = list(logs.runs.values())
    tasks = {task for run in runs for task in run.tasks}
    versions = sorted({str(run.facts["lm_eval_version"] or "unknown") for run in runs})
    answers = sum(task.rows for run in runs for task in run.tasks.values())
    models = len({run.base_model for run in runs})
    parts = [many(len(runs), "run"), many(models, "base model"), many(len(tasks), "task"), many(answers, "answer")]
    return f"{parts[0]} of {parts[1]}, {parts[2]}, {parts[3]}, lm_eval {', '.join(versions)}"


def _row(label: str, run: RunLog, baselines: Baselines, pairing: Pairing) -> dict[str, str]:
    return {
        "run": label,
        "base model": run.base_model,
        "engine": run.engine.runtime,
        "status": run.standing.status,
        "lm_eval": str(run.facts["lm_eval_version"] or "unknown"),
        "tasks": ", ".join(run.tasks) if len(run.tasks) <= _NAMED else f"{len(run.tasks):,}",
        "answers": f"{sum(task.rows for task in run.tasks.values()):,}",
        "compared with": _with(label, run, baselines, pairing),
    }


def _with(label: str, run: RunLog, baselines: Baselines, pairing: Pairing) -> str:
    """What a run is compared with, and on how many of its tasks where that is not all."""
    pairs = [pair for pair in pairing.pairs if pair.run == label]
    if not pairs:
        of = {pair.run for pair in pairing.pairs if pair.baseline == label}
        return f"baseline of {_some(sorted(of))}" if of else "nothing"
    whole = "" if len(pairs) == len(run.tasks) else f", {len(pairs)} of {many(len(run.tasks), 'task')}"
    return "+".join(dict.fromkeys(pair.baseline for pair in pairs)) + whole


def _refused(pairing: Pairing, runs: Mapping[str, RunLog], command: AnalyzeCommand) -> list[Finding]:
    """Refusals, those of the same differences with one baseline together."""
    groups: dict[tuple[str, tuple[str, ...]], list[Refusal]] = {}
    for refusal in pairing.refusals:
        # A run that lost its items has a file of its own to mend.
        own = [
            f"{difference.name} {_empty(refusal, runs)}" if difference.name == NO_ITEMS else difference.name
            for difference in refusal.differences
        ]
        groups.setdefault((refusal.baseline, tuple(own)), []).append(refusal)
    return [_alike(refusals, runs, command) for refusals in groups.values()]


def _empty(refusal: Refusal, runs: Mapping[str, RunLog]) -> str:
    """The run that lost its items: of both, the one that is compared."""
    return next(label for label in (refusal.run, refusal.baseline) if not runs[label].tasks[refusal.task].rows)


def _alike(refusals: list[Refusal], runs: Mapping[str, RunLog], command: AnalyzeCommand) -> Finding:
    first = refusals[0]
    seen = "; ".join(str(difference) for difference in first.differences)
    tasks = list(dict.fromkeys(refusal.task for refusal in refusals))
    more = f", and likewise in {len(refusals) - 1} more" if len(refusals) > 1 else ""
    who = _some(list(dict.fromkeys(refusal.run for refusal in refusals)))
    text = f"{who} on {_some(tasks)}: not comparable with {first.baseline}: {seen}{more}"
    remedy = "; ".join(dict.fromkeys(difference.remedy for difference in first.differences))
    if first.flags:
        return Finding(text=text, advice=f"{remedy}, or accept it", command=command.allowing(first.flags))
    if first.differences[0].name == NO_ITEMS:
        again = lm_eval_command(runs[_empty(first, runs)], tasks, command.folder, again=True)
        return Finding(text=text, advice=remedy, command=again)
    return Finding(text=text, advice=remedy)


def _uncompared(baselines: Baselines) -> list[Finding]:
    """Runs without a baseline, those with one reason and one command together."""
    groups: dict[tuple[str, str, str | None], list[str]] = {}
    for entry in baselines.uncompared:
        if entry.is_missing:
            groups.setdefault((entry.reason, entry.advice, entry.command), []).append(
                "nothing is compared" if entry.kind == "nothing_to_compare" else entry.run
            )
    return [
        Finding(text=f"{_some(labels)}: {reason}", advice=advice.removesuffix(", type"), command=command)
        for (reason, advice, command), labels in groups.items()
    ]


def _warnings(issues: Iterable[Issue], left_out: set[str]) -> list[str]:
    """What to read before the tables, a line a kind; kinds that a finding speaks of are left out."""
    kinds: dict[str, list[Issue]] = {}
    for issue in issues:
        if issue.level != "note" and issue.kind not in left_out:
            kinds.setdefault(issue.kind, []).append(issue)
    lines = [
        f"{kind}: {found[0].message} ({found[0].file})" + (f", and {len(found) - 1} more" if len(found) > 1 else "")
        for kind, found in kinds.items()
    ]
    left = len(lines) - _WARNINGS
    return lines[:_WARNINGS] + ([f"{many(left, 'more kind')} of warnings; analyze lists them"] if left > 0 else [])


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {left} more" if left > 0 else "")

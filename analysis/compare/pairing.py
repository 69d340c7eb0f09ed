"""Two runs of a task side by side, item by item, or a refusal that says what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..answers.match import KEY, match
from ..errors import unknown_name
from ..logs import Issue, ItemStore, Logs, TaskLog
from ..logs.results import ROLLING
from .baselines import Baselines
from .differences import DIFFERENCES, Difference, item_differences, setting_differences
from .same_answers import same_answers, scored_weights

__all__ = ["Pair", "Pairing", "Refusal", "check_allowed", "pair_runs"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A task of a run and of its baseline that may be compared."""

    run: str
    baseline: str
    task: str
    accepted: tuple[Difference, ...] = ()
    """Differences that the user allowed."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A task of a run that must not be compared with its baseline."""

    run: str
    baseline: str
    task: str
    differences: tuple[Difference, ...]
    """Those that the user did not allow."""

    @property
    def message(self) -> str:
        """What differs, how often, with an item to look at, and what to do."""
        seen = "; ".join(str(difference) for difference in self.differences)
        remedies = "; ".join(dict.fromkeys(difference.remedy for difference in self.differences))
        flags = " ".join(f"--allow {name}" for name in self.flags)
        advice = f", or accept the difference: {flags}" if flags else ""
        return f"{self.run} on {self.task} is not comparable with {self.baseline}: {seen}. {remedies}{advice}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Names that `--allow` needs to make the comparison; none where that can't be."""
        if not all(difference.acceptable for difference in self.differences):
            return ()
        return tuple(difference.name for difference in self.differences)


@dataclass
class Pairing:
    """Everything that may be compared, and everything that may not."""

    pairs: list[Pair] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    common: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    """Items (columns KEY) to keep, by (baseline, task): the intersection over all of its runs where `items`
    or `filters` was allowed. A key that is not there keeps all."""
    issues: list[Issue] = field(default_factory=list)

    def items(self, store: ItemStore, run: str, baseline: str, task: str, columns: Iterable[str]) -> pd.DataFrame:
        """The rows of a run's task that are compared with this baseline (or the baseline's own)."""
        rows = store.read(run, task, list(dict.fromkeys([*KEY, *columns])))
        common = self.common.get((baseline, task))
        if common is not None:
            rows = _shared(rows, common)
        return rows[list(columns)]

    def both(self, store: ItemStore, columns: Iterable[str]) -> Iterator[tuple[Pair, pd.DataFrame, pd.DataFrame]]:
        """Of each pair in turn, the rows that are compared: the run's, then the baseline's."""
        wanted, last, base = tuple(columns), None, pd.DataFrame()
        for pair in self.pairs:
            if (pair.baseline, pair.task) != last:  # the runs of one task follow one another, with one baseline
                base = self.items(store, pair.baseline, pair.baseline, pair.task, wanted)
                last = (pair.baseline, pair.task)
            yield pair, self.items(store, pair.run, pair.baseline, pair.task, wanted), base

    def shown(self, logs: Logs, baselines: Baselines) -> list[tuple[str, str, str]]:
        """Whose rows enter the tables, as (run, task, baseline); a run without one is its own.

        Left out are refused tasks, and tasks of a compared run that no baseline holds.
        """
        accepted = {(pair.run, pair.task): pair.baseline for pair in self.pairs}
        compared = {run for run, _ in baselines.by_task}
        needed = {(pair.baseline, pair.task) for pair in self.pairs}
        out = []
        for label, run in logs.runs.items():
            for task in run.tasks:
                if (label, task) not in logs.store:
                    continue
                if (label, task) in accepted:
                    out.append((label, task, accepted[label, task]))
                elif label not in compared or (label, task) in needed:
                    out.append((label, task, label))
        return out


def check_allowed(allow: Iterable[str]) -> frozenset[str]:
    """The differences that the user accepts.

    Raises:
        UserError: For a name that is no difference; the message gives the nearest and lists all.
    """
    names = frozenset(allow)
    for name in sorted(names - set(DIFFERENCES)):
        raise unknown_name("difference (--allow)", name, list(DIFFERENCES))
    return names


def pair_runs(logs: Logs, baselines: Baselines, allow: Iterable[str] = ()) -> Pairing:
    """Compare the conditions of every task of every run with those of its baseline.

    Two runs of a task are comparable when they agree in everything that DIFFERENCES names. The comparison is
    of hashes, item by item, never of names. Other versions of lm-eval or another batch size are only noted.
    A task without items in one run or in both is refused, unless it is a rolling one: that has only its perplexity.

    Args:
        logs: Runs and items.
        baselines: What each run's task is compared with.
        allow: Names of the differences that the user accepts. With `items` or `filters`, only the answers are
            kept that the baseline and all runs compared with it have; a task without any is refused.

    Returns:
        Pairs, refusals, and as issues every refusal, accepted difference and note, compressed runs with the weights of
        their baseline, and runs of different models, compared or not, that answered alike.

    Raises:
        UserError: If `allow` holds an unknown name.
    """
    allowed = check_allowed(allow)
    out = Pairing()
    for (label, task), baseline in baselines.by_task.items():
        run, base = logs.runs[label], logs.runs[baseline]
        found = setting_differences(run, base, task)
        if (label, task) in logs.store and (baseline, task) in logs.store:
            rows = [logs.store.read(name, task, _COMPARED) for name in (label, baseline)]
            known = {difference.name for difference in found}
            found += [entry for entry in item_differences(*rows) if entry.name not in known]
        refused = tuple(difference for difference in found if difference.name not in allowed)
        if refused:
            out.refusals.append(Refusal(run=label, baseline=baseline, task=task, differences=refused))
        else:
            out.pairs.append(Pair(run=label, baseline=baseline, task=task, accepted=tuple(found)))
    _intersect(out, logs.store)
    out.issues = [
        *(Issue(logs.runs[entry.run].file, "refused", entry.message, "error") for entry in out.refusals),
        *(issue for pair in out.pairs for issue in _accepted(pair, logs)),
        *_unchanged(out.pairs, logs),
        *same_answers(logs.runs),
        *_notes(out.pairs, logs),
    ]
    return out


_COMPARED = [*KEY, "category", "protocol", "metric", "doc_hash", "prompt_hash", "target_hash", "request_hash"]


def _intersect(out: Pairing, store: ItemStore) -> None:
    """Find the items that a baseline shares with all runs of a task where `items` differ and were allowed."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in out.pairs:
        # A rolling task is compared as a whole: it has no items to cut down.
        if (pair.run, pair.task) in store and (pair.baseline, pair.task) in store:
            groups.setdefault((pair.baseline, pair.task), []).append(pair)
    for (baseline, task), pairs in groups.items():
        if not any(difference.name in ("items", "filters") for pair in pairs for difference in pair.accepted):
            continue
        common = store.read(baseline, task, KEY)
        for pair in pairs:
            narrowed = _shared(common, store.read(pair.run, task, KEY))
            if len(narrowed):
                common = narrowed
                continue
            detail = "no item in common with the baseline and its other runs"
            nothing = Difference(name="items", detail=detail, acceptable=False)
            out.pairs.remove(pair)
            out.refusals.append(Refusal(run=pair.run, baseline=baseline, task=task, differences=(nothing,)))
        out.common[baseline, task] = common


def _shared(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows, in their order, whose answer the others have too."""
    return rows.iloc[np.sort(match(rows[KEY], others[KEY]).run)].reset_index(drop=True)


def _accepted(pair: Pair, logs: Logs) -> Iterable[Issue]:
    for difference in pair.accepted:
        message = f"{pair.run} on {pair.task} against {pair.baseline}: {difference}"
        yield Issue(logs.runs[pair.run].file, "accepted", f"{message} (--allow {difference.name})", "note")


def _unchanged(pairs: list[Pair], logs: Logs) -> Iterable[Issue]:
    """Compressed runs with their baseline's very weights, which would look like perfect compression."""
    reported = set()
    for pair in pairs:
        run, base = logs.runs[pair.run], logs.runs[pair.baseline]
        # Another form of keys and values leaves the weights as they were.
        if run.is_dense or run.engine.kv_cache != base.engine.kv_cache:
            continue
        after, before = run.facts["weights_hash"], scored_weights(base) or run.facts["base_hash"]
        if after and after == before and (pair.run, pair.baseline) not in reported:
            reported.add((pair.run, pair.baseline))
            message = f"{pair.run} was scored with the very weights of {pair.baseline}: nothing was compressed"
            yield Issue(run.file, "unchanged_weights", message)


def _notes(pairs: list[Pair], logs: Logs) -> Iterable[Issue]:
    """What differs between runs without making them incomparable; once a run and baseline."""
    for label, baseline in dict.fromkeys((pair.run, pair.baseline) for pair in pairs):
        run, base = logs.runs[label], logs.runs[baseline]
        if run.base_model != base.base_model and run.is_dense:
            message = f"{label} ({run.base_model}) is compared with {baseline} ({base.base_model}) by --baseline"
            yield Issue(run.file, "other_base_model", message, "note")
        for name in ("lm_eval_version", "transformers_version", "batch_size", "dtype"):
            own, other = ((entry.dtype if name == "dtype" else entry.facts[name]) for entry in (run, base))
            if own != other:
                yield Issue(run.file, name, f"{label} has {name} {own}, {baseline} has {other}", "note")
            elif name == "batch_size" and own is not None and own.startswith("auto"):
                message = f"{label} and {baseline} ran with batch size {own}: last digits of scores can change"
                yield Issue(run.file, name, message, "note")
        for task in (pair.task for pair in pairs if (pair.run, pair.baseline) == (label, baseline)):
            if unchecked := _unchecked(run.tasks[task], base.tasks[task]):
                message = f"{task} of {label} and {baseline}: {unchecked}"
                yield Issue(run.file, "documents_unchecked", message, "note")
        lacking = [task for task in base.tasks if task not in run.tasks]
        if lacking:
            message = f"{label} lacks tasks that {baseline} has: {', '.join(lacking)}"
            yield Issue(run.file, "fewer_tasks", message, "note")


def _unchecked(own: TaskLog, other: TaskLog) -> str | None:
    """What can't be checked of a rolling task, which is compared by what the results files say of all its documents."""
    if own.output_type != ROLLING:
        return None
    if not (own.task_hash and other.task_hash):
        return (
            "that both scored the same documents is not checked beyond their number, since samples were not logged; "
            "run lm_eval with --log_samples"
        )
    gone = [name for name, log in (("the run", own), ("the baseline", other)) if log.samples is None]
    return f"compared by the results files alone; the samples file of {' and '.join(gone)} is missing" if gone else None

"""What became of an altered log: it was reported, nothing changed, or a table changed without a word."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from analysis import analyze
from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import pair_runs
from analysis.errors import UserError
from analysis.logs import DocumentStore, Issue, ItemStore, read_logs
from analysis.tables.runs import runs_frame
from tests.fuzz.logs import Base
from tests.fuzz.mutate import Mutation
from tests.fuzz.witness import stands_alone

__all__ = ["OUTCOMES", "Judge", "Outcome", "Seen", "tables_of"]

OUTCOMES = {
    "reported": "issues.csv names the file or its run, the comparison is refused, or one line ends the command",
    "harmless": "no issue, and every table is bit-equal to that of the unaltered logs",
    "quoted": "no issue, every table is bit-equal; items.parquet or documents.parquet repeat the altered value",
    "alone": "no issue; tables use a value that nothing else in the log repeats, so that any value is as good",
    "SILENT": "a table is another, and nothing says so",
    "traceback": "an exception other than the one line of a user's error",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation."""

    name: str
    """One of OUTCOMES."""
    detail: str
    """The issue, the tables that changed, or where the exception came from."""


@dataclass(frozen=True)
class Seen:
    """What reading and pairing make of a folder: all that tables are made from."""

    issues: tuple[Issue, ...]
    state: str
    """Hash of runs, items and pairs. Tables are a function of these alone."""


def look(folder: Path, scratch: Path) -> Seen:
    """Read and pair the runs of a folder as `analyze` does, without making tables."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    items, documents = scratch / "items.parquet", scratch / "documents.parquet"
    with ItemStore(items) as store:
        with DocumentStore(documents) as kept:
            logs = read_logs(folder, store, workers=1, documents=kept)
        baselines = choose_baselines(logs.runs)
        pairing = pair_runs(logs, baselines)
        # What only says whether runs may be compared is in the pairs and refusals.
        runs = runs_frame(logs, baselines).to_dict("records")
        tasks = {label: [_of(task) for task in run.tasks.values()] for label, run in logs.runs.items()}
        scoring = [(run.base_model, run.is_dense, run.scoring_dtype) for run in logs.runs.values()]
    made = (runs, tasks, scoring, baselines.by_task, pairing.pairs, pairing.refusals)
    found = (*made, _rows(items), _rows(documents))
    issues = (*logs.issues, *baselines.issues, *pairing.issues)
    return Seen(issues, hashlib.sha256(repr(found).encode("utf-8", "replace")).hexdigest())


_NOT_IN_TABLES = {"samples", "fingerprint", "task_hash", "n_effective", "n_shot", "version"}


def _of(task: Any) -> Any:
    """A task without what only tells whether its log is whole and may be compared, which issues and pairs say."""
    return {name: value for name, value in vars(task).items() if name not in _NOT_IN_TABLES}


def _rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def tables_of(report: Path) -> dict[str, str]:
    """Of each table of a report, and of what it quotes, the rows as text; `repr` has floats to the last bit."""
    paths = [*(report / "tables").glob("*.parquet"), report / "items.parquet", report / "documents.parquet"]
    return {path.name: repr(_rows(path)) for path in paths}


def _both(base: Base, mutation: Mutation) -> tuple[bytes, bytes]:
    """The altered file's bytes before and after."""
    before, after = base.runs[mutation.at], mutation.changed
    return (before.results, after.results) if mutation.file == "results" else (before.samples, after.samples)


def _unpacked(raw: bytes, mutation: Mutation) -> bytes:
    packed = mutation.file == "samples" and mutation.changed.samples_name.endswith(".gz")
    return gzip.decompress(raw) if packed else raw


_QUOTES = {"items.parquet", "documents.parquet"}


class Judge:
    """Tells what becomes of mutations of some bases; what the unaltered logs give is worked out once."""

    def __init__(self, bases: list[Base], scratch: Path) -> None:
        """`scratch` is a folder of its own, best in memory."""
        self._bases = {base.name: base for base in bases}
        self._scratch = scratch
        self._seen: dict[str, Seen] = {}
        self._tables: dict[str, dict[str, str]] = {}

    def judge(self, mutation: Mutation, *, whole: bool = False) -> Outcome:
        """What becomes of a mutation; `whole` makes the tables even where reading says that they are the same."""
        base, runs = self._bases[mutation.base], self._scratch / "runs"
        before = self._before(base)
        base.write(runs, mutation.changed, mutation.at)
        try:
            seen = look(runs, self._scratch / "read")
            issue = self._new(base, mutation, before.issues, seen.issues)
            if issue is not None and not whole:
                return Outcome("reported", f"{issue.level} {issue.kind}: {issue.message}")
            if seen.state == before.state and not whole:
                return Outcome("harmless", "")
            return self._compared(base, mutation, runs)
        except UserError as error:
            return Outcome("reported", f"exit {error}")
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/analysis/" in frame.filename]
            own = f", from {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
            return Outcome("traceback", f"{type(error).__name__}: {str(error)[:200]} ({place}{own})")

    def _before(self, base: Base) -> Seen:
        if base.name not in self._seen:
            base.write(self._scratch / "base")
            self._seen[base.name] = look(self._scratch / "base", self._scratch / "read")
        return self._seen[base.name]

    def _whole(self, base: Base) -> dict[str, str]:
        if base.name not in self._tables:
            base.write(self._scratch / "base")
            report = self._scratch / "report"
            shutil.rmtree(report, ignore_errors=True)
            analyze(self._scratch / "base", report)
            self._tables[base.name] = tables_of(report)
        return self._tables[base.name]

    def _compared(self, base: Base, mutation: Mutation, runs: Path) -> Outcome:
        before, report = self._whole(base), self._scratch / "report"
        shutil.rmtree(report, ignore_errors=True)
        analysis = analyze(runs, report)
        issue = self._new(base, mutation, self._before(base).issues, tuple(analysis.issues))
        if issue is not None:
            return Outcome("reported", f"{issue.level} {issue.kind}: {issue.message}")
        after = tables_of(report)
        other = sorted(name for name in before if before[name] != after[name])
        if not other:
            return Outcome("harmless", "")
        if set(other) <= _QUOTES:
            return Outcome("quoted", ", ".join(other))
        shown = ", ".join(name.removesuffix(".parquet") for name in other if name not in _QUOTES)
        alone = stands_alone(mutation.file, mutation.base, *(_unpacked(raw, mutation) for raw in _both(base, mutation)))
        return Outcome("SILENT", shown) if alone is None else Outcome("alone", f"{alone} ({shown})")

    @staticmethod
    def _new(base: Base, mutation: Mutation, before: tuple[Issue, ...], after: tuple[Issue, ...]) -> Issue | None:
        """An issue that the unaltered logs do not have, of the altered file, its run, or the comparison."""
        files = {mutation.changed.samples_name, mutation.changed.results_name}
        known = set(before)
        return next((i for i in after if i not in known and (i.file in files or i.kind == "refused")), None)

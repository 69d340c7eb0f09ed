"""One samples file, a line at a time, as rows of ITEMS; raw documents are dropped once a row is made."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.columns import ITEMS
from analysis.logs.answers import item_answers, plain_answer
from analysis.logs.fields import ITEM_FIELDS, PLAIN_FIELDS, take_all
from analysis.logs.issues import Issue
from analysis.logs.results import ROLLING, TaskLog
from analysis.logs.values import LogError, score

__all__ = ["BBQ_ROLES", "ITEM_SCHEMA", "SamplesRead", "read_samples"]

BBQ_ROLES = frozenset({"stereotype", "anti_stereotype", "unknown", "undetermined"})
CHUNK = 4096
_ARROW = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
ITEM_SCHEMA = pa.schema([(column.name, _ARROW[column.kind]) for column in ITEMS.columns])
"""Arrow schema of ITEMS."""


@dataclass
class SamplesRead:
    """What a samples file held."""

    table: pa.Table
    """Rows of ITEMS; none for a rolling task."""
    issues: list[Issue]
    has_roles: bool
    """Whether the items carry BBQ's roles, and no others."""
    score_digest: str | None
    """Hash of every item's raw scores, whatever the order of lines; missing where nothing is scored."""


@dataclass
class _State:
    """What is gathered over the lines of one file."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in ITEMS.names})
    batches: list[pa.RecordBatch] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[tuple[str, str, int | None], int] = field(default_factory=dict)
    documents: set[Any] = field(default_factory=set)
    chain: Any = field(default_factory=hashlib.sha256)
    scores: int = 0
    n_scored: int = 0
    roles: set[str] = field(default_factory=set)
    truncated: str | None = None

    def add(self, row: dict[str, Any]) -> None:
        for name, values in self.columns.items():
            values.append(row[name])
        key = (row["filter"], row["item_id"], row["seed"])
        self.seen[key] = self.seen.get(key, 0) + 1
        if len(self.columns["run"]) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        self.batches.append(pa.record_batch(self.columns, schema=ITEM_SCHEMA))
        for values in self.columns.values():
            values.clear()


def read_samples(path: Path, file: str, run: str, task: TaskLog) -> SamplesRead:
    """Read one samples file (.jsonl or .jsonl.gz).

    Args:
        path: The file.
        file: Its name in issues.
        run: Label for the column `run`.
        task: The task as the results file describes it.

    Returns:
        Its rows, and an issue for each of: a truncated end (complete lines are kept), lines that can't be
        read (left out), items that are there more than once (every copy is left out, since nothing says
        which is right), fewer or more documents than the results file counts, lines that are not those
        whose hash the results file holds.
    """
    state = _State()
    for number, raw in _lines(path, state):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError) as error:
            # A last line without its newline is a write that was cut off; anything else is a broken line.
            if raw.endswith(b"\n"):
                state.faults.setdefault(f"not JSON ({type(error).__name__})", []).append(number)
            else:
                state.truncated = f"line {number} breaks off"
            continue
        try:
            _take(line, run, task, state)
        except LogError as fault:
            state.faults.setdefault(str(fault), []).append(number)
    state.flush()
    table = pa.Table.from_batches(state.batches, schema=ITEM_SCHEMA)
    table, issues = _without_duplicates(table, state, file)
    # A copied line changes the hash of all lines too: that is no second fault.
    issues += [issue for issue in _line_issues(state, file, task) if not (issues and issue.kind == "altered")]
    digest = f"{state.scores:064x}" if state.n_scored else None
    return SamplesRead(table, issues, bool(state.roles) and state.roles <= BBQ_ROLES, digest)


def _lines(path: Path, state: _State) -> Iterator[tuple[int, bytes]]:
    """Numbered lines as bytes (text mode would also split at characters that JSON strings may hold)."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield number, raw
    except (EOFError, OSError, zlib.error) as error:
        state.truncated = f"unreadable after line {number} ({error})"


def _take(line: Any, run: str, task: TaskLog, state: _State) -> None:
    """Turn one line into rows; raises LogError before anything of the line is kept."""
    if not isinstance(line, dict):
        raise LogError("expected an object")
    hashes = [line.get(name) for name in ("doc_hash", "prompt_hash", "target_hash")]
    state.chain.update("".join(map(str, hashes)).encode())
    rows = [] if task.output_type == ROLLING else _rows(line, run, task, state)
    state.documents.add(line.get("doc_id"))
    key = rows[0]["item_id"] if rows else line.get("doc_id")
    if (scores := _raw_scores(line.get("resps"), rolling=task.output_type == ROLLING)) is not None:
        packed = json.dumps([line.get("filter"), key, scores]).encode()
        # A sum of hashes does not depend on the order of lines, which several processes can change.
        state.scores = (state.scores + int.from_bytes(hashlib.sha256(packed).digest(), "big")) % (1 << 256)
        state.n_scored += 1
    for row in rows:
        state.add(row)


def _rows(line: dict[str, Any], run: str, task: TaskLog, state: _State) -> list[dict[str, Any]]:
    line.update(
        {
            "$run": run,
            "$task": task.name,
            "$output_type": task.output_type,
            "$item_id": f"{task.name}/{line.get('doc_id')}",
            "$request_hash": _request_hash(line.get("arguments")),
        }
    )
    document = line.get("doc")
    if isinstance(document, dict) and isinstance(document.get("item"), dict) and "answer" in line:
        answers = item_answers(line)
        state.roles.update(document["item"]["roles"])
        return [take_all(ITEM_FIELDS, {**line, "$given": answer}) for answer in answers]
    answer = plain_answer(line, task.output_type)
    return [take_all(PLAIN_FIELDS, {**line, "$given": answer})]


def _request_hash(arguments: Any) -> str:
    if not isinstance(arguments, (dict, list)):
        raise LogError("arguments: missing")
    packed = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()


def _raw_scores(responses: Any, *, rolling: bool) -> list[str] | None:
    """The log-likelihoods among the responses, as canonical strings; None if they are not all scores.

    Scored responses are [log-likelihood, is greedy] per repeat; for rolling tasks the bare number, which in any
    other task would be a generated text that happens to be one.
    """
    flat: list[str] = []
    for request in responses if isinstance(responses, list) else []:
        for entry in request if isinstance(request, list) else []:
            pair = isinstance(entry, list) and len(entry) == 2 and str(entry[1]) in ("True", "False")
            if not pair and not rolling:
                return None
            try:
                flat.append(repr(score(entry[0] if pair else entry)))
            except LogError:
                return None
    return flat or None


def _without_duplicates(table: pa.Table, state: _State, file: str) -> tuple[pa.Table, list[Issue]]:
    repeated = [key for key, count in state.seen.items() if count > 1]
    if not repeated:
        return table, []
    items = sorted({item for _, item, _ in repeated})
    kept = table.filter(pc.invert(pc.is_in(table["item_id"], value_set=pa.array(items, pa.string()))))
    message = f"{len(items)} items are there more than once ({_some(items)}); all their rows are left out"
    return kept, [Issue(file, "duplicate_items", message)]


def _line_issues(state: _State, file: str, task: TaskLog) -> list[Issue]:
    issues = []
    found, expected = len(state.documents), task.n_effective
    if state.truncated:
        kept = f"{found} complete documents of {expected if expected is not None else 'an unknown number'}"
        issues.append(Issue(file, "truncated", f"{state.truncated}; the file is cut off, {kept} are kept"))
    for fault, numbers in state.faults.items():
        where = _some([str(number) for number in numbers])
        issues.append(Issue(file, "bad_line", f"{fault}: {len(numbers)} lines left out (line {where})"))
    if state.truncated or state.faults:
        return issues
    if expected is not None and found != expected:
        message = f"{found} documents, but the results file counts {expected} evaluated"
        issues.append(Issue(file, "incomplete", message))
    elif task.task_hash and state.chain.hexdigest() != task.task_hash:
        message = "these are not the lines that the results file was made from (their hash differs)"
        issues.append(Issue(file, "altered", message))
    return issues


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")

"""One samples file, a line at a time, as rows of ITEMS; of its documents one each is kept as it stands in the file."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from .answers import item_answers, item_options, plain_answer, probabilities_of
from .documents import Documents, Gathered, packed
from .faults import Faults
from .fields import OWN_FIELDS, PLAIN_FIELDS, take_all
from .fingerprint import Fingerprint, Gathering
from .hashes import HASHES, untrue_hashes
from .issues import Issue
from .lines import raw_lines
from .metrics import Line, line_metrics, packed_metrics
from .old_lines import name_filter, with_arguments, with_hashes
from .options import PROBLEMS, Options, Problem
from .results import ROLLING, TaskLog
from .settle import Doubts, Rolling, Settled, settle
from .stock import StockTask, stock_task
from .stock.rows import stock_line
from .table import CHOICE_COLUMN, LINE_COLUMNS, OUTCOME_COLUMNS, TEXT_COLUMNS, Rows, with_file_columns
from .typed import TypedLine, parse, request_hash, typed_line
from .values import LogError, integer, number
from .witness import deny

__all__ = ["SamplesRead", "read_file", "read_samples"]

CHUNK = 4096


@dataclass
class SamplesRead:
    """What a samples file held."""

    table: pa.Table
    """Rows of ITEMS; none for a rolling task."""
    issues: list[Issue]
    has_roles: bool
    """Whether there are items with a direction."""
    fingerprint: Fingerprint | None
    """Of what the model gave back, whatever the order of lines; missing where that is neither scores nor texts."""
    documents: Documents
    """What the rows' items asked."""
    refuted: tuple[str, ...] = ()
    """Metrics of the results file that the lines of a rolling task don't add up to."""
    unreadable: bool = False
    """Whether reading broke off before the end of the file, so that another try may find more."""

    def of(self, file: str, run: str, task: str) -> SamplesRead:
        """What `read_file` found, with the file's name in the issues, and the run's and task's in the table."""
        issues = [replace(issue, file=file) for issue in self.issues]
        return replace(self, table=with_file_columns(self.table, {"run": run, "task": task}), issues=issues)


@dataclass
class _State:
    """What is gathered over the lines of one file."""

    rows: Rows = field(default_factory=Rows)
    faults: Faults = field(default_factory=Faults)
    numbers: set[Any] = field(default_factory=set)
    """lm_eval's positions of the documents."""
    documents: Gathered = field(default_factory=Gathered)
    chain: Any = field(default_factory=hashlib.sha256)
    responses: Gathering = field(default_factory=Gathering)
    lines: dict[int, Line] = field(default_factory=dict)
    """By row, what right or wrong is decided from, where the item does not say."""
    metrics: dict[int, dict[str, float | None]] = field(default_factory=dict)
    """By row, the numbers that lm_eval logs, of lines without an answer record."""
    others: dict[int, frozenset[str]] = field(default_factory=dict)
    """By row, the metrics of such a line that are no numbers."""
    rolling: Rolling = field(default_factory=Rolling)
    untrue: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By what lines deny of themselves, the first row and the end of the rows of each."""
    n_lines: int = 0
    unnamed: Counter[Any] = field(default_factory=Counter)
    """Lines by document that name no filter."""
    stock: StockTask | None = None
    """Reader of the documents, where the task is one of lm_eval's own."""
    has_roles: bool = False
    unreadable: bool = False
    ours: bool = True
    """Whether the last line was one of our tasks: the lines of a file are of one kind."""

    count: int = 0
    """Rows so far."""

    def add(self, line: Any, texts: Any, *rest: Any) -> None:
        """Keep the answers of a line, as `Rows.add` takes them."""
        self.rows.add(line, texts, *rest)
        self.count += len(texts)
        if len(self.rows.texts) >= CHUNK:
            self.rows.pack()

    def doubt(self, untrue: tuple[str, ...], count: int) -> None:
        """Keep in mind what a line with so many rows, about to be added, denies of itself."""
        self.n_lines += 1
        for name in untrue:
            self.untrue.setdefault(name, []).append((self.count, self.count + count))

    def broken(self, why: str) -> None:
        """The file can't be read further."""
        self.unreadable = True
        self.faults.truncated = why

    def note(self, options: Options) -> None:
        """Keep in mind whether the options of a line have a direction, and why not."""
        if options.direction is not None:
            self.has_roles = True
        if options.problem is not None:
            self.faults.problem(options.problem)


def read_samples(path: Path, file: str, run: str, task: TaskLog) -> SamplesRead:
    """Read one samples file (.jsonl or .jsonl.gz).

    Args:
        path: The file.
        file: Its name in issues.
        run: Label for the column `run`.
        task: The task as the results file describes it.

    Returns:
        Its rows, and an issue for each of: a truncated end (complete lines are kept), lines that can't be
        read or contradict themselves (left out), items that are there more than once (every copy is left out, since
        nothing says which is right), items whose direction can't be told (kept without it), fewer or more documents
        than the results file counts, lines that are not those whose hash the results file holds, means that are not
        those of the results file (all rows are left out).
    """
    return read_file(path, task).of(file, run, task.name)


def read_file(path: Path, task: TaskLog) -> SamplesRead:
    """As `read_samples`, without what the file's content does not decide: run, task, and the name in the issues."""
    state, rolling = _State(stock=_stock(path, task)), task.output_type == ROLLING
    for place, raw in raw_lines(path, state.broken):
        if state.ours and not rolling and (line := typed_line(raw)) is not None:
            _take_typed(line, state)
            continue
        try:
            content = parse(raw)
        except (ValueError, RecursionError) as error:
            # A last line without its newline is a write that was cut off; anything else is a broken line.
            if raw.endswith(b"\n"):
                state.faults.line(f"not JSON ({type(error).__name__})", place)
            else:
                state.faults.truncated = f"line {place} breaks off"
            continue
        try:
            _take(content, task, state)
        except LogError as fault:
            state.faults.line(str(fault), place)
    found = _settled(state, task)
    given = state.responses.fingerprint()
    return SamplesRead(
        found.table, found.issues, state.has_roles, given, state.documents, found.refuted, state.unreadable
    )


def _settled(state: _State, task: TaskLog) -> Settled:
    """The rows with what only the whole file tells, and all issues."""
    issues = _line_issues(state, task)
    whole = not issues or {issue.kind for issue in issues} <= {*PROBLEMS}
    doubts = Doubts(state.untrue, state.n_lines, state.unnamed, state.others)
    found = settle(state.rows.table(), task, state.lines, state.metrics, doubts, state.rolling, whole=whole)
    # A copied line changes the hash of all lines too: that is no second fault.
    own = [issue for issue in issues if not (found.issues and issue.kind == "altered")]
    return replace(found, issues=[*found.issues, *own])


def _stock(path: Path, task: TaskLog) -> StockTask | None:
    """The reader of a task of lm_eval's own, which has seen the lines that tell something of other lines' items."""
    stock = stock_task(task.name)
    if stock is not None and stock.learns_from is not None:
        for _, raw in raw_lines(path, lambda why: None):
            if stock.learns_from in raw:
                # What is wrong with the line is said when it is read.
                with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
                    stock.learn(parse(raw)["doc"])
    return stock


def _take_typed(line: TypedLine, state: _State) -> None:
    state.chain.update("".join(line.hashes).encode())
    if not state.has_roles or line.options.problem is not None:
        state.note(line.options)
    state.numbers.add(line.doc_id)
    state.documents.add(line.hashes[0], line.doc)
    state.doubt(line.untrue, len(line.texts))
    state.responses.add(line.filter, line.item_id, line.responses)
    state.add(line.values, line.texts, line.outcomes, line.chosen)


def _take(line: Any, task: TaskLog, state: _State) -> None:
    """Turn one line into rows; raises LogError before anything of the line is kept."""
    if not isinstance(line, dict):
        raise LogError("expected an object")
    rolling = task.output_type == ROLLING
    with_arguments(line)
    told = [name for name in HASHES if line.get(name) is not None]
    with_hashes(line)
    state.chain.update("".join(str(line.get(name)) for name in HASHES).encode("utf-8", "replace"))
    line["doc_id"] = doc_id = integer(line.get("doc_id"))
    if doc_id is None:
        raise LogError("doc_id: missing")
    if "filter" not in line:
        name_filter(line, task.filters, state.unnamed)
    if rolling:
        state.rolling.add(line)
    document, rows = (None, []) if rolling else _rows(line, task, state)
    state.numbers.add(doc_id)
    if rows and rows[0]["doc_hash"] not in state.documents:
        state.documents.add(rows[0]["doc_hash"], packed(document))
    key = rows[0]["item_id"] if rows else doc_id
    state.doubt((*untrue_hashes(line, told), *_untrue(line, ours=bool(rows) and state.ours)), len(rows))
    state.responses.add(line.get("filter"), key, line.get("resps"), rolling=rolling)
    for row in rows:
        values, text, outcome = (
            tuple(row[name] for name in names) for names in (LINE_COLUMNS, TEXT_COLUMNS, OUTCOME_COLUMNS)
        )
        state.add(values, [text], [outcome], [row[CHOICE_COLUMN]])


def _rows(line: dict[str, Any], task: TaskLog, state: _State) -> tuple[Any, list[dict[str, Any]]]:
    """The document of a line, and its rows by column."""
    line.update(
        {
            "$task": task.name,
            "$output_type": task.output_type,
            "$item_id": f"{task.name}/{line.get('doc_id')}",
            "$request_hash": request_hash(line.get("arguments")),
            "$metrics": None,
        }
    )
    document = line.get("doc")
    state.ours = isinstance(document, dict) and isinstance(document.get("item"), dict) and "answer" in line
    if state.ours:
        options = item_options(line["doc"])
        rows = [take_all(OWN_FIELDS, {**line, **answer}) for answer in item_answers(line, options)]
        state.note(options)
        return document, rows
    numbers, others = line_metrics(line)
    line["$metrics"] = packed_metrics(numbers)
    place = state.count
    if state.stock is not None:
        try:
            options, made = stock_line(line, state.stock, task.output_type)
            rows = [take_all(OWN_FIELDS, {**line, **made})]
        except LogError as fault:
            # A task of one of lm_eval's names need not be lm_eval's.
            state.faults.problem(Problem("stock_document", (str(fault),)))
        else:
            state.note(options)
            state.metrics[place], state.others[place] = numbers, others
            return made["doc"], rows
    answer = plain_answer(line, task.output_type)
    rows = [take_all(PLAIN_FIELDS, {**line, "$answer": answer})]
    state.metrics[place], state.others[place] = numbers, others
    choice = answer.get("choice")
    state.lines[place] = Line(numbers, choice, _target(line), _says_target(line, choice), others)
    return document, rows


def _untrue(line: dict[str, Any], *, ours: bool) -> tuple[str, ...]:
    """What the rest of a line of ours denies of its answer."""
    if not ours:
        return ()
    answer, document = line["answer"], line["doc"]
    mass, given = number(answer.get("letter_mass")), probabilities_of(answer)
    how, status = answer.get("protocol"), answer.get("status")
    denied = deny(how, status, given, mass, line.get("resps"), document.get("option_tokens"))
    return (denied,) if denied else ()


def _target(line: dict[str, Any]) -> int | None:
    """The target where it is a whole number."""
    given = line.get("target")
    return int(given) if isinstance(given, (int, str)) and str(given).isdecimal() and len(str(given)) < 4 else None


def _says_target(line: dict[str, Any], choice: int | None) -> bool | None:
    """Whether the text of the chosen option is the target."""
    if choice is None or not isinstance(line.get("arguments"), dict):
        return None
    sent = line["arguments"].get(f"gen_args_{choice}")
    words = sent.get("arg_1") if isinstance(sent, dict) else None
    return isinstance(words, str) and words.strip() == str(line.get("target")).strip()


def _line_issues(state: _State, task: TaskLog) -> list[Issue]:
    found, expected = len(state.numbers), task.n_effective
    issues = state.faults.issues(found, expected)
    if state.faults.incomplete:
        return issues
    if expected is not None and found != expected:
        message = f"{found} documents, but the results file counts {expected} evaluated"
        issues.append(Issue("", "incomplete", message))
    elif expected is None and not found:
        issues.append(Issue("", "incomplete", "the file holds no line"))
    elif task.task_hash and state.chain.hexdigest() != task.task_hash:
        message = "these are not the lines that the results file was made from (their hash differs)"
        issues.append(Issue("", "altered", message))
    return issues

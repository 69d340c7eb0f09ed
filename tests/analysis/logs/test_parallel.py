from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.logs import parallel
from analysis.logs.parallel import read_sources, usable_cores
from analysis.logs.sources import Outcome, Source
from tests.analysis.logs.test_cache import analysed
from tests.analysis.logs.test_samples import task
from tests.helpers.runlogs import Task, drawn_line, evidence, samples_of, write_lines, write_run


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WORTH", 0)


def made(folder: Path, count: int) -> list[Source]:
    out = []
    for number in range(count):
        lines = [drawn_line(i, [number % 3, 1]) for i in range(3 + number)]
        write_lines(folder / f"{number}.jsonl", lines)
        out.append(Source(folder / f"{number}.jsonl", task(lines, "generate_until")))
    return out


def sizes(outcomes: Any) -> list[int]:
    return [outcome.read.table.num_rows for outcome in outcomes]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """This process reads nothing before the event, so that the others have files to read."""
    event = threading.Event()
    reading = parallel.read_source

    def wait(source: Source, folder: Path) -> Outcome:
        assert event.wait(60)
        return reading(source, folder)

    monkeypatch.setattr(parallel, "read_source", wait)
    return event


def test_two_processes_read_what_one_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowly: threading.Event
) -> None:
    logs = tmp_path / "logs"
    for number in range(6):
        lines = [drawn_line(i, [number % 3, 1]) for i in range(4 - number % 2)]
        # Large enough to be kept by the other process too, which knows nothing of this test's settings.
        lines[0]["doc"]["context"] = "x" * (1 << 20)
        results = write_run(logs, number, {"b": Task(lines, "generate_until")}, evidence(f"x-{number}"))
        if number % 3 == 0:
            path = samples_of(results, "b")
            path.write_bytes(b"no json\n" + path.read_bytes()[:-30])
    asked: list[Path] = []
    asking = parallel._ask

    def ask(process: Any, question: Any) -> Any:
        asked.append(question[0].path)
        answer = asking(process, question)
        slowly.set()
        return answer

    monkeypatch.setattr(parallel, "_ask", ask)
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "two"))
    two, rows = analysed(logs, tmp_path / "2.parquet", workers=2)
    assert asked  # another process did read
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "one"))
    one, expected = analysed(logs, tmp_path / "1.parquet", workers=1)
    pd.testing.assert_frame_equal(rows, expected)
    assert (two.issues, list(two.runs)) == (one.issues, list(one.runs))
    assert [run.tasks for run in two.runs.values()] == [run.tasks for run in one.runs.values()]
    kept = [sorted(path.name for path in (tmp_path / name / "samples").iterdir()) for name in ("one", "two")]
    assert kept[0] == kept[1]
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


@pytest.mark.parametrize(
    "code",
    ["raise SystemExit", "print('ready', flush=True); input(); print('no answer')", "print('hello'); input()", None],
)
def test_files_of_a_process_that_fails_are_read_here(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, code: str | None
) -> None:
    def start() -> Any:
        if code is None:
            return None
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(parallel, "_start", start)
    assert sizes(read_sources(made(tmp_path, 5), cache, 3)) == [6, 8, 10, 12, 14]


def test_an_interpreter_that_is_not_there_is_no_fault(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", None)
    assert sizes(read_sources(made(tmp_path, 2), cache, 2)) == [6, 8]


def test_what_another_process_left_damaged_is_read_here(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, slowly: threading.Event
) -> None:
    asking = parallel._ask

    def ask(process: Any, question: Any) -> Any:
        answer = asking(process, question)
        answer.entry.write_bytes(b"damaged")
        slowly.set()
        return answer

    monkeypatch.setattr(parallel, "_ask", ask)
    assert sizes(read_sources(made(tmp_path, 4), cache, 2)) == [6, 8, 10, 12]


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_ours_in_another_process_costs_its_file(
    tmp_path: Path, cache: Path, slowly: threading.Event, monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    (source,) = made(tmp_path, 1)
    # No reader can do anything with a task that is none. This process, at the first file, waits until the other has
    # met it at the second.
    nothing: Any = None
    broken = Source(source.path, nothing)
    asking = parallel._ask

    def ask(process: Any, question: Any) -> Any:
        answer = asking(process, question)
        slowly.set()
        return answer

    monkeypatch.setattr(parallel, "_ask", ask)
    monkeypatch.setenv("LM_EVAL_EXT_DEBUG", debug)
    found = read_sources([source, broken], cache, 2)
    assert sizes([next(found)]) == [6]
    if debug:
        with pytest.raises(AttributeError, match="NoneType"):
            next(found)
        return
    read = next(found).read
    assert read is not None
    assert read.table.num_rows == 0
    assert [issue.kind for issue in read.issues] == ["our_fault"]
    assert "AttributeError" in read.issues[0].message
    assert "report" in read.issues[0].message


def test_what_another_process_has_no_room_for_is_read_here(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, slowly: threading.Event
) -> None:
    def ask(process: Any, question: Any) -> Any:
        slowly.set()
        return OSError(28, "No space left on device")

    monkeypatch.setattr(parallel, "_ask", ask)
    assert sizes(read_sources(made(tmp_path, 3), cache, 2)) == [6, 8, 10]


def test_leaving_early_ends_the_others(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    starting = parallel._start

    def start() -> Any:
        started.append(starting())
        return started[-1]

    monkeypatch.setattr(parallel, "_start", start)
    found: Any = read_sources(made(tmp_path, 6), cache, 3)
    next(found)
    found.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_few_bytes_start_no_process(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WORTH", 1 << 28)
    monkeypatch.setattr(parallel, "_start", lambda: pytest.fail("started"))
    assert sizes(read_sources(made(tmp_path, 2), cache, 2)) == [6, 8]
    assert list(read_sources([], cache, 2)) == []
    assert 1 <= usable_cores() <= 8

"""One file's fault costs that file, with a line in the issues; the other runs are compared as without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import Analysis, Settings, UserError, analyze
from analysis.logs import sources
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run
from tests.helpers.venvs import ROOT

Edit = Callable[[Path], None]


def choices(step: int) -> Task:
    return Task([choice_line(i, (i * step) % 3) for i in range(6)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder / "a", 1, {"t": choices(1)}, evidence("dense", **DENSE))
    write_run(folder / "b", 2, {"t": choices(2)}, evidence("wanda-50"))
    return folder


def third(runs: Path, name: str = "c", number: int = 3) -> Path:
    """A third run, which answers task t as the first does."""
    return write_run(runs / name, number, {"t": choices(1), "u": choices(2)}, evidence("rtn-4"))


def analysed(runs: Path) -> Analysis:
    return analyze(runs, runs.parent / "report", settings=Settings(exchanges=99))


def flips(found: Analysis, run: str) -> dict[str, Any]:
    frame = found.tables["flips"]
    (row,) = frame[frame["run"] == run].to_dict("records")
    return row


def told(found: Analysis, kind: str) -> list[tuple[str, str]]:
    """Files and messages of the issues of a kind, as the report's file has them."""
    issues = pd.read_csv(found.output / "issues.csv", keep_default_na=False)
    return [(row.file, row.message) for row in issues.itertuples() if row.kind == kind]


def edit(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def do(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return do


def text(old: str, new: str) -> Edit:
    return lambda path: path.write_text(path.read_text().replace(old, new))


UNREADABLE: dict[str, tuple[Edit, str]] = {
    "empty": (lambda path: path.write_text(""), "the file is empty"),
    "blank": (lambda path: path.write_text(" \n"), "the file is empty"),
    "cut off": (lambda path: path.write_text(path.read_text()[:500]), "line"),
    "deep": (lambda path: path.write_text("[" * 100_000), "nested too deeply"),
    "deep inside": (text('"limit": null', '"limit": ' + '{"a":' * 100_000), "nested too deeply"),
    "long integer": (text('"max_length": 512', '"max_length": ' + "9" * 5000), "an integer of 5000 digits"),
    "no float": (text('"limit": null', '"limit": ' + "9" * 400), "an integer of 400 digits"),
    "key twice": (text('"max_length": 512', '"max_length": 512, "max_length": 9'), "key 'max_length' stands twice"),
    "not UTF-8": (lambda path: path.write_bytes(path.read_bytes().replace(b"org/b", b"org/\xe9")), "not UTF-8 at byte"),
    "a list": (lambda path: path.write_text("[1]"), "results: missing"),
    "results": (edit(lambda it: it.update(results=[1])), "results: missing"),
    "configs": (edit(lambda it: it.update(configs="x")), "configs: missing"),
    "config": (edit(lambda it: it.update(config="x")), "config.model: missing"),
    "model": (edit(lambda it: it["config"].update(model=["hf"])), "config.model: expected a string"),
    "arguments": (edit(lambda it: it["config"].update(model_args=[1])), "config.model_args: expected an object"),
    "evidence": (edit(lambda it: it["config"].update(compression="wanda")), "config.compression: expected an object"),
    "recipe": (edit(lambda it: it["config"]["compression"].update(recipe="x")), "config.compression.recipe: expected"),
    "infinite": (edit(lambda it: it.update(max_length=float("inf"))), "max_length: expected a whole number"),
}


def test_results_files_that_cannot_be_read(runs: Path) -> None:
    expected = flips(analysed(runs), "wanda-50")
    paths = {case: third(runs, case, number) for number, case in enumerate(UNREADABLE, start=3)}
    for case, (spoil, _) in UNREADABLE.items():
        spoil(paths[case])
    found = analysed(runs)
    faults = dict(told(found, "unreadable"))
    assert set(faults) == {f"{case}/{path.name}" for case, path in paths.items()}
    for case, (_, said) in UNREADABLE.items():
        message = faults[f"{case}/{paths[case].name}"]
        assert said in message
        assert message.endswith("; the run is left out")
        assert "\n" not in message
    assert flips(found, "wanda-50") == expected
    assert set(found.tables["runs"]["run"]) == {"dense", "wanda-50"}


BAD_TASK: dict[str, tuple[str, Any, str]] = {
    "config text": ("configs", "x", "configs: expected an object, got a text"),
    "config number": ("configs", 5, "configs: expected an object, got a number"),
    "config null": ("configs", None, "configs: expected an object, got null"),
    "config list": ("configs", [], "configs: expected an object, got a list"),
    "results list": ("results", [1], "results: expected an object, got a list"),
    "results text": ("results", "x", "results: expected an object, got a text"),
    "shots": ("n-shot", "few", "n-shot: expected a number, got 'few'"),
    "counts": ("n-samples", 6, "n-samples: expected an object, got a number"),
    "hash": ("task_hashes", [1], "task_hashes: expected a string"),
}


def test_tasks_that_cannot_be_read_cost_the_task(runs: Path) -> None:
    paths = {case: third(runs, case, number) for number, case in enumerate(BAD_TASK, start=3)}
    for case, (section, value, _) in BAD_TASK.items():
        edit(lambda it, section=section, value=value: it[section].update(u=value))(paths[case])
    found = analysed(runs)
    faults = dict(told(found, "bad_task"))
    for case, (_, _, said) in BAD_TASK.items():
        message = faults.pop(f"{case}/{paths[case].name}")
        assert message.startswith(f"task u: {said}")
        assert message.endswith("; the task is left out")
    assert faults == {}
    assert set(found.headline["task"]) == {"t"}
    same = found.tables["flips"].set_index("run")["flip_rate"]
    assert same[same.index != "wanda-50"].tolist() == [0.0] * len(BAD_TASK)


def test_values_that_may_be_missing_are(runs: Path) -> None:
    path = third(runs)
    for section in ("n-shot", "n-samples", "task_hashes", "higher_is_better", "group_subtasks"):
        edit(lambda it, section=section: it.pop(section, None))(path)
    edit(lambda it: it["results"].update(t={"acc,none": float("nan")}))(path)
    found = analysed(runs)
    assert [told(found, kind) for kind in ("unreadable", "bad_task", "our_fault")] == [[], [], []]
    assert {pair.run for pair in found.pairing.pairs} >= {"wanda-50"}


def test_any_task_name(runs: Path) -> None:
    path = third(runs)
    names = ["a/b", "new\nline", "\ud800", " ", "=1+1", "", "x" * 300]
    for section in ("results", "configs", "versions", "n-shot"):
        edit(lambda it, section=section: it[section].update(dict.fromkeys(names, it[section]["u"])))(path)
    found = analysed(runs)
    ((file, message),) = told(found, "no_samples")
    assert file == f"c/{path.name}"
    assert all(name.replace("\ud800", "?") in message for name in names)
    assert flips(found, "rtn-4")["flip_rate"] == 0


def test_half_characters_anywhere(runs: Path) -> None:
    path = third(runs)

    def change(it: dict[str, Any]) -> None:
        it["config"]["batch_size"] = "\ud800"
        it["config"]["compression"]["label"] = "rtn\udcff"
        it["config"]["compression"]["recipe"]["name"] = "\ud812"

    edit(change)(path)
    samples = next(path.parent.glob("samples_t_*"))
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    lines[0] |= {"doc_hash": "\ud800", "prompt_hash": "\udcff"}
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = analysed(runs)
    assert "rtn?" in set(found.tables["runs"]["run"])
    assert told(found, "our_fault") == []
    assert [file for file, _ in told(found, "untrue")] == [f"c/{samples.name}"] * 2


def test_names_of_bytes_that_are_no_text(runs: Path) -> None:
    path = third(runs)
    for place in (*path.parent.glob("samples_u_*"), path.parent):
        old = os.fsencode(place)
        os.rename(old, old.replace(b"_u_", b"_u\xe9_") if place.is_file() else old + b"\xe9")
    found = analysed(runs)
    assert flips(found, "rtn-4")["flip_rate"] == 0
    assert [file.split("/")[0] for file, _ in told(found, "unknown_task")] == ["c\\udce9"]
    assert json.loads((found.output / "report.json").read_text())["runs"]["rtn-4"].startswith("c\\udce9/")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_files_that_may_not_be_read(runs: Path) -> None:
    path = third(runs)
    path.chmod(0)
    assert [file for file, _ in told(analysed(runs), "unreadable")] == [f"c/{path.name}"]


def test_a_results_file_that_the_system_refuses(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reading = third(runs), Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return reading(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    ((file, message),) = told(analysed(runs), "unreadable")
    assert (file, message) == (f"c/{path.name}", "can't be read (Permission denied); the run is left out")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the reader fail at one file in a way that nobody foresaw."""
    reading = sources.read_file

    def fail(path: Path, *rest: Any) -> Any:
        if path.parent.name == "c":
            raise error
        return reading(path, *rest)

    monkeypatch.setattr(sources, "read_file", fail)


def test_a_fault_of_ours_costs_the_file_and_asks_for_a_report(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = flips(analysed(runs), "wanda-50")
    third(runs)
    failing(monkeypatch, ZeroDivisionError("by\nnothing \ud800"))
    found = analysed(runs)
    faults = told(found, "our_fault")
    assert len(faults) == 2
    assert all(file.startswith("c/samples_") for file, _ in faults)
    assert all("report" in message and "ZeroDivisionError at test_bad_files.py:" in message for _, message in faults)
    assert flips(found, "wanda-50") == expected


def test_a_fault_of_ours_in_a_results_file(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = third(runs)
    from analysis.logs import results

    reading = results.load_object
    monkeypatch.setattr(results, "load_object", lambda it: {}[it] if it == path else reading(it))
    assert [file for file, _ in told(analysed(runs), "our_fault")] == [f"c/{path.name}"]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), KeyboardInterrupt(), OSError(28, "No space left on device")],
    ids=lambda it: type(it).__name__,
)
def test_what_is_no_fault_of_the_file_ends_all(
    error: BaseException, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third(runs)
    failing(monkeypatch, error)
    # A full disk is told by the report's folder.
    with pytest.raises((type(error), UserError), match="No space left" if isinstance(error, OSError) else ""):
        analysed(runs)
    assert sorted(path.name for path in runs.parent.iterdir()) == ["runs"]


def test_debugging_shows_where_a_fault_of_ours_is(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third(runs)
    failing(monkeypatch, ZeroDivisionError())
    monkeypatch.setenv("LM_EVAL_EXT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        analysed(runs)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for a full disk")
@pytest.mark.parametrize("kilobytes", [4, 16])
def test_a_full_disk_is_one_line(kilobytes: int, runs: Path) -> None:
    third(runs)
    command = f"ulimit -f {kilobytes}; exec {sys.executable} -m lm_eval_ext analyze {runs} -o {runs.parent / 'report'}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert "too large" in done.stderr
    assert sorted(path.name for path in runs.parent.iterdir()) == ["runs"]

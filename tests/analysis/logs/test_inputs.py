from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.logs.find import find_runs
from analysis.logs.inputs import Inputs, name_in
from tests.analysis.logs.test_find import A, B, touch


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    touch(tmp_path, f"runs/a/results_{A}.json", f"runs/a/samples_t_{A}.jsonl")
    touch(tmp_path, f"runs/b/results_{A}.json", f"runs/b/results_{B}.json", f"runs/b/samples_u_{B}.jsonl")
    (tmp_path / "runs" / "b" / f"results_{A}.json").write_text("another")
    return tmp_path / "runs"


def found(*given: Path | str) -> tuple[list[str], list[str]]:
    """Results files with their tasks, and the files that issues name."""
    inputs = Inputs.of(given)
    made, issues = find_runs(inputs)
    names = [f"{inputs.name(run.results)} {','.join(run.samples)}".rstrip() for run in made]
    return names, [issue.file for issue in issues]


def test_one_folder_names_files_below_it(runs: Path) -> None:
    assert found(runs)[0] == [f"a/results_{A}.json t", f"b/results_{A}.json", f"b/results_{B}.json u"]
    assert found(runs / "a") == ([f"results_{A}.json t"], [])


def test_many_name_them_below_what_they_share(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [f"a/results_{A}.json t", f"b/results_{B}.json u"]
    results = runs / "b" / f"results_{B}.json"
    assert found(runs / "a", results) == (expected, [])
    monkeypatch.chdir(runs)
    assert found("a", Path("../runs/b") / results.name)[0] == expected


@pytest.mark.parametrize("pattern", ["*", "**", "*/results_*.json", "?/*[0-9].json*", "[ab]"])
def test_a_pattern_in_quotes_is_what_the_shell_makes_of_it(pattern: str, runs: Path) -> None:
    names, issues = found(str(runs / pattern))
    assert (sorted(names), issues) == (sorted(found(runs)[0]), [])
    assert names == found(*map(str, runs.glob(pattern)))[0]


def test_a_name_that_is_there_is_no_pattern(runs: Path) -> None:
    touch(runs, f"x[ab]/results_{A}.json")
    assert found(str(runs / "x[ab]"))[0] == [f"results_{A}.json"]


def test_a_file_stands_for_its_run(runs: Path) -> None:
    for name in (f"results_{B}.json", f"samples_u_{B}.jsonl"):
        assert found(runs / "b" / name) == ([f"results_{B}.json u"], [])


def test_what_is_reached_twice_counts_once(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = found(runs)[0]
    monkeypatch.chdir(runs)
    everything = [Path(), runs, runs / "b" / f"results_{B}.json", Path("b"), Path("../runs")]
    assert len(found(*everything)[0]) == len(expected)


def test_files_that_are_no_logs_are_named(runs: Path) -> None:
    touch(runs, "notes.txt", f"results_{A}.json.gz")
    assert found(*map(str, runs.iterdir()))[1] == [f"results_{A}.json.gz", "notes.txt"]
    with pytest.raises(UserError, match=r"no lm_eval results file .*notes.txt: neither a results nor a samples file"):
        found(runs / "notes.txt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no runs given"),
        (["absent"], "absent is not a folder or a file"),
        (["runs*/none_*"], r"no file or folder matches runs\*/none_\*"),
        (["hf://datasets/me/runs"], "hf://datasets/me/runs: .*hub can't be read yet"),
    ],
)
def test_what_is_not_there_is_one_line(given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Inputs.of(given)
    assert "\n" not in str(caught.value)


def test_names_are_always_text(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    touch(strange, f"m/results_{A}.json")
    assert found(strange) == ([f"m/results_{A}.json"], [])
    assert found(tmp_path)[0] == [f"caf\\udce9/m/results_{A}.json"]
    assert Inputs.of(strange).given == (f"{tmp_path}/caf\\udce9",)
    assert name_in(tmp_path / "x", tmp_path / "y") == str(tmp_path / "y")

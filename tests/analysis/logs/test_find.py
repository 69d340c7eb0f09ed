from __future__ import annotations

from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.logs.find import find_runs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


A, B = "2026-01-02T03-04-05.000001", "2026-01-02T03-04-05.000002"


def test_runs_are_told_apart_by_folder_and_date(tmp_path: Path) -> None:
    touch(
        tmp_path,
        f"m/results_{B}.json",
        f"m/samples_arc_easy_{B}.jsonl",
        f"m/results_{A}.json",
        f"m/samples_arc_easy_{A}.jsonl.gz",
        f"deep/er/results_{A}.json",
        f"deep/er/samples_x_{A}.jsonl",
        "m/notes.json",
        "m/results_final.json",
    )
    runs, issues = find_runs(tmp_path)
    assert issues == []
    assert [(str(run.results.relative_to(tmp_path)), list(run.samples)) for run in runs] == [
        (f"deep/er/results_{A}.json", ["x"]),
        (f"m/results_{A}.json", ["arc_easy"]),
        (f"m/results_{B}.json", ["arc_easy"]),
    ]
    assert runs[1].samples["arc_easy"].name == f"samples_arc_easy_{A}.jsonl.gz"


def test_output_path_ending_in_json_and_a_date_without_fraction(tmp_path: Path) -> None:
    touch(tmp_path, "wanda_50_2026-01-02T03-04-05.json", "samples_t_2026-01-02T03-04-05.jsonl")
    (run,), issues = find_runs(tmp_path)
    assert (run.results.name, list(run.samples), issues) == ("wanda_50_2026-01-02T03-04-05.json", ["t"], [])


def test_samples_without_results_are_named_and_left_out(tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json", f"m/samples_t_{B}.jsonl", f"other/samples_t_{A}.jsonl")
    (run,), issues = find_runs(tmp_path)
    assert run.samples == {}
    assert {(issue.file, issue.kind) for issue in issues} == {
        (f"m/samples_t_{B}.jsonl", "samples_without_results"),
        (f"other/samples_t_{A}.jsonl", "samples_without_results"),
    }


def test_a_file_beside_its_packed_copy_is_ambiguous(tmp_path: Path) -> None:
    names = (f"samples_t_{A}.jsonl", f"samples_t_{A}.jsonl.gz")
    touch(tmp_path, f"results_{A}.json", f"samples_u_{A}.jsonl", *names)
    (run,), issues = find_runs(tmp_path)
    assert list(run.samples) == ["u"]
    assert {(issue.file, issue.kind) for issue in issues} == {(name, "duplicate_file") for name in names}


def test_samples_that_two_results_files_claim_belong_to_neither(tmp_path: Path) -> None:
    touch(tmp_path, f"results_{A}.json", f"copy_{A}.json", f"samples_t_{A}.jsonl")
    runs, (issue,) = find_runs(tmp_path)
    assert [run.samples for run in runs] == [{}, {}]
    assert issue.kind == "ambiguous_samples"
    assert f"copy_{A}.json and results_{A}.json" in issue.message


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        find_runs(tmp_path / "absent")
    touch(tmp_path, f"samples_t_{A}.jsonl")
    with pytest.raises(UserError, match="no lm_eval results file"):
        find_runs(tmp_path)

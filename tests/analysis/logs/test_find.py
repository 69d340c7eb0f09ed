from __future__ import annotations

import os
import socket
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
    assert [(issue.file, issue.kind) for issue in issues] == [("m/results_final.json", "near_miss")]
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
    (tmp_path / f"copy_{A}.json").write_text("{}")
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


def shown(folder: Path, *more: Path) -> tuple[list[str], dict[str, str]]:
    """Results files with their tasks, and the issues by file."""
    runs, issues = find_runs([folder, *more])
    names = [f"{run.results.relative_to(folder)} {','.join(run.samples)}".rstrip() for run in runs]
    return names, {issue.file: issue.kind for issue in issues}


NEAR = [
    f"results_{A}.json.gz",
    f"results_{A}.JSON",
    f"results_{A}.json.tmp",
    f"results_{A}.json~",
    f"results_{A} (1).json",
    f"results_{A} - Copy.json",
    f"._results_{A}.json",
    f".results_{A}.json.swp",
    f"wanda_50_{A}-checkpoint.json",
    f"samples_t_{A}.jsonl.zst",
    f"samples_t_{A}.jsonl.part",
    f"samples_t_{A} (1).jsonl",
    f"Samples_t_{A}.jsonl",
    "results.json",
    "results.json.gz",
    "samples_t.jsonl",
]


@pytest.mark.parametrize("name", NEAR)
def test_what_only_looks_like_a_log_is_named(name: str, tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json", f"m/samples_t_{A}.jsonl", f"m/{name}")
    assert shown(tmp_path) == ([f"m/results_{A}.json t"], {f"m/{name}": "near_miss"})


@pytest.mark.parametrize(
    "name", ["notes.json", "data.jsonl", "model.safetensors.index.json", "config.json", "items.csv"]
)
def test_what_has_nothing_to_do_with_lm_eval_is_not(name: str, tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json")
    (tmp_path / name).write_text('{"results": [1, 2], "by": "another program"}')
    assert shown(tmp_path) == ([f"m/results_{A}.json"], {})


def test_links_are_followed_and_nothing_counts_twice(tmp_path: Path) -> None:
    runs, away = tmp_path / "runs", tmp_path / "away"
    touch(runs, f"m/results_{A}.json", f"m/samples_t_{A}.jsonl")
    touch(away, f"deep/results_{B}.json", f"deep/samples_u_{B}.jsonl")
    (runs / "a-link").symlink_to(runs / "m")  # before m in the alphabet, and yet m keeps its own name
    (runs / "m" / "loop").symlink_to(runs)
    (away / "deep" / "back").symlink_to(away)
    (runs / "z").symlink_to(away)
    (runs / "zz").symlink_to(away / "deep")
    expected = [f"m/results_{A}.json t", f"z/deep/results_{B}.json u"]
    assert shown(runs) == (expected, {})
    assert shown(runs, runs / "m", runs / "a-link")[0] == expected


def test_one_file_under_two_names_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json", f"m/samples_t_{A}.jsonl")
    (tmp_path / "hard").mkdir()
    for path in (tmp_path / "m").iterdir():
        os.link(path, tmp_path / "hard" / path.name)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"results_{A}.json").symlink_to(tmp_path / "m" / f"results_{A}.json")
    # Of the two that have samples, the first in order of names; the link has none.
    assert shown(tmp_path) == ([f"hard/results_{A}.json t"], {})


def test_samples_shared_by_two_runs_are_samples_of_both(tmp_path: Path) -> None:
    # A program that saves space makes one file of equal ones: two runs can have the same answers.
    for name in ("m", "n"):
        touch(tmp_path, f"{name}/results_{A}.json")
        (tmp_path / name / f"results_{A}.json").write_text(name)
    touch(tmp_path, f"m/samples_t_{A}.jsonl")
    os.link(tmp_path / "m" / f"samples_t_{A}.jsonl", tmp_path / "n" / f"samples_t_{A}.jsonl")
    assert shown(tmp_path) == ([f"m/results_{A}.json t", f"n/results_{A}.json t"], {})


def test_a_copy_of_a_run_counts_once_with_a_note(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        touch(tmp_path, f"{folder}/results_{A}.json", f"other/results_{B}.json")
        (tmp_path / folder / f"results_{A}.json").write_text("the same")
    (tmp_path / "other" / f"results_{B}.json").write_text("the same")  # of another date: another run
    touch(tmp_path, f"b/samples_t_{A}.jsonl", f"c/samples_t_{A}.jsonl")
    runs, issues = find_runs(tmp_path)
    assert [str(run.results.relative_to(tmp_path)) for run in runs] == [
        f"b/results_{A}.json",
        f"other/results_{B}.json",
    ]
    assert sorted((issue.file, issue.kind, issue.level) for issue in issues) == [
        (f"a/results_{A}.json", "copy", "note"), (f"c/results_{A}.json", "copy", "note"),
    ]  # fmt: skip
    assert f"b/results_{A}.json" in issues[0].message


def test_broken_links_pipes_and_folders_are_named_and_nothing_hangs(tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / f"results_{B}.json")
    os.mkfifo(tmp_path / "m" / f"samples_t_{A}.jsonl")
    os.mkfifo(tmp_path / "any.pipe")
    (tmp_path / "d" / f"results_{A}.json").mkdir(parents=True)
    touch(tmp_path / "d" / f"results_{A}.json", f"m/results_{B}.json")
    touch(tmp_path / "results.json", f"m/results_{B}.json")  # a folder as --output_path results.json makes it
    (tmp_path / "results.json" / "m" / f"results_{B}.json").write_text("other")
    names, issues = shown(tmp_path)
    assert names == [
        f"m/results_{A}.json",
        f"d/results_{A}.json/m/results_{B}.json",
        f"results.json/m/results_{B}.json",
    ]
    assert issues == {
        "gone": "broken_link",
        "self": "broken_link",
        f"results_{B}.json": "no_file",
        f"m/samples_t_{A}.jsonl": "no_file",
        f"d/results_{A}.json": "no_file",
    }


def test_a_socket_called_like_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, f"results_{A}.json")
    monkeypatch.chdir(tmp_path)  # a socket's path may be no longer than a hundred characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("samples_x.jsonl")
        assert shown(tmp_path)[1] == {"samples_x.jsonl": "no_file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    touch(tmp_path, f"m/results_{A}.json", f"closed/results_{B}.json")
    (tmp_path / "closed").chmod(0)
    try:
        assert shown(tmp_path) == ([f"m/results_{A}.json"], {"closed": "unreadable_folder"})
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_can_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, f"m/results_{A}.json", f"closed/results_{B}.json")
    listing = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr("analysis.logs.walk.os.scandir", refuse)
    assert shown(tmp_path) == ([f"m/results_{A}.json"], {"closed": "unreadable_folder"})
    with pytest.raises(UserError, match=r"no lm_eval results file.*Permission denied"):
        find_runs(tmp_path / "closed")


def test_samples_of_releases_between_0_4_2_and_0_4_3(tmp_path: Path) -> None:
    touch(tmp_path, f"results_{A}.json", f"samples_t_{A}.json")
    # And --output_path samples_x.json of a later release, which gives the results file that name.
    (tmp_path / f"samples_x_{B}.json").write_text('{"results": {}}')
    touch(tmp_path, f"samples_u_{B}.jsonl")
    assert shown(tmp_path) == ([f"results_{A}.json t", f"samples_x_{B}.json u"], {})

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.report.contents import MARKER, MARKER_FORMAT, file_hash
from analysis.report.folder import staged_folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "results.json").touch()
    return folder


def write(output: Path, runs: Path, text: str) -> None:
    with staged_folder(output, runs) as stage:
        (stage / "summary.md").write_text(text)
        (stage / "tables").mkdir()
        (stage / "tables" / "runs.csv").write_text(text)
        files = {name: file_hash(stage / name) for name in ("summary.md", "tables/runs.csv")} | {MARKER: None}
        (stage / MARKER).write_text(json.dumps({"format": MARKER_FORMAT, "files": files}))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_report_appears_and_is_replaced(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "new" / "report"
    write(output, runs, "first")
    write(output, runs, "second")
    assert (output / "summary.md").read_text() == "second"
    assert names(output.parent) == ["report"]


def test_an_empty_folder_is_used(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "report").mkdir()
    write(tmp_path / "report", runs, "first")
    assert names(tmp_path) == ["report", "runs"]


@pytest.mark.parametrize("earlier", [False, True])
def test_after_an_error_everything_is_as_before(tmp_path: Path, runs: Path, earlier: bool) -> None:
    output = tmp_path / "report"
    if earlier:
        write(output, runs, "first")

    def fail() -> None:
        with staged_folder(output, runs) as stage:
            (stage / "summary.md").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == (["report", "runs"] if earlier else ["runs"])
    if earlier:
        assert (output / "summary.md").read_text() == "first"


def refuse(output: Path, runs: Path, message: str) -> None:
    before = sorted(runs.parent.rglob("*"))
    with pytest.raises(UserError, match=message), staged_folder(output, runs):
        pytest.fail("the folder was opened")
    assert sorted(runs.parent.rglob("*")) == before


def test_only_an_earlier_report_is_replaced(tmp_path: Path, runs: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.md").touch()
    refuse(other, runs, "no earlier report")
    (other / MARKER).write_text('{"format": "of another program", "files": []}')
    refuse(other, runs, "no earlier report")
    (other / MARKER).write_text("broken")
    refuse(other, runs, "no earlier report")


def test_a_report_with_other_files_in_it_is_left_alone(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "report"
    write(output, runs, "first")
    (output / "figures").mkdir()
    (output / "figures" / "mine.png").touch()
    refuse(output, runs, r"files that are not the report's \(figures\)")


def test_the_analysed_folder_is_never_the_target(tmp_path: Path, runs: Path) -> None:
    refuse(runs, runs, "is or holds the analysed folder")
    refuse(tmp_path, runs, "is or holds the analysed folder")
    refuse(runs / "results.json", runs, "is a file")


def test_a_report_inside_the_analysed_folder_is_fine(runs: Path) -> None:
    write(runs / "report", runs, "inside")
    assert names(runs) == ["report", "results.json"]


def test_a_file_that_was_changed_since_is_left_alone(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "report"
    write(output, runs, "first")
    (output / "summary.md").write_text("first, with my notes")
    refuse(output, runs, r"not the report's \(summary.md, changed since\)")


def test_a_report_of_an_earlier_version_lists_names_alone(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "report"
    write(output, runs, "first")
    marker = json.loads((output / MARKER).read_text())
    (output / MARKER).write_text(json.dumps(marker | {"files": list(marker["files"])}))
    write(output, runs, "second")
    assert (output / "summary.md").read_text() == "second"


@pytest.mark.parametrize(
    "listed", ["thesis.docx", "../thesis.docx", "/tmp/thesis.docx", "figures/plot.csv", "tables/../x.csv"]
)
def test_a_marker_cant_make_a_file_ours(tmp_path: Path, runs: Path, listed: str) -> None:
    folder = tmp_path / "thesis"
    (folder / "figures").mkdir(parents=True)
    for name in ("thesis.docx", "x.csv", "figures/plot.csv", "../thesis.docx"):
        (folder / name).write_text("years of work")
    (folder / MARKER).write_text(json.dumps({"format": MARKER_FORMAT, "files": [listed, "x.csv", "figures", MARKER]}))
    refuse(folder, runs, "files that are not the report's")


def test_links_and_pipes_in_a_report_are_strangers(tmp_path: Path, runs: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "runs.csv").write_text("mine")
    for name, make in {
        "a file": lambda at: (at / "issues.csv").symlink_to(kept / "runs.csv"),
        "the tables": lambda at: (at / "tables").symlink_to(kept),
        "a pipe": lambda at: os.mkfifo(at / "issues.csv"),
    }.items():
        output = tmp_path / name
        output.mkdir()
        make(output)
        files = ["issues.csv", "tables/runs.csv", "tables", MARKER]
        (output / MARKER).write_text(json.dumps({"format": MARKER_FORMAT, "files": files}))
        refuse(output, runs, "files that are not the report's")
    piped = tmp_path / "marker"
    piped.mkdir()
    os.mkfifo(piped / MARKER)
    refuse(piped, runs, "no earlier report")


@pytest.mark.parametrize(
    "marker", ["[" * 100_000, '{"format": 3}', "[]", '{"format": "lm-eval-ext report", "files": 3}']
)
def test_a_marker_of_any_content_is_no_crash(tmp_path: Path, runs: Path, marker: str) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / MARKER).write_text(marker)
    refuse(tmp_path / "report", runs, "no earlier report")


def test_what_comes_in_while_a_report_is_written_is_kept(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "report"
    write(output, runs, "first")

    def write_second() -> None:
        with staged_folder(output, runs) as stage:
            (stage / "summary.md").write_text("second")
            (output / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match="not the report's"):
        write_second()
    assert (output / "notes.txt").read_text() == "mine"
    assert (output / "summary.md").read_text() == "first"
    assert names(tmp_path) == ["report", "runs"]


def test_a_full_disk_is_a_line_and_the_earlier_report_stays(tmp_path: Path, runs: Path) -> None:
    output = tmp_path / "report"
    write(output, runs, "first")

    def fill() -> None:
        with staged_folder(output, runs) as stage:
            (stage / "summary.md").write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"can't be written: No space left on device\. Free some"):
        fill()
    assert (output / "summary.md").read_text() == "first"
    assert names(tmp_path) == ["report", "runs"]


def test_no_input_may_lie_where_the_report_goes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "b" / "results.json"
    file.parent.mkdir()
    file.touch()
    for output in (tmp_path / "a", tmp_path / "b", tmp_path):
        with (
            pytest.raises(UserError, match=r"is or holds the analysed (folder|file)"),
            staged_folder(output, tmp_path / "a", file),
        ):
            pass
    with staged_folder(tmp_path / "a" / "report", tmp_path / "a", file):
        pass

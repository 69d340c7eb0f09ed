from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.report.folder import MARKER, MARKER_FORMAT, staged_folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "results.json").touch()
    return folder


def write(output: Path, runs: Path, text: str) -> None:
    with staged_folder(output, runs) as stage:
        (stage / "summary.md").write_text(text)
        (stage / MARKER).write_text(json.dumps({"format": MARKER_FORMAT, "files": ["summary.md", MARKER]}))


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
    refuse(output, runs, r"files that are not the report's \(figures/mine.png\)")


def test_the_analysed_folder_is_never_the_target(tmp_path: Path, runs: Path) -> None:
    refuse(runs, runs, "is or holds the analysed folder")
    refuse(tmp_path, runs, "is or holds the analysed folder")
    refuse(runs / "results.json", runs, "is a file")


def test_a_report_inside_the_analysed_folder_is_fine(runs: Path) -> None:
    write(runs / "report", runs, "inside")
    assert names(runs) == ["report", "results.json"]


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

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.logs import ItemStore, Logs, cache, read_logs, sources
from analysis.logs.sources import Source, read_source
from tests.analysis.logs.test_samples import LINES, task
from tests.helpers.runlogs import Task, bbq_line, drawn_line, evidence, rolling_line, samples_of, write_lines, write_run


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, about: Any) -> None:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(sources, "read_file", refuse)


def entries(folder: Path) -> list[Path]:
    """What is kept of samples files; their documents have entries of their own (test_documents.py)."""
    return [path for path in folder.iterdir() if not path.name.startswith("documents-")]


def analysed(folder: Path, store: Path, **options: Any) -> tuple[Logs, pd.DataFrame]:
    with ItemStore(store) as opened:
        logs = read_logs(folder, opened, **options)
        frames = [opened.read(label, name) for label, run in logs.runs.items() for name in run.tasks]
    return logs, pd.concat(frames)


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "own"))
    assert cache.cache_folder() == tmp_path / "own" / "samples"
    monkeypatch.delenv("LM_EVAL_EXT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "lm-eval-ext" / "samples"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "lm-eval-ext" / "samples"


def test_a_second_reading_is_the_first_whatever_the_runs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [bbq_line(0, 1), drawn_line(1, [0, None, 2]), bbq_line(2, None)]
    logs = tmp_path / "logs"
    write_run(logs, 1, {"b": Task(lines), "w": Task([rolling_line(0, -3.0)], "loglikelihood_rolling")}, evidence("x"))
    broken = samples_of(write_run(logs, 2, {"b": Task([*lines, lines[0]])}, evidence("y")), "b")
    broken.write_bytes(b"no json\n" + broken.read_bytes())
    first, rows = analysed(logs, tmp_path / "1.parquet")
    assert {issue.kind for issue in first.issues} == {"bad_line", "duplicate_items"}
    no_reading(monkeypatch)
    second, again = analysed(logs, tmp_path / "2.parquet")
    pd.testing.assert_frame_equal(rows, again)
    assert second.issues == first.issues
    assert [run.tasks for run in second.runs.values()] == [run.tasks for run in first.runs.values()]
    # The same files elsewhere, of a run with another label.
    other = tmp_path / "elsewhere"
    logs.rename(other)
    for path in other.glob("results*"):
        path.write_text(path.read_text().replace('"label": "x"', '"label": "z"'))
    third, renamed = analysed(other, tmp_path / "3.parquet")
    assert list(third.runs) == ["z", "y"]
    assert renamed["run"].tolist() == rows["run"].replace("x", "z").tolist()
    pd.testing.assert_frame_equal(renamed.drop(columns="run"), rows.drop(columns="run"))


def test_only_a_new_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "logs", 1, {"b": Task([bbq_line(0, 1)])}, evidence("x"))
    analysed(tmp_path / "logs", tmp_path / "1.parquet")
    new = samples_of(write_run(tmp_path / "logs", 2, {"b": Task([bbq_line(0, 2)])}, evidence("y")), "b")
    seen: list[Path] = []
    reading = sources.read_file
    monkeypatch.setattr(sources, "read_file", lambda path, about: seen.append(path) or reading(path, about))
    _, rows = analysed(tmp_path / "logs", tmp_path / "2.parquet")
    assert seen == [new]
    assert rows["choice"].tolist() == [1, 2]


def test_what_nobody_uses_goes(tmp_path: Path) -> None:
    write_run(tmp_path / "logs", 1, {"b": Task([bbq_line(0, 1)])}, evidence("x"))
    analysed(tmp_path / "logs", tmp_path / "1.parquet")
    folder = cache.cache_folder()
    (used,), (documents,) = entries(folder), folder.glob("documents-*")
    name = "0123456789abcdef" * 4
    unused, broken, recent = (
        folder / n for n in (f"{name}.parquet", f".{name}.12.89abcdef.partial", f"{name[::-1]}.parquet")
    )
    theirs = [folder / "mine.parquet", folder / f"{name}.parquet.txt", folder / ".x.partial"]
    days = {used: 91, documents: 91, unused: 91, broken: 91, recent: 89, **dict.fromkeys(theirs, 91)}
    for entry, age in days.items():
        entry.touch()
        then = time.time() - age * 24 * 3600
        os.utime(entry, (then, then))
    analysed(tmp_path / "logs", tmp_path / "2.parquet")
    assert set(folder.iterdir()) == {used, documents, recent, *theirs}
    assert time.time() - used.stat().st_mtime < 3600


def test_an_entry_is_named_by_content_reader_and_what_is_known_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copy, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    write_lines(path, LINES)
    write_lines(copy, LINES)
    write_lines(other, LINES[:4])
    about = task(LINES)
    name = cache.entry_name(path, about)
    assert cache.entry_name(copy, about) == name
    changed = [
        cache.entry_name(other, about),
        *(
            cache.entry_name(path, task(LINES, **{key: value}))
            for key, value in {"name": "u", "n_effective": 4, "task_hash": None, "output_type": "loglikelihood"}.items()
        ),
    ]
    monkeypatch.setattr(cache, "_READER", "another")
    changed.append(cache.entry_name(path, about))
    assert len({name, *changed}) == 7


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another's"])
def test_a_damaged_entry_is_read_again_and_replaced(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = tmp_path / "s.jsonl"
    write_lines(path, LINES)
    source = Source(path, task(LINES))
    first = read_source(source, cache)
    (entry,) = entries(cache)
    whole = entry.read_bytes()
    middle = len(whole) // 4
    spoilt = {
        "cut": whole[:-20],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "emptied": b"",
    }
    if damage in spoilt:
        entry.write_bytes(spoilt[damage])
    else:
        pd.DataFrame({"a": [1]}).to_parquet(entry)
    second = read_source(source, cache)
    assert first.read is not None
    assert second.read is not None
    assert second.read.table.equals(first.read.table)
    assert entries(cache) == [entry]
    no_reading(monkeypatch)
    assert read_source(source, cache).entry == entry


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cache_that_can_not_be_written_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("analysis.logs.parallel.WORTH", 0)
    for number in (1, 2, 3):
        write_run(tmp_path / "logs", number, {"b": Task([bbq_line(0, 1)])}, evidence(f"x-{number}"))
    logs, rows = analysed(tmp_path / "logs", tmp_path / "1.parquet", workers=workers)
    (issue,) = logs.issues
    assert (issue.kind, issue.level, issue.file) == ("cache", "warning", str(tmp_path / "file" / "samples"))
    assert "3 files will be read again next time" in issue.message
    assert len(rows) == 3


def test_what_could_not_be_read_to_its_end_is_not_kept(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "s.jsonl.gz"
    write_lines(path, LINES)
    path.write_bytes(path.read_bytes()[:-12])
    found = read_source(Source(path, task(LINES)), cache)
    assert found.read is not None
    assert [issue.kind for issue in found.read.issues] == ["truncated"]
    assert not cache.exists()


def test_a_file_that_is_written_to_meanwhile_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.jsonl"
    write_lines(path, LINES)
    reading = sources.read_file

    def slow(path: Path, about: Any) -> Any:
        found = reading(path, about)
        os.utime(path, (1, 1))
        return found

    monkeypatch.setattr(sources, "read_file", slow)
    assert read_source(Source(path, task(LINES)), cache).read is not None
    assert not cache.exists()


def test_small_files_are_not_kept_and_a_missing_one_is_said(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.logs.cache.SMALLEST", 1 << 20)
    path = tmp_path / "s.jsonl"
    write_lines(path, LINES)
    for _ in range(2):
        found = read_source(Source(path, task(LINES)), cache)
        assert found.read is not None
        assert found.read.table.num_rows == len(LINES)
    path.unlink()
    gone = read_source(Source(path, task(LINES)), cache)
    assert gone.read is not None
    assert [issue.kind for issue in gone.read.issues] == ["truncated"]
    assert not cache.exists()

"""Processes that are killed, or write at once: the target is a whole report, and nothing stays beside it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analysis.report.contents import is_whole
from analysis.report.folder import staged_folder
from analysis.report.leftovers import Hold, clear_leftovers, place_for
from tests.analysis.report.test_folder import names, write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

DAY = 24 * 3600


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def forked(work: Callable[[], object]) -> int:
    """Process id of a child that does some work and ends: 0, or 1 after an error."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """The exit code of a child, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def reachable(target: Path) -> set[str]:
    """What the report says that is at the target, or, between two names, beside it."""
    if target.exists():
        assert is_whole(target)
        return {(target / "summary.md").read_text()}
    old = [path for path in target.parent.iterdir() if path.name.endswith(".old")]
    return {(path / "summary.md").read_text() for path in old if is_whole(path)}


def killed_at(moment: int) -> Callable[[str, tuple[object, ...]], None]:
    """An audit hook that kills its process when it is about to do this many things with files."""
    left = iter(range(moment, -2, -1))

    def hook(event: str, _: tuple[object, ...]) -> None:
        counts = event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "fcntl.flock")
        if counts and next(left, 0) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def test_killed_at_every_step_the_old_report_or_the_new_one_is_there(tmp_path: Path, runs: Path) -> None:
    target = tmp_path / "report"
    between = 0
    for moment in range(1, 200):
        write(target, runs, "old")
        assert names(tmp_path) == ["report", "runs"]

        def replace(moment: int = moment) -> None:
            sys.addaudithook(killed_at(moment))
            write(target, runs, "new")

        code = ended(forked(replace))
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        between += not target.exists()
        assert reachable(target) in ({"old"}, {"new"})
        clear_leftovers(target)
        assert names(tmp_path) == ["report", "runs"]
        assert reachable(target) in ({"old"}, {"new"})
    assert code == 0
    assert moment > 15  # a report takes that many steps
    assert between == 1  # the one moment between two renames


def test_killed_at_random_while_two_write(tmp_path: Path, runs: Path) -> None:
    target = tmp_path / "report"
    write(target, runs, "0")
    dice = random.Random(5)

    def keep_writing() -> None:
        while True:
            write(target, runs, str(os.getpid()))

    for _ in range(20):
        children = [forked(keep_writing) for _ in range(2)]
        time.sleep(dice.uniform(0.005, 0.1))
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert [ended(child) for child in children] == [-signal.SIGKILL] * 2
        assert reachable(target)
        write(target, runs, "1")
        assert names(tmp_path) == ["report", "runs"]


def test_three_writers_at_once_all_succeed(tmp_path: Path, runs: Path) -> None:
    target = tmp_path / "report"

    def often() -> None:
        for number in range(20):
            write(target, runs, f"{os.getpid()} {number}")

    children = [forked(often) for _ in range(3)]
    assert [ended(child) for child in children] == [0, 0, 0]
    assert names(tmp_path) == ["report", "runs"]
    assert is_whole(target)
    assert (target / "summary.md").read_text() in {f"{child} 19" for child in children}


def test_without_holds_writers_still_succeed(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    test_three_writers_at_once_all_succeed(tmp_path, runs)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    folder.mkdir()
    hold = Hold(folder)
    assert hold.held
    yield
    hold.let_go()


def test_only_what_nobody_holds_is_cleared_away(tmp_path: Path) -> None:
    target = tmp_path / "report"
    alive, dead = place_for(target, "partial"), place_for(target, "partial")
    dead.mkdir()
    with held(alive):
        clear_leftovers(target)
        assert names(tmp_path) == [alive.name]
        os.utime(alive, (0, 0))
        clear_leftovers(target)
        assert names(tmp_path) == [alive.name]
    clear_leftovers(target)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [".report.0123abcd.partial", ".report.01234567-0123abcd.partial"])
def test_what_another_machine_or_version_left_is_cleared_after_a_day(tmp_path: Path, name: str) -> None:
    left = tmp_path / name
    left.mkdir()
    (left / "items.parquet").touch()
    clear_leftovers(tmp_path / "report")
    assert names(tmp_path) == [name]
    yesterday = time.time() - DAY - 60
    os.utime(left, (yesterday, yesterday))
    clear_leftovers(tmp_path / "report")
    assert names(tmp_path) == [name]  # a file in it is new
    os.utime(left / "items.parquet", (yesterday, yesterday))
    os.utime(left, (yesterday, yesterday))
    clear_leftovers(tmp_path / "report")
    assert names(tmp_path) == []


def test_other_names_and_links_are_no_leftovers(tmp_path: Path) -> None:
    target, others = (
        tmp_path / "report",
        [".report.partial", ".report.mine.old", "report.0123abcd.old", ".other.0123abcd.old"],
    )
    for name in others:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "work.txt").touch()
    place_for(target, "partial").symlink_to(kept)
    before = names(tmp_path)
    clear_leftovers(target)
    assert names(tmp_path) == before
    assert (kept / "work.txt").exists()


def test_work_that_lies_in_a_report_moved_away_is_kept(tmp_path: Path, runs: Path) -> None:
    target = tmp_path / "report"
    write(target, runs, "first")
    old = place_for(target, "old")
    target.rename(old)
    (old / "notes.txt").write_text("mine")
    with staged_folder(target, runs) as stage:
        (stage / "x").touch()
    assert (old / "notes.txt").read_text() == "mine"

"""An analysis that is killed, disturbed or starved leaves nothing that a later one takes for true."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from analysis.logs import cache
from tests.fuzz.faults import Ended, Runner, damage, strangers
from tests.fuzz.logs import Base, stored_bases
from tests.fuzz.oracle import look, tables_of

KILLS = int(os.environ.get("FUZZ_KILLS", "4"))
CACHE_FAULTS = int(os.environ.get("FUZZ_CACHE_FAULTS", "40"))
_NAME = "fuzz_words"


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as started:
        yield started


@pytest.fixture(scope="module")
def base() -> Base:
    """Logs whose tables are quickly made."""
    (found,) = (base for base in stored_bases() if base.name == _NAME)
    return found


@pytest.fixture(scope="module")
def undisturbed(base: Base, runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Ended]:
    folder = tmp_path_factory.mktemp("undisturbed")
    base.write(folder / "runs")
    ended = runner.start(folder / "runs", folder / "report", folder / "cache").wait()
    assert ended.code == 0, ended.said
    return tables_of(folder / "report"), ended


def test_kills_at_any_moment_change_no_table(
    base: Base, runner: Runner, undisturbed: tuple[dict[str, str], Ended], tmp_path: Path
) -> None:
    tables, whole = undisturbed
    base.write(tmp_path / "runs")
    rng, killed = Random(3), 0
    for _ in range(KILLS):
        running = runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "cache")
        time.sleep(rng.uniform(0, 1.1 * whole.seconds))
        running.kill()
        killed += running.wait().code == -9
        # Whatever the moment: no report yet, or a whole one.
        assert not (tmp_path / "report").exists() or tables_of(tmp_path / "report") == tables
    assert killed, "every analysis was done before its kill"
    ended = runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "cache").wait()
    assert ended.code == 0, ended.said
    assert tables_of(tmp_path / "report") == tables
    assert strangers(tmp_path, "runs", "report", "cache") == []


def test_three_writers_at_once_leave_one_whole_report(
    base: Base, runner: Runner, undisturbed: tuple[dict[str, str], Ended], tmp_path: Path
) -> None:
    tables, _ = undisturbed
    base.write(tmp_path / "runs")
    for _ in range(2):  # into no folder, then into a report
        under_way = [runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "cache") for _ in range(3)]
        ends = [running.wait() for running in under_way]
        assert [end.said for end in ends if end.code] == []
        assert tables_of(tmp_path / "report") == tables
        assert strangers(tmp_path, "runs", "report", "cache") == []


@pytest.mark.parametrize("most", [100, 2_000, 6_000, 20_000])
def test_a_file_that_can_not_grow_is_one_line_and_the_old_report_stays(
    most: int, base: Base, runner: Runner, undisturbed: tuple[dict[str, str], Ended], tmp_path: Path
) -> None:
    tables, _ = undisturbed
    base.write(tmp_path / "runs")
    runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "cache").wait()
    ended = runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "other cache", most=most).wait()
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert len(ended.said.splitlines()) <= 1 or most == 100  # 100 bytes cut the line itself
    assert tables_of(tmp_path / "report") == tables
    assert strangers(tmp_path, "runs", "report", "cache", "other cache") == []
    # What it has left in its cache is not taken for true.
    ended = runner.start(tmp_path / "runs", tmp_path / "report", tmp_path / "other cache").wait()
    assert ended.code == 0, ended.said
    assert tables_of(tmp_path / "report") == tables


def test_damaged_cache_entries_change_no_row(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SMALLEST", 0)
    rng, entries = Random(5), cache.cache_folder()
    found = {}
    for base in stored_bases():
        base.write(tmp_path / base.name)
        found[base.name] = look(tmp_path / base.name, tmp_path / "read")
    kept = {path: path.read_bytes() for path in entries.glob("*.parquet")}
    assert len(kept) >= 2 * len(found)
    wrong = []
    for _ in range(CACHE_FAULTS):
        for path, content in kept.items():
            path.write_bytes(content)
        name = rng.choice([*found])
        done = [damage(path, [*kept], rng) for path in kept if rng.random() < 0.5]
        if look(tmp_path / name, tmp_path / "read") != found[name]:
            wrong.append((name, done))
    assert wrong == []

"""A disk that fills up while a report is written: one line, the earlier report as it was, and nothing beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run
from tests.helpers.venvs import ROOT

# Prints a line for each time that the disk is full, and one at the end, when it is not.
CHECKED = """
import resource, sys
from pathlib import Path
from analysis import UserError, analyze

runs, report = Path("runs"), Path(sys.argv[1])
analyze(runs, report)
before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}

def check():
    try:
        analyze(runs, report)
        said = "written"
    except UserError as error:
        said = str(error)
    now = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    beside = sorted(path.name for path in report.parent.iterdir() if path.name not in ("runs", "filler"))
    print(said if (now, beside) == (before, ["report"]) else f"changed: {beside}")
"""
LIMITS = """
for limit in (0, 100, 4_000, 12_000, 24_000, 10**7):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    check()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
SPACE = """
import os
for free in (0, 8_192, 65_536, 300_000):
    room = os.statvfs(report.parent)
    (report.parent / "filler").write_bytes(bytes(max(room.f_bavail * room.f_frsize - free, 0)))
    check()
    (report.parent / "filler").unlink()
check()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs", 1, {"arc": Task([choice_line(i, 0) for i in range(20)])}, evidence("dense", **DENSE))
    lines = [choice_line(i, i % 2) for i in range(20)]
    write_run(tmp_path / "runs", 2, {"arc": Task(lines)}, evidence("wanda-50"))
    return tmp_path


def lines_of(folder: Path, *command: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_files_that_may_not_grow(folder: Path) -> None:
    said = lines_of(folder, sys.executable, "-c", CHECKED + LIMITS, "report")
    line = "--output report can't be written: File too large. Free some space or name another folder; what was there"
    assert said == [f"{line} is as before."] * 5 + ["written"]


def test_a_disk_that_is_full(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=4m tmpfs {disk}"
    enter = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*enter, mount], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    script = folder / "check.py"
    script.write_text(CHECKED + SPACE)
    said = lines_of(folder, *enter, f"{mount} && {sys.executable} {script} disk/report")
    line = "--output disk/report can't be written: No space left on device. Free some space or name another folder"
    assert said == [f"{line}; what was there is as before."] * 4 + ["written"]

"""Whole commands that are killed or write at once; test_leftovers.py does the same with the folder alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.report.contents import is_whole
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run
from tests.helpers.venvs import ROOT

pytestmark = pytest.mark.slow
KILLS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs", 1, {"arc": Task([choice_line(i, 0) for i in range(20)])}, evidence("dense", **DENSE))
    lines = [choice_line(i, i % 2) for i in range(20)]
    write_run(tmp_path / "runs", 2, {"arc": Task(lines)}, evidence("wanda-50"))
    return tmp_path


def started(folder: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", "runs", "--output", "report"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[bytes]) -> int:
    said = process.communicate()[1]
    assert b"Traceback" not in said
    return process.returncode


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "runs")


def test_killed_at_random_moments(folder: Path) -> None:
    began = time.monotonic()
    assert finished(started(folder)) == 0
    took = time.monotonic() - began
    dice = random.Random(1)
    for _ in range(KILLS):
        process = started(folder)
        time.sleep(dice.uniform(0.3, 1.0) * took)
        process.kill()
        process.communicate()
        assert is_whole(folder / "report") or any(is_whole(path) for path in folder.glob(".report.*.old"))
    assert finished(started(folder)) == 0
    assert is_whole(folder / "report")
    assert beside(folder) == ["report"]


def test_three_commands_at_once(folder: Path) -> None:
    assert [finished(process) for process in [started(folder) for _ in range(3)]] == [0, 0, 0]
    assert is_whole(folder / "report")
    assert beside(folder) == ["report"]

"""The house: imports go down, and the page says what the code is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers.shared import ROOT
from tools.architecture import PAGE, page, rooms


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over a checkout."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)


def checkout(folder: Path) -> Path:
    """A copy of both packages with their contracts."""
    for name in ("analysis", "lm_eval_ext"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_go_down() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_import_that_goes_up_is_found(tmp_path: Path) -> None:
    values = checkout(tmp_path) / "analysis" / "logs" / "values.py"
    values.write_text(values.read_text() + "\nfrom ..tables import catalogue\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "analysis.logs.values -> analysis.tables" in done.stdout


def test_analysis_has_one_door_to_lm_eval_ext(tmp_path: Path) -> None:
    values = checkout(tmp_path) / "analysis" / "logs" / "values.py"
    values.write_text(values.read_text() + "\nimport lm_eval_ext.plugin\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "analysis.logs.values -> lm_eval_ext.plugin" in done.stdout


def test_the_rooms_of_analysis_are_few() -> None:
    found = rooms("analysis")
    assert len(found) <= 13
    assert max(room.floor for room in found) <= 7


def test_a_room_stands_above_all_that_it_imports() -> None:
    for package in ("analysis", "lm_eval_ext", "lm_eval_ext.models"):
        floors = {room.name: room.floor for room in rooms(package)}
        for room in rooms(package):
            assert all(floors[below] < room.floor for below in room.imports)


def test_the_page_is_of_this_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m tools.architecture"

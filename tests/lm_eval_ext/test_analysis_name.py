"""`lm_eval_ext.analysis`: our analysis, whatever a user's folder holds under the name `analysis`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run
from tests.helpers.venvs import ROOT, Venv

# What a user has beside the notebook, by file.
SHADOWS = {
    "a module": {"analysis.py": "def analyze(frame): raise SystemExit('the wrong one')\n"},
    "a package": {"analysis/__init__.py": "", "analysis/report.py": "print('the wrong one')\n"},
    "a broken module": {"analysis.py": "def analyze(:\n"},
    "a module that ends": {"analysis.py": "raise SystemExit('the wrong one')\n"},
    "a folder": {"analysis/data.csv": "a,b\n"},
}
NOTEBOOK = """
from lm_eval_ext.analysis import UserError, analyze, report
from lm_eval_ext.analysis.logs import parallel
import lm_eval_ext.analysis.inference.paired as paired
import lm_eval_ext.errors
assert paired is lm_eval_ext.analysis.inference.paired
assert UserError is lm_eval_ext.errors.UserError
other = parallel._start()  # a reader in a process of its own finds the same package
assert parallel._ready(other)
other.kill()
found = analyze("runs", "report")
print(list(found.tables["runs"]["run"]), analyze.__module__, type(found).__name__)
"""


def lay(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder, and two runs beside them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_run(folder / "runs", 1, {"arc": Task([choice_line(i, 0) for i in range(4)])}, evidence("dense", **DENSE))
    write_run(folder / "runs", 2, {"arc": Task([choice_line(i, i % 2) for i in range(4)])}, evidence("wanda-50"))


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """This interpreter in a folder, which Python searches first, with the checkout behind it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shadow", ["a module", "a package", "a broken module"])
def test_the_command_works_beside(shadow: str, tmp_path: Path) -> None:
    lay(tmp_path, SHADOWS[shadow])
    done = python(tmp_path, "-m", "lm_eval_ext", "analyze", "runs", "--output", "report")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "2 runs of 1 base model, 1 task comparison with dense." in done.stdout
    assert (tmp_path / "report" / "summary.md").is_file()


@pytest.mark.parametrize("shadow", SHADOWS)
def test_a_notebook_works_beside(shadow: str, tmp_path: Path) -> None:
    lay(tmp_path, SHADOWS[shadow])
    done = python(tmp_path, "-c", NOTEBOOK)
    # A folder without __init__.py hides nothing: ours comes later on the path, but is a package.
    name = "analysis" if shadow == "a folder" else "lm_eval_ext.analysis"
    assert (done.returncode, done.stdout) == (0, f"['dense', 'wanda-50'] {name}.pipeline Analysis\n"), done.stderr


def test_a_script_of_that_name_uses_it(tmp_path: Path) -> None:
    lay(tmp_path, {"analysis.py": NOTEBOOK})
    done = python(tmp_path, "analysis.py")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout == "['dense', 'wanda-50'] lm_eval_ext.analysis.pipeline Analysis\n"


def test_where_nothing_is_in_the_way_it_is_the_very_package(tmp_path: Path) -> None:
    source = """
import sys
import analysis.schema.items as before
import lm_eval_ext.analysis as ours
import analysis
assert ours is analysis and sys.modules["lm_eval_ext.analysis"] is analysis
import lm_eval_ext.analysis.schema.items as same
import lm_eval_ext.analysis.tables.rates as first
import analysis.tables.rates as second
from lm_eval_ext.analysis.tables.rates import rates
assert same is before and first is second and rates is analysis.rates
assert second.__spec__.name == second.__name__ == "analysis.tables.rates"
names = [name for name in sys.modules if name.startswith("analysis")]
assert len({id(sys.modules[name]) for name in names}) == len(names) > 9
import importlib
try:
    importlib.import_module("lm_eval_ext.analysis.nothing")
except ModuleNotFoundError as error:
    print(error)
"""
    done = python(tmp_path, "-c", source)
    assert (done.returncode, done.stdout) == (0, "No module named 'analysis.nothing'\n"), done.stderr


@pytest.mark.parametrize(
    ("files", "found"), [({}, "is missing"), ({"analysis/__init__.py": "x = 1\n"}, "is another package's")]
)
def test_a_package_that_is_not_there_is_a_line(files: dict[str, str], found: str, tmp_path: Path) -> None:
    ours = ["__init__.py", "__main__.py", "analysis.py", "errors.py", "media.py", "outputs.py", "cli"]
    (tmp_path / "site" / "lm_eval_ext").mkdir(parents=True)
    for name in ours:
        source, target = ROOT / "lm_eval_ext" / name, tmp_path / "site" / "lm_eval_ext" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    lay(tmp_path / "site", files)
    done = python(tmp_path / "site", "-m", "lm_eval_ext", "analyze", "runs")
    place = tmp_path / "site" / "analysis" / "__init__.py"
    assert done.returncode == 2
    assert done.stderr == (
        f"error: the package analysis of lm-eval-ext can't be loaded: {place} {found}. Reinstall lm-eval-ext, in an "
        "environment where no other package brings a module analysis\n"
    )


@pytest.mark.slow
def test_installed_from_a_wheel(installed: Venv, tmp_path: Path) -> None:
    cases: dict[str, Callable[[Path], subprocess.CompletedProcess[str]]] = {
        "a package": lambda folder: installed.code(NOTEBOOK, folder),
        "a module": lambda folder: installed.run("-m", "lm_eval_ext", "analyze", "runs", cwd=folder),
        "a broken module": lambda folder: installed.run("-m", "lm_eval_ext", "analyze", "runs", cwd=folder),
    }
    for shadow, command in cases.items():
        folder = tmp_path / shadow.replace(" ", "_")
        lay(folder, SHADOWS[shadow])
        done = command(folder)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert "wanda-50" in done.stdout

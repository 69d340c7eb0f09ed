"""A cache is of one reader: what other code has read is read again."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import analysis
from analysis.logs.cache import reader_sources
from tests.helpers.runlogs import Task, bbq_line, evidence, write_run

PACKAGE = Path(analysis.__file__).parent
READ = """
import sys
from pathlib import Path
from analysis.logs import ItemStore, cache, read_logs
cache.SMALLEST = 0
with ItemStore(Path(sys.argv[2])) as store:
    logs = read_logs(Path(sys.argv[1]), store)
    frame = store.read("x", "b")
print(frame["correct"].tolist())
"""


def read(package: Path, logs: Path, cache: Path, store: Path) -> str:
    """The rows' `correct` as the code in a folder reads them."""
    env = os.environ | {"PYTHONPATH": str(package), "LM_EVAL_EXT_CACHE": str(cache)}
    command = [sys.executable, "-c", READ, str(logs), str(store)]
    return subprocess.run(command, env=env, cwd=package, check=True, capture_output=True, text=True).stdout.strip()


def entries(cache: Path) -> list[Path]:
    return [path for path in (cache / "samples").iterdir() if not path.name.startswith("documents-")]


def test_a_changed_reader_does_not_take_what_the_old_one_kept(tmp_path: Path) -> None:
    logs, cache = tmp_path / "logs", tmp_path / "cache"
    write_run(logs, 1, {"b": Task([bbq_line(0, 0), bbq_line(1, 1), bbq_line(2, 2)])}, evidence("x"))
    first = read(PACKAGE.parent, logs, cache, tmp_path / "1.parquet")
    (entry,) = entries(cache)
    # The same code elsewhere, as another environment has it: its entry is the same.
    other = tmp_path / "other"
    shutil.copytree(PACKAGE, other / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    assert read(other, logs, cache, tmp_path / "2.parquet") == first
    assert entries(cache) == [entry]
    # `correct` inverted, the columns and their names as before.
    reader = other / "analysis" / "logs" / "options.py"
    text = reader.read_text()
    assert text.count("choice == self.key") == 1
    reader.write_text(text.replace("choice == self.key", "choice != self.key"))
    inverted = read(other, logs, cache, tmp_path / "3.parquet")
    assert (first, inverted) == ("[False, False, True]", "[True, True, False]")
    assert len(entries(cache)) == 2


def imported(path: Path) -> set[Path]:
    """Files of `analysis` that a file imports: its imports inside the package are relative."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1]
            modules = [base.joinpath(*(node.module or "").split("."))]
            modules += [modules[0] / alias.name for alias in node.names]
            for module in modules:
                found |= {file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file()}
    return {file for file in found if PACKAGE in file.parents} - {PACKAGE / "__init__.py"}


def test_every_file_that_the_reader_imports_is_in_its_version() -> None:
    reached, rest = set(), {PACKAGE / "logs" / "sources.py", PACKAGE / "logs" / "read.py"}
    while rest:
        reached |= rest
        rest = {file for path in rest for file in imported(path)} - reached
    assert len(reached) > 10
    assert reached <= set(reader_sources())
    assert all(path.is_file() for path in reader_sources())


def test_the_version_costs_milliseconds() -> None:
    from analysis.logs import cache

    start = time.perf_counter()
    assert cache._version() == cache._READER
    assert time.perf_counter() - start < 0.2

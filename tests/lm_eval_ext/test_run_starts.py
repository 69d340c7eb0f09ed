"""`lm-eval-ext run` leaves lm_eval's own tasks out of the index where only ours are asked, and never else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm_eval_ext.cli.run import _tasks
from tests.helpers.venvs import Venv


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("run --tasks a,b --limit 8", ["a", "b"]),
        ("run --model m --tasks a b,c --limit 8", ["a", "b", "c"]),
        ("run --tasks=a,b", ["a", "b"]),
        ("run -t a -o runs", ["a"]),
        ("run --tasks a --tasks b", ["b"]),
        ("run --model m", []),
        ("run --config run.yaml --tasks a", []),
        ("run --tasks", []),
    ],
)
def test_names_of_the_tasks(line: str, names: list[str]) -> None:
    assert _tasks(line.split()) == names


SOURCE = """
import sys
from lm_eval_ext import plugin
plugin.activate(sys.argv[1:])
from lm_eval.tasks import TaskManager
found = TaskManager(include_path={path!r}).all_tasks
print(len(found) > 1000, "hellaswag" in found, "bbq_itemlevel_demo" in found, "mine" in found)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "whole"),
    [
        (["bbq_itemlevel_cyclic_demo", "text_perplexity"], False),
        (["bbq_itemlevel_demo", "hellaswag"], True),
        ([], True),
    ],
)
def test_the_index(asked: list[str], whole: bool, installed: Venv, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\ndataset_path: json\noutput_type: generate_until\n")
    done = installed.run("-c", SOURCE.format(path=str(tmp_path)), *asked, cwd=tmp_path)
    assert done.stdout.split() == [str(whole), str(whole), "True", "True"], done.stderr

"""A script in a process of its own: what it is asked, what it answers, and how it may fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.isolated import run_isolated

READ = "import json, os, sys\nasked = json.load(open(sys.argv[1]))\n"
ANSWER = "json.dump(answer, open(sys.argv[2], 'w'))\n"


def script(folder: Path, text: str) -> Path:
    path = folder / "work.py"
    path.write_text(READ + text)
    return path


def test_the_result_of_another_process(tmp_path: Path) -> None:
    path = script(tmp_path, f"print('working')\nanswer = {{'twice': 2 * asked['n'], 'pid': os.getpid()}}\n{ANSWER}")
    answer = run_isolated(path, {"n": 21}, log=tmp_path / "deep" / "log.txt")
    assert answer["twice"] == 42
    assert answer["pid"] != os.getpid()
    assert (tmp_path / "deep" / "log.txt").read_text() == "working\n"


def test_another_interpreter(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nOTHER=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = script(tmp_path, f"answer = {{'other': os.environ.get('OTHER')}}\n{ANSWER}")
    assert run_isolated(path, {}, log=tmp_path / "log", python=str(python)) == {"other": "yes"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("raise RuntimeError('no room')\n", r"work.py ended with code 1: RuntimeError: no room \(all of it in .*log\)"),
        ("sys.exit(3)\n", r"work.py ended with code 3: it said nothing \(all of it in"),
        ("os.kill(os.getpid(), 9)\n", r"work.py was ended by signal 9: it said nothing"),
        ("print('done')\n", r"work.py ended without a result: done"),
        ("print('x' * 1000)\nsys.exit(1)\n", r"ended with code 1: x{300} \.\.\. \(all of it in"),
    ],
)
def test_a_failure_is_one_line_with_the_log(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=line) as caught:
        run_isolated(script(tmp_path, text), {}, log=tmp_path / "log")
    assert "\n" not in str(caught.value)


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the interpreter /no/python can't be started: No such file or directory"):
        run_isolated(script(tmp_path, ""), {}, log=tmp_path / "log", python="/no/python")


def test_an_interrupt_ends_the_process_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    started: list[subprocess.Popen[bytes]] = []
    honest = subprocess.Popen.wait

    def interrupted(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if not started:
            started.append(process)
            raise KeyboardInterrupt
        return honest(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_isolated(script(tmp_path, "import time\ntime.sleep(600)\n"), {}, log=tmp_path / "log")
    assert started[0].returncode == -15

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from typer.main import get_command

from analysis import DIFFERENCES, Settings
from lm_eval_ext.cli import main
from lm_eval_ext.cli.analyze import analyze
from lm_eval_ext.cli.app import app
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run
from tests.helpers.venvs import ROOT

SETTINGS = [field.name for field in fields(Settings)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder, 1, {"arc": Task([choice_line(i, 0) for i in range(4)])}, evidence("dense", **DENSE))
    write_run(folder, 2, {"arc": Task([choice_line(i, i % 2) for i in range(4)])}, evidence("wanda-50"))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of `lm-eval-ext analyze ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "analyze", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.mark.parametrize("columns", [80, 120])
def test_help_says_what_allow_takes_and_what_exit_codes_mean(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "analyze", "--help"])
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    below = shown.partition("Differences that --allow takes:\n")[2]
    listed, _, codes = below.partition("Exit codes:\n")
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == list(DIFFERENCES)
    assert len(DIFFERENCES) == 20
    read = " ".join(listed.split())
    assert all(f"{name} {meaning}" in read for name, meaning in DIFFERENCES.items())
    # A line each: nothing wraps in the middle of a sentence.
    assert [re.fullmatch(r"  (\d)  [^.]*\.", line)[1] for line in codes.splitlines() if line] == ["0", "1", "2"]
    assert max(map(len, shown.splitlines())) <= columns


def test_the_terminal_says_what_the_summary_says(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = runs.parent / "report"
    assert run(monkeypatch, runs, "--output", output, "--task", "arc") == 0
    shown = capsys.readouterr().out
    assert "2 runs of 1 base model, 1 task comparison with dense. Task: arc." in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("│ wanda-50")]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["wanda-50", "0.500", "50.0%"]
    # The page has room for more, and the verdict beside.
    summary = (output / "summary.md").read_text()
    assert "| wanda-50 | CAN'T TELL | 4 | 0.500 | 50.0% | 50.0% |" in summary
    said = "4 documents: SAME needs 59 at a margin of 5 points, accuracy -50.0 (90 % "
    assert any(line.startswith(f"wanda-50  CAN'T TELL  {said}") for line in shown.splitlines())
    assert f"- **wanda-50** CAN'T TELL: {said}" in summary
    assert str(output) in shown


def test_refused_comparisons_end_in_exit_code_1_and_a_report(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(runs, 3, {"arc": Task([choice_line(i, 0, prompt="Please") for i in range(4)])}, evidence("rtn-3"))
    arguments = (runs, "--output", runs.parent / "report")
    assert run(monkeypatch, *arguments) == 1
    assert "rtn-3 on arc is not comparable with dense: prompts" in capsys.readouterr().out
    assert (runs.parent / "report" / "summary.md").is_file()
    assert run(monkeypatch, *arguments, "--allow", "prompts", "--allow", "items") == 0


def test_a_run_without_a_baseline_ends_in_exit_code_1_and_the_line_to_type(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"model_args": {"pretrained": "org/base-GPTQ", "dtype": "float32"}}
    write_run(runs, 3, {"arc": Task([choice_line(i, 1) for i in range(4)])}, config=other)
    monkeypatch.chdir(runs.parent)
    assert run(monkeypatch, "runs") == 1
    assert "`lm-eval-ext analyze runs --base org/base-GPTQ=org/base`" in capsys.readouterr().out
    assert run(monkeypatch, "runs", "--base", "org/base-GPTQ=org/base") == 0
    assert run(monkeypatch, "runs", "--baseline", "base/dense") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{runs}/absent"], "is not a folder"),
        (["{runs}/.."  , "-o", "{runs}"], "is not empty and no earlier report"),
        (["{runs}", "--allow", "promts"], "Did you mean 'prompts'? Known: batch_invariant, chat_template, docs"),
        (["{runs}", "--baseline", "wanda"], "Did you mean 'wanda-50'? Known: dense, wanda-50."),
        (["{runs}", "--base", "org/m"], "--base org/m: expected MODEL=BASE"),
        (["{runs}", "--base", "wnda-50=org/base"], "Did you mean 'wanda-50'? Known:"),
        (["{runs}", "--task", "mmlu"], "no task matches mmlu"),
    ],
)  # fmt: skip
def test_a_users_fault_is_one_line(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(runs.parent)
    assert run(monkeypatch, *(argument.format(runs=runs) for argument in arguments)) == 2
    caught = capsys.readouterr()
    (line,) = caught.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (runs.parent / "report").exists()


def test_an_ascii_terminal_gets_escapes_and_the_report_its_letters(runs: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", str(runs), "--output", "bericht-für-alle"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "Report: bericht-f\\xfcr-alle" in done.stdout
    assert (tmp_path / "bericht-für-alle" / "summary.md").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_report_is_there_though_the_screen_is_full(runs: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", str(runs), "--output", "report"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            line,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == b"error: No space left on device (LM_EVAL_EXT_DEBUG=1 shows where)"
    assert (tmp_path / "report" / "report.json").is_file()


def test_a_disk_that_fills_up_leaves_no_half_report(runs: Path, tmp_path: Path) -> None:
    # A limit on the size of files stands for the disk: the first table that is larger fails to be written.
    source = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from lm_eval_ext.cli import main
main()
"""
    line = [sys.executable, "-c", source, "analyze", str(runs), "--output", "report"]
    done = subprocess.run(
        line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_every_setting_is_an_option_under_its_name_with_its_default_and_help() -> None:
    given = {name: option for name, option in signature(analyze).parameters.items() if name in SETTINGS}
    assert list(given) == SETTINGS
    assert {name: option.default for name, option in given.items()} == Settings().as_dict()
    shown = {option.name: option for option in get_command(app).commands["analyze"].params}
    for name in SETTINGS:
        assert shown[name].opts == [f"--{name.replace('_', '-')}"]
        assert shown[name].help == Settings.help(name)


def test_settings_of_the_command_line_reach_the_report(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        **{"level": 0.9, "margin": 0.1, "reach": 0.4, "exchanges": 199, "texts_per_item": 3, "seed": 7},
        "sequential": True,
    }
    assert list(asked) == SETTINGS
    options = [
        text
        for name, value in asked.items()
        for text in (f"--{name.replace('_', '-')}", *([] if value is True else [str(value)]))
    ]
    assert run(monkeypatch, runs, "--output", runs.parent / "report", *options) == 0
    assert json.loads((runs.parent / "report" / "report.json").read_text())["settings"] == asked


def test_the_former_name_of_an_option_is_told_its_new_one(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, runs, "--output", runs.parent / "report", "--draws", 999) == 2
    assert capsys.readouterr().err == "error: --draws has another name now: --exchanges 999\n"
    assert not (runs.parent / "report").exists()

"""`lm-eval-ext plan` as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lm_eval_ext.cli import main
from tests.helpers.runlogs import DENSE, Task, bbq_item, bbq_line, evidence, write_run
from tests.helpers.venvs import ROOT

WIDE = ("--margin", "0.1", "--reach", "0.5", "--items-per-template", "30")
"""A plan that takes few templates, and little time."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for number, record in ((1, evidence("dense", **DENSE)), (2, evidence("wanda-50"))):
        # The second run gives another answer to every sixth item.
        chosen = [(i + (number == 2 and i % 6 == 0)) % 3 for i in range(24)]
        lines = [bbq_line(i, choice, item=bbq_item(i, correct=1)) for i, choice in enumerate(chosen)]
        write_run(folder, number, {"bbq": Task(lines)}, record)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of `lm-eval-ext plan ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "plan", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_the_command_prints_sentences_and_a_table(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lm_eval_ext", "plan", *WIDE, "--templates", "20", "--churn", "mild"]
    done = subprocess.run(
        line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # log(0.05) / log(1 - 0.1 / 0.5) = 13.4
    assert "At a margin of 10 points no fewer than 14 templates can show SAME with reach 50" in done.stdout
    assert "Answers are taken to move as in our results with 8 bits (mild churn)." in done.stdout
    same = re.search(r"20 templates: SAME comes in (\d+)% where nothing changes", done.stdout)
    assert same is not None
    assert int(same[1]) > 90
    row = re.search(r"│ SAME +│ +30 │ +1 │ +(\d+) │ +([\d,]+) │", done.stdout)
    assert row is not None
    # A little churn takes a template or two more than none.
    assert 14 <= int(row[1]) <= 18
    assert int(row[2].replace(",", "")) == 30 * int(row[1])
    assert not list(tmp_path.iterdir())


def test_json_holds_the_same_for_machines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *WIDE, "--churn", "mild", "--budget", 619, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["margin"], found["shift"], found["fewest_templates"]) == (0.1, 0.2, 14)
    # 619 items are 20 templates of 30.
    assert found["told"]["templates"] == 20
    assert found["told"]["same"] > 0.9
    first = found["needed"][0]
    assert 14 <= first["templates"] <= 18
    assert first == {**first, "verdict": "SAME", "items": 30, "texts": 1, "answers": 30 * first["templates"]}
    assert set(found["past"]["variances"]) == {"srs", "usr", "acc", "unanswered_rate"}


def test_from_runs_and_from_their_report_are_one_plan(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis import analyze

    analyze(runs, runs.parent / "report")
    plans = []
    for source in (runs, runs.parent / "report"):
        assert run(monkeypatch, "--from", source, "--margin", 0.2, "--reach", 0.6, "--json") == 0
        plans.append(json.loads(capsys.readouterr().out))
        assert plans[-1]["past"].pop("source") == f"wanda-50 against dense in {source}"
    assert plans[0] == plans[1]
    assert (plans[0]["past"]["items"], plans[0]["past"]["texts"]) == (4, 1)


def test_samples_are_what_lm_eval_takes(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--from", runs, "--templates", 2, "--samples") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["bbq"]
    assert len(found["bbq"]) == 8
    assert {i // 4 for i in found["bbq"]} == {found["bbq"][0] // 4, found["bbq"][-1] // 4}
    assert run(monkeypatch, "--from", runs, "--templates", 2, "--items-per-template", 3, "--samples") == 0
    assert len(json.loads(capsys.readouterr().out)["bbq"]) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "0"], "margin: expected a difference between 0 and 1"),
        (["--margin", "0.3"], "reach: expected a share above the margin (0.3)"),
        (["--shift", "0.4"], "--shift: expected a change above 0 and at most the reach (0.25), got 0.4"),
        (["--power", "1"], "--power: expected a share from 0.5 to below 1"),
        (["--items-per-template", "0"], "--items-per-template: expected 1 to 100,000, got 0"),
        (["--texts", "0"], "--texts: expected 1 to 1,000, got 0"),
        (["--templates", "0"], "--templates: expected 1 to 2,000, got 0"),
        (["--templates", "9", "--budget", "9"], "--templates and --budget both say how much there will be; give one"),
        (["--budget", "20"], "--budget: expected at least the 48 items of one template, got 20"),
        (["--churn", "weak"], "unknown churn (--churn) 'weak'. Known: mild, moderate, strong."),
        (["--run", "rtn-8"], "--run is a run of --from; name a report there"),
        (["--samples"], "--samples needs --from REPORT and --templates N"),
        (["--from", "absent"], "--from absent is no report: report.json is not in it"),
        (["--level", "1"], "level: expected a confidence level"),
        (["--seed", "-1"], "seed: expected a whole number from 0"),
    ],
)
def test_a_users_fault_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lm_eval_ext.cli import main
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of `lm-eval-ext doctor ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def task(shift: int, prompt: str = "Q") -> Task:
    return Task([choice_line(i, (i + shift) % 3, prompt=prompt) for i in range(6)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five runs with what goes wrong most: another prompt, no baseline, lost lines, a name with markup in it."""
    runs = tmp_path / "runs"
    write_run(runs, 1, {"arc": task(0), "bbh": task(1)}, evidence("dense", **DENSE))
    write_run(runs, 2, {"arc": task(1), "bbh": task(2)}, evidence("rtn-4"))
    write_run(runs, 3, {"arc": task(2), "bbh": task(0, "Please")}, evidence("rtn-[red]3"))
    write_run(runs, 4, {"arc": task(1), "new": task(1)}, evidence("wanda-50"))
    write_run(runs, 5, {"arc": task(2)}, config={"model_args": {"pretrained": "org/base-GPTQ"}})
    monkeypatch.chdir(tmp_path)
    return runs


def test_a_typical_folder_takes_at_most_twenty_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "runs") == 1
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) <= 20
    assert lines[0] == "5 runs of 2 base models, 3 tasks, 54 answers, lm_eval 0.4.13"
    assert lines[1].split() == ["run", "base", "model", "status", "tasks", "answers", "compared", "with"]
    assert "rtn-[red]3 on bbh: not comparable with base/dense: prompts" in shown
    for command in ("runs --allow prompts", "runs --base org/base-GPTQ=org/base"):
        assert f"  lm-eval-ext analyze {command}" in lines
    assert any(line.startswith("  lm_eval --model compressed_hf ") and " --tasks new " in line for line in lines)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["runs"]


def test_exit_codes(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "runs", "--task", "bbh", "--allow", "prompts") == 0
    shown = capsys.readouterr().out
    assert "Nothing is missing; this makes 2 comparisons, which is all:\n" in shown
    assert shown.endswith("  lm-eval-ext analyze runs --task bbh --allow prompts\n")
    assert run(monkeypatch, "absent") == 2
    assert capsys.readouterr().err.startswith("error: absent is not a folder or a file that is there.")


def test_help_ends_with_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    below = capsys.readouterr().out.partition("Exit codes:\n")[2]
    assert [line.split()[0] for line in below.splitlines()] == ["0", "1", "2"]

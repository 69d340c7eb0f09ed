from __future__ import annotations

import sys
from pathlib import Path

import pytest

from analysis.tables.catalogue import CATALOGUE
from lm_eval_ext.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of `lm-eval-ext explain ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "explain", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_without_a_name_tables_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [table.name for table in CATALOGUE]


def test_a_table_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "flips") == 0
    shown = capsys.readouterr().out
    assert "<correct_to_wrong> of <n> answers turned wrong" in shown
    assert "  changed_rate  " in shown


def test_a_fault_is_one_line_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, said in ((("flip",), "Did you mean 'flips'?"), (("flips", "--report", str(tmp_path)), "no report")):
        assert run(monkeypatch, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert said in err

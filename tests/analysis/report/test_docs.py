from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.logs import ISSUES
from analysis.logs.fields import OWN_FIELDS, PLAIN_FIELDS
from analysis.report.docs import main, tables_markdown
from analysis.schema.items import ITEMS
from analysis.tables.catalogue import CATALOGUE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tables.md"


def test_the_page_is_what_the_declarations_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == tables_markdown(), "run: python -m analysis.report.docs"


def test_every_table_has_its_section_and_every_column_its_row() -> None:
    sections = {part.split("\n", 1)[0].strip("`"): part for part in PAGE.read_text().split("\n## ")[1:]}
    expected = {f"tables/{entry.name}": entry.holds for entry in CATALOGUE}
    for title, table in (expected | {"issues.csv": ISSUES, "items.parquet": ITEMS}).items():
        rows = [line.split(" | ")[0].strip("| `") for line in sections[title].splitlines() if line.startswith("| `")]
        assert rows[: len(table.names)] == table.names


def test_the_tables_of_a_report_have_their_agreed_names() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert names == [
        "runs", "run_verdicts", "verdicts",
        "paired_changes", "ability", "category_shifts", "noise_floor", "replicates", "churn", "masked_flips",
        "distances",
        "dose_response", "dose_curves", "dose_tests",
        "uncertainty_bins", "uncertainty_scores", "risk_curve", "uncertainty_model",
        "group_changes", "mcnemar_tests", "role_tests",
        "rates", "bias_scores", "role_transitions", "transitions", "study_tests", "study_logistic",
        "evaluation_gap", "profiles", "text_divergence", "metric_changes", "flips", "item_changes",
    ]  # fmt: skip


def test_both_kinds_of_lines_fill_every_column_of_items() -> None:
    for fields in (OWN_FIELDS, PLAIN_FIELDS):
        # Run and task are no part of a line.
        assert ["run", "task", *(field.column for field in fields)] == ITEMS.names


def test_an_installation_is_written_to_only_where_a_path_is_given(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(PAGE.parents[1] / "analysis", site / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(tmp_path.rglob("*"))
    line = [sys.executable, "-B", "-m", "analysis.report.docs"]
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "error: analysis is installed here, not checked out; name a file: python -m analysis.report.docs FILE\n"
    )
    assert sorted(tmp_path.rglob("*")) == before
    done = subprocess.run([*line, "page.md"], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == tables_markdown()


def test_a_page_that_cant_be_written_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} can't be written: Is a directory\n"
    assert main([str(tmp_path / "page.md")]) == 0

"""The title says what was compared, and the summary lists the tables that hold something."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis import analyze
from analysis.report import print_analysis
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run


def task(step: int) -> dict[str, Task]:
    return {"arc": Task([choice_line(i, (step * i) % 3) for i in range(4)])}


def stock(folder: Path, number: int, name: str) -> None:
    """A run of lm_eval's own model class: no evidence."""
    config = {"model_args": {"pretrained": f"org/{name}", "dtype": "float32"}}
    write_run(folder, number, task(number), None, config=config, model_name=f"org/{name}")


def title_of(folder: Path, baseline: str | None = None) -> str:
    found = analyze(folder / "runs", folder / "report", baseline=baseline)
    (title,) = re.findall("^# (.*)$", (folder / "report" / "summary.md").read_text(), re.M)
    assert title.replace("\\", "") == found.title
    console = Console(width=140, record=True, file=StringIO())
    print_analysis(found, console)
    assert console.export_text().splitlines()[0] == found.title
    return found.title


def test_compression_is_named_where_a_compressed_run_stands_beside_its_dense_one(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(0), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(1), evidence("wanda-50"))
    assert title_of(tmp_path) == "What compression changed"


def test_two_models_are_two_models(tmp_path: Path) -> None:
    stock(tmp_path / "runs", 1, "one")
    stock(tmp_path / "runs", 2, "two")
    assert title_of(tmp_path) == "Nothing was compared"
    assert title_of(tmp_path, "one/dense") == "two/dense beside one/dense"
    for number, name in enumerate(("three", "four"), start=3):
        stock(tmp_path / "runs", number, name)
    assert title_of(tmp_path, "one/dense") == "3 runs beside one/dense"


def test_two_compressed_runs_are_two_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(0), evidence("rtn-3"))
    write_run(tmp_path / "runs", 2, task(1), evidence("wanda-50"))
    assert title_of(tmp_path, "rtn-3") == "wanda-50 beside rtn-3"


@pytest.mark.parametrize("label", ["dense", "wanda-50"])
def test_one_run_is_compared_with_nothing(tmp_path: Path, label: str) -> None:
    write_run(tmp_path / "runs", 1, task(0), evidence(label, **(DENSE if label == "dense" else {})))
    assert title_of(tmp_path) == "Nothing was compared"
    page = (tmp_path / "report" / "summary.md").read_text()
    listed = dict(re.findall(r"^\| \[(\w+)\]\(tables/\w+\.csv\) \| ([\d,]+) \|", page, re.M))
    assert listed == {"runs": "1"}
    (rest,) = re.findall(r"^Without rows here: (.*)\.$", page, re.M)
    assert "`flips`" in rest
    assert "`runs`" not in rest

"""Verdicts as records: from an analysis and from its folder alike, and what is no report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import UserError, analyze
from analysis.publish import verdicts
from tests.helpers.runlogs import DENSE, Task, bbq_item, bbq_line, evidence, write_run


def logged(folder: Path) -> Path:
    """Dense and a run, 20 templates of 4 items: unchanged, and two items of each from unknown to the stereotype."""
    for number, (name, moved) in enumerate((("dense", 0), ("w", 2)), start=1):
        lines = []
        for place in range(80):
            item = bbq_item(place) | {"cluster": f"t{place // 4}"}
            choice = 0 if place % 4 < moved else 2
            lines.append(bbq_line(place, choice, item=item))
        write_run(folder, number, {"bbq": Task(lines)}, evidence(name, **({} if moved else DENSE)))
    return folder


def test_records_are_those_of_the_report(tmp_path: Path) -> None:
    found = analyze(logged(tmp_path / "runs"), tmp_path / "report")
    (made,) = verdicts(found)
    assert (made.run, made.verdict) == ("w", "CHANGED")
    assert made.line.startswith("SRS +50.0 (90 % ")
    assert verdicts(tmp_path / "report") == verdicts(str(tmp_path / "report")) == [made]
    assert [row["measure"] for row in made.rows] == ["srs", "usr", "unanswered_rate"]
    told = json.loads(made.as_json())
    assert told["reason"] is None
    assert told["rows"][0]["difference"] == pytest.approx(0.5)
    assert len(told["rows"]) == told["n_rows"] == 3


def test_what_is_no_report_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tables/run_verdicts[.]parquet, but it is no report"):
        verdicts(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UserError, match="a report without verdicts: analyse its runs again"):
        verdicts(tmp_path)

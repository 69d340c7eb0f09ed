"""Rows in words: every table has a reading, and every row of a report becomes one short sentence."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Settings, UserError, analyze
from analysis.report.explain import explain, listed, read_row
from analysis.result.reading import MOST, NOTHING, columns_read, has_status, read
from analysis.schema.columns import Table, count, number, text
from analysis.schema.declare import ReportTable
from analysis.schema.shared import STATUS
from analysis.tables.catalogue import CATALOGUE
from tests.analysis.tables.test_profiles import record, side
from tests.helpers.prose import sentences, words
from tests.helpers.runlogs import DENSE, Task, bbq_item, bbq_line, choice_line, evidence, rolling_line, write_run

BY_NAME = {table.name: table for table in CATALOGUE}


def bbq(rng: np.random.Generator, templates: int = 6) -> Task:
    """Three categories of both conditions, a few items a template; some answers are missing."""
    lines = []
    for place in range(3 * 2 * templates * 3):
        category, condition = ("Age", "SES", "Religion")[place % 3], ("ambig", "disambig")[place // 3 % 2]
        item = bbq_item(place, category=category, condition=condition, correct=2 if condition == "ambig" else 1)
        choice = None if rng.random() < 0.02 else int(rng.integers(3))
        lines.append(bbq_line(place, choice, item=item | {"cluster": f"{category}/{place // 6 % templates}"}))
    return Task(lines)


def perplexity(value: float) -> Task:
    return Task([rolling_line(0, -5 * math.log(value))], "loglikelihood_rolling", {"word_perplexity,none": value})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    runs: list[tuple[str, dict[str, Any]]] = [
        ("dense", DENSE),
        *((f"rtn-{bits}", {"method": "rtn", "bits": bits, "sparsity": None}) for bits in (8, 4, 3)),
        ("again", {"method": "rtn", "bits": 3, "sparsity": None, "recipe": {"name": "rtn-3", "version": 1}}),
        ("wanda-50", {}),
    ]
    for place, (label, changes) in enumerate(runs, start=1):
        arc = Task([choice_line(i, int(rng.integers(3))) for i in range(20)])
        tasks = {"bbq": bbq(rng), "arc": arc, "wikitext": perplexity(9.0 + place)}
        write_run(folder, place, tasks, evidence(label, **changes))
    measured = record(
        side(DENSE["weights_hash_after"], 400, 0.5), side(evidence("rtn-4")["weights_hash_after"], 200, 0.75)
    )
    (folder / "profile_x.json").write_text(json.dumps(measured), encoding="utf-8")
    analyze(folder, folder.parent / "report", settings=Settings(exchanges=199))
    return folder.parent / "report"


@pytest.mark.parametrize("table", CATALOGUE, ids=lambda table: table.name)
def test_every_table_has_a_reading_of_columns_that_it_holds(table: Any) -> None:
    assert table.reading
    formats = set()
    for reading in table.reading:
        assert set(columns_read(reading)) <= set(table.holds.names)
        formats |= {spec for _, name, spec, _ in Formatter().parse(reading) if name}
    assert formats <= {"", "g", "+", "%", "share", "points", "pts", "size", "chance", "p"}


@pytest.mark.parametrize("table", CATALOGUE, ids=lambda table: table.name)
def test_every_row_of_a_report_is_one_short_sentence(table: Any, report: Path) -> None:
    rows = pd.read_parquet(report / "tables" / f"{table.name}.parquet").to_dict("records")
    # What needs distributions that were logged whole is read from a row by hand.
    assert rows or table.name == "text_divergence"
    for row in rows:
        said = read(table, row)
        assert words(said) <= MOST, said
        assert len(sentences(said)) == 1, said
        assert not re.search(r"\b(nan|None|<NA>|inf)\b", said), said
        assert NOTHING not in said, (said, row)
        if has_status(table) and row["status"] != "ok":
            assert any(part in said for part in (row["status"], row["status"].split("; ")[0], "...")), said


TOY = ReportTable(
    Table(
        name="toy",
        doc="A toy.",
        columns=(
            text("run", "Run."),
            text("condition", "Condition."),
            text("category", "Category."),
            number("rate", "Rate."),
            number("change", "Change."),
            count("n", "Count."),
            number("p_value", "p."),
            STATUS,
        ),
    ),
    (),
    pd.DataFrame,
    reading=("{rate:%} of {n}, {change:points}, {p_value:p}", "{rate:share} of {n}", "{n} in all"),
)
ROW = {
    "run": "b",
    "condition": "ambig",
    "category": "all",
    "rate": 0.12345,
    "change": -0.02,
    "n": 1200,
    "p_value": 1e-5,
}


def test_by_hand() -> None:
    start = "b, ambiguous, all categories: "
    assert read(TOY, ROW) == f"{start}12.3 % of 1,200, -2.0 points, p < 0.001."
    assert read(TOY, ROW | {"status": "ok", "p_value": 0.0456}) == f"{start}12.3 % of 1,200, -2.0 points, p = 0.046."
    assert read(TOY, ROW | {"change": None}) == f"{start}0.123 of 1,200."
    assert read(TOY, ROW | {"rate": pd.NA, "change": float("nan")}) == f"{start}1,200 in all."
    assert read(TOY, ROW | {"change": -0.0001}).split(", ")[-2] == "+0.0 points"
    assert read(TOY, ROW | {"rate": -1e-5, "change": None}) == f"{start}0.000 of 1,200."
    assert read(TOY, pd.Series(ROW)) == read(TOY, ROW)
    assert read(TOY, ROW | {"n": None}) == f"{start}{NOTHING}."


def test_a_divergence() -> None:
    row = {"run": "b", "task": "text_perplexity", "n_tokens": 4096, "kl": 0.0123456, "kl_low": 0.01, "kl_high": 0.0146}
    said = read_row("text_divergence", row | {"same_top_rate": 0.957, "status": "ok"})
    assert said == (
        "b, text_perplexity: 0.01235 nats a token (0.01 to 0.0146), the same token most probable at 95.7 % of 4,096."
    )


def test_what_goes_without_saying_is_not_said() -> None:
    assert read(TOY, ROW | {"condition": "none", "run": None, "change": None}) == "all categories: 0.123 of 1,200."


def test_a_status_is_read_as_the_reason() -> None:
    assert (
        read(TOY, ROW | {"status": "one template: no interval"})
        == "b, ambiguous, all categories: one template: no interval."
    )
    several = "; ".join(f"reason {place} of several that are all rather long" for place in range(5))
    said = read(TOY, ROW | {"status": several})
    assert words(said) <= MOST
    assert said.endswith("reason 1 of several that are all rather long.")
    assert read(TOY, ROW | {"status": "word " * 50}).endswith("word ...")
    assert words(read(TOY, ROW | {"status": "word " * 50})) <= MOST


def test_a_name_with_line_breaks_stays_one_line() -> None:
    assert "\n" not in read(TOY, ROW | {"run": "b\nc"})


def test_tables_are_listed_with_a_line_each() -> None:
    lines = list(listed())
    assert [line.split()[0] for line in lines] == list(BY_NAME)
    assert all(len(sentences(line.split("  ", 1)[1])) == 1 for line in lines)


def test_an_explanation_without_a_report_has_every_column() -> None:
    for table in CATALOGUE:
        lines = explain(table.name)
        assert lines[0] == f"{table.name}: {table.doc}"
        columns = lines[lines.index("Columns:") + 1 :]
        assert [line.split()[0] for line in columns] == table.holds.names
        assert sum("{" in line for line in lines) == 0


def test_an_explanation_with_a_report_has_its_first_rows(report: Path) -> None:
    rows = pd.read_parquet(report / "tables" / "paired_changes.parquet")
    lines = explain("paired_changes", report, 3)
    assert lines[-4] == f"The first 3 of {len(rows)} rows in {report}:"
    assert lines[-3:] == [f"  {read_row('paired_changes', rows.iloc[place])}" for place in range(3)]
    assert len(explain("runs", report, 100)) == len(explain("runs", report, 6))


def test_what_is_not_there_is_one_line(report: Path, tmp_path: Path) -> None:
    for name, found in (("paired_change", "Did you mean 'paired_changes'?"), ("x", "unknown table 'x'")):
        with pytest.raises(UserError, match=re.escape(found)):
            explain(name)
    with pytest.raises(UserError, match="is no report"):
        explain("runs", tmp_path)
    (tmp_path / "report.json").touch()
    with pytest.raises(UserError, match="has no table runs"):
        explain("runs", tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "runs.parquet").write_text("no table")
    with pytest.raises(UserError, match="can't be read"):
        explain("runs", tmp_path)

"""A table is declared once: what it needs decides whether and when it is made, and where it is shown."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis import Settings, analyze, role_tables
from analysis.answers.answers import Answers
from analysis.errors import UserError
from analysis.report.docs import tables_markdown
from analysis.schema.columns import Table, count
from analysis.schema.declare import Making, ReportTable, Source, Step
from analysis.schema.shared import RUN
from analysis.tables.catalogue import CATALOGUE
from analysis.tables.rates import RATES_TABLE
from analysis.tables.sources import ANSWERS, PERPLEXITY_CHANGES, ROLE_RUNS, SETTINGS
from tests.helpers.answers import items_frame, run_table
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run


def _toy(answers: Answers, runs: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Items a run, and the seed of the settings."""
    rows = [{"run": run, "n_items": len(answers.items), "seed": settings.seed} for run in runs["run"]]
    return TOY.conform(pd.DataFrame(rows, columns=TOY.names))


TOY = Table(
    name="toy",
    doc="Items of every run, to show how little a table takes.",
    columns=(RUN, count("n_items", "Items of all runs."), count("seed", "Seed of the settings.")),
)
TOY_TABLE = ReportTable(TOY, (ANSWERS, ROLE_RUNS, SETTINGS), _toy)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder, 1, {"arc": Task([choice_line(i, 0) for i in range(4)])}, evidence("dense", **DENSE))
    write_run(folder, 2, {"arc": Task([choice_line(i, i % 2) for i in range(4)])}, evidence("wanda-50"))
    return folder


def _rows() -> pd.DataFrame:
    return items_frame([{"run": run, "item": item, "role": "unknown"} for run in ("a", "b") for item in ("1", "2")])


def test_a_new_table_is_one_line_of_the_catalogue(runs: Path) -> None:
    longer = (*CATALOGUE, TOY_TABLE)
    found = analyze(runs, runs.parent / "report", settings=Settings(seed=4), catalogue=longer)
    folder = runs.parent / "report"
    listed = json.loads((folder / "report.json").read_text())["files"]
    assert {"tables/toy.csv", "tables/toy.parquet"} <= set(listed)
    # arc has no roles, so what the table needs has no rows, and the file has its columns alone.
    assert (folder / "tables" / "toy.csv").read_text().splitlines()[0] == "run,n_items,seed"
    assert (folder / "summary.md").read_text().rstrip().endswith("`toy`.")  # the last of those without rows
    assert list(found.tables)[-1] == "toy"
    page = tables_markdown(longer)
    assert "## `tables/toy`\n\n" + TOY.doc in page
    assert page.index("tables/toy") > page.index("tables/flips")
    assert "tables/toy" not in tables_markdown()


def test_the_table_of_the_manual_is_in_the_report(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "notebook.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "ReportTable(" in block)
    demo = runs.parent / "demo-output"
    demo.mkdir()
    runs.rename(demo / "runs")
    monkeypatch.chdir(runs.parent)
    names: dict[str, Any] = {"pd": pd}
    exec(code, names)
    assert names["longer"].tables["tasks"].to_dict("records") == [
        {"run": "dense", "n_tasks": 1},
        {"run": "wanda-50", "n_tasks": 1},
    ]
    assert (demo / "longer" / "tables" / "tasks.parquet").is_file()


def test_a_toy_table_is_made_from_what_it_needs() -> None:
    given = {ANSWERS: Answers.of(_rows()), ROLE_RUNS: run_table({"run": "a"}, {"run": "b"}), SETTINGS: Settings(seed=4)}
    table = Making(given).tables([TOY_TABLE])["toy"]
    assert table.to_dict("records") == [{"run": run, "n_items": 2, "seed": 4} for run in ("a", "b")]


def test_a_table_without_what_it_needs_is_empty_with_its_columns() -> None:
    later = ReportTable(TOY, (TOY_TABLE,), lambda table: table)
    for given in ({}, {ANSWERS: Answers.of(_rows()), ROLE_RUNS: run_table({"run": "a"})}):
        for entry in (TOY_TABLE, later):
            assert not Making(given).can(entry)
            table = Making(given).of(entry)
            assert (list(table.columns), len(table)) == (TOY.names, 0)


def test_steps_and_tables_are_made_once_and_only_if_needed() -> None:
    made: list[str] = []

    def note(name: str) -> str:
        made.append(name)
        return name

    word = Source("word", "A word.")
    step = Step("step", (word,), note)
    unused = Step("unused", (word,), note)
    frame = pd.DataFrame({"run": ["x"], "n_items": [1], "seed": [0]})
    first, second = (
        ReportTable(Table(name=name, doc="", columns=TOY.columns), (step,), lambda _: frame) for name in "ab"
    )
    third = ReportTable(Table(name="c", doc="", columns=TOY.columns), (first, second, unused), lambda *_: frame)
    making = Making({word: "hello", unused: "given instead of made"})
    assert list(making.tables([third, second, first])) == ["c", "b", "a"]
    assert made == ["hello"]
    with pytest.raises(LookupError, match="step: word is not given"):
        Making({}).of(step)


def test_two_tables_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tables of the catalogue have the name 'toy'"):
        Making({}).tables([TOY_TABLE, TOY_TABLE])


def test_a_catalogue_without_a_reports_own_tables_is_refused(runs: Path) -> None:
    with pytest.raises(UserError, match="catalogue lacks tables of every report: rates"):
        analyze(runs, runs.parent / "report", catalogue=[entry for entry in CATALOGUE if entry is not RATES_TABLE])
    assert not (runs.parent / "report").exists()


def test_a_need_comes_from_this_list_or_from_the_sources() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        for need in entry.needs:
            assert not isinstance(need, ReportTable) or need in CATALOGUE, (entry.name, need.name)


def test_settings_are_passed_whole_to_every_function_of_tables() -> None:
    public = [getattr(analysis, name) for name in analysis.__all__]
    functions = {entry for entry in public if isfunction(entry) and "tables" in entry.__module__} - {role_tables}
    takers = {need for entry in CATALOGUE for need in (entry, *entry.needs) if SETTINGS in getattr(need, "needs", ())}
    assert len(functions) > 15
    assert {"paired_changes", "dose", "uncertainty"} <= {need.name for need in takers}
    alone = {field.name for field in fields(Settings)}
    for function in functions | {need.make for need in takers if isinstance(need, (ReportTable, Step))}:
        parameters = signature(function).parameters
        assert not alone & set(parameters), function.__name__
        assert "settings" not in parameters or parameters["settings"].default is None
    for need in takers:
        if isinstance(need, (ReportTable, Step)):
            assert list(signature(need.make).parameters)[need.needs.index(SETTINGS)] == "settings"


def test_a_notebook_gets_every_table_of_roles_and_no_other() -> None:
    tables = role_tables(_rows(), run_table({"run": "a"}, {"run": "b", "baseline": "a"}))
    others = ("runs", "distances", "evaluation_gap", "profiles", "text_divergence")
    others += ("metric_changes", "flips", "item_changes")
    expected = [name for name in (entry.name for entry in CATALOGUE) if name not in others]
    assert list(tables) == expected
    for entry in CATALOGUE:
        if entry.name in tables:
            assert list(tables[entry.name].columns) == entry.holds.names
    assert PERPLEXITY_CHANGES in next(entry for entry in CATALOGUE if entry.name == "evaluation_gap").needs

"""An analysis in a notebook: ten lines, escaped HTML, lazy frames, and several analyses in one frame."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from analysis import Analysis, UserError, analyze, flips, item_changes, masked_flips, rates
from analysis.compare.frames import ROLE_COLUMNS
from analysis.schema.documents import DOCUMENTS
from analysis.schema.items import ITEMS
from tests.helpers.runlogs import DENSE, Task, bbq_line, choice_line, evidence, write_run

S, A, U = 0, 1, 2
HOSTILE = "<script>alert('run')</script>&\n"


def bbq(choices: list[int | None]) -> Task:
    return Task([bbq_line(i, choice) for i, choice in enumerate(choices)])


def analysed(folder: Path, *labels: str, prompt: str = "Q") -> Analysis:
    """A dense run and one run for each label; the last one's arc is refused where it has another prompt."""
    dense = {"bbq": bbq([U, U, S, None]), "arc": Task([choice_line(i, 0) for i in range(4)])}
    write_run(folder / "runs", 1, dense, evidence("dense", **DENSE))
    for number, label in enumerate(labels, start=2):
        lines = [choice_line(i, i % 2, prompt=prompt if label == labels[-1] else "Q") for i in range(4)]
        write_run(folder / "runs", number, {"bbq": bbq([S, U, A, S]), "arc": Task(lines)}, evidence(label))
    return analyze(folder / "runs", folder / "report")


@pytest.fixture
def found(tmp_path: Path) -> Analysis:
    return analysed(tmp_path, "wanda-50", "rtn-3", prompt="Please")


def test_it_shows_itself_in_ten_lines(found: Analysis) -> None:
    lines = repr(found).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines[:-1])) <= 140  # the path of the report is as long as it is
    assert lines[0] == "3 runs of 1 base model, 3 task comparisons with dense; 1 comparison refused."
    # The baseline is in the sentence.
    assert lines[1].split()[:3] == ["run", "verdict", "task"]
    assert lines[2].split()[0] == "dense"
    # Two tasks of dense and wanda-50, bbq alone of rtn-3, whose arc was refused.
    assert lines[6] == "... and 1 more rows in .headline"
    assert lines[7].startswith("issues: 1 error")
    assert lines[8].startswith(f".tables has {len(found.tables)}: runs, ")
    assert str(found.output) in lines[9]
    assert len(repr(found.tables)) < 600


def test_many_runs_of_long_names_still_take_ten_lines(tmp_path: Path) -> None:
    found = analysed(tmp_path, *(f"{'very-' * 30}long-{i}" for i in range(12)))
    lines = repr(found).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines[:-1])) <= 140  # the path of the report is as long as it is


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_labels_and_messages_are_data_in_html(tmp_path: Path) -> None:
    found = analysed(tmp_path, HOSTILE, prompt="Please")
    page = Tags()
    page.feed(found._repr_html_())
    assert page.tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "b", "code"}
    assert page.words.count("alert('run')") >= 2  # in the headline and in the refusal
    assert "is not comparable with dense" in page.words
    assert "\n" not in repr(found).splitlines()[2]
    assert "Issues: 1 error" in page.words
    rows = re.findall(r"<tr>", found._repr_html_())
    assert len(rows) == 1 + len(found.headline)


def test_frames_are_read_from_the_report_when_asked_for(found: Analysis) -> None:
    assert found.runs is found.tables["runs"]
    items = found.items
    assert items is found.items
    assert list(items.columns) == ITEMS.names
    plain = ITEMS.conform(pd.read_parquet(found.output / "items.parquet"))
    assert ITEMS.conform(items).equals(plain)
    assert found.tables["item_changes"] is found.tables["item_changes"]
    documents = found.documents
    assert list(documents.columns) == DOCUMENTS.names
    assert set(documents["doc_hash"]) == set(items["doc_hash"])
    with pytest.raises(KeyError, match="no table 'x'; there are runs, "):
        found.tables["x"]


def test_a_report_that_is_gone_is_a_line(found: Analysis) -> None:
    shutil.rmtree(found.output)
    for read in (lambda: found.items, lambda: found.tables["item_changes"], lambda: found.documents):
        with pytest.raises(UserError, match="is gone: analyse the runs again"):
            read()
    assert len(repr(found).splitlines()) <= 10


def test_a_report_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed(tmp_path, "wanda-50")
    monkeypatch.chdir(tmp_path)
    found = analyze("runs", "report")
    here = found.items
    monkeypatch.chdir("/")
    del found.__dict__["items"]
    assert found.items.equals(here)


def test_the_table_functions_take_the_frames_of_an_analysis(found: Analysis) -> None:
    items = found.items[found.items["task"] == "bbq"]
    assert rates(items, found.runs).equals(found.tables["rates"])
    assert set(ROLE_COLUMNS) <= set(items)
    arc = found.items["run"] != "rtn-3"
    listed = item_changes(found.items[arc], found.runs[found.runs["run"] != "rtn-3"])
    theirs = found.tables["item_changes"]
    theirs = theirs[theirs["run"] != "rtn-3"].reset_index(drop=True)
    keys = ["task", "item_id"]
    assert listed.sort_values(keys).reset_index(drop=True).equals(theirs.sort_values(keys).reset_index(drop=True))
    assert len(flips(found.items[arc], found.runs[found.runs["run"] != "rtn-3"])) == 2


def test_analyses_are_collected_by_name(tmp_path: Path) -> None:
    one, two = analysed(tmp_path / "one", "wanda-50"), analysed(tmp_path / "two", "rtn-3", "rtn-4")
    found = Analysis.collect({"small": one, "large": two}, "flips")
    assert list(found.columns) == ["analysis", *one.tables["flips"].columns]
    assert found[["analysis", "run", "task"]].to_numpy().tolist() == [
        ["small", "wanda-50", "bbq"],
        ["small", "wanda-50", "arc"],
        ["large", "rtn-3", "bbq"],
        ["large", "rtn-3", "arc"],
        ["large", "rtn-4", "bbq"],
        ["large", "rtn-4", "arc"],
    ]
    assert found.dtypes["n"] == "Int64"
    part = found[found["analysis"] == "large"].drop(columns="analysis").reset_index(drop=True)
    assert part.equals(two.tables["flips"])
    assert Analysis.collect({"small": one}, "headline").drop(columns="analysis").equals(one.headline)
    with pytest.raises(UserError, match="collect: small has no table 'flip'; there are headline, runs, "):
        Analysis.collect({"small": one}, "flip")
    with pytest.raises(UserError, match="at least one analysis, got none"):
        Analysis.collect({}, "flips")


@pytest.mark.parametrize("name", ["rates", "transitions", "item_changes", "flips", "paired_changes"])
def test_frames_in_the_wrong_places_are_told_apart(found: Analysis, name: str) -> None:
    import analysis

    function = getattr(analysis, name)
    items, runs = found.items, found.runs
    with pytest.raises(
        UserError, match=r"^items: expected one row an answer .* looks like one row a run .*items first"
    ):
        function(runs, items)
    with pytest.raises(UserError, match=r"^runs: expected one row a run .* looks like one row an answer"):
        function(items, items)
    with pytest.raises(UserError, match=r"^items: column status missing; expected one row an answer"):
        function(items.drop(columns="status"), runs)
    with pytest.raises(UserError, match=r"^runs: column baseline missing; expected one row a run"):
        function(items, runs.drop(columns="baseline"))
    with pytest.raises(UserError, match=r"^items: expected one row an answer .* got a frame with the columns run, ba"):
        function(found.tables["flips"], runs)
    with pytest.raises(UserError, match=r"^items: expected a frame with one row an answer .* got a str"):
        function("report/items.parquet", runs)


def test_a_table_that_is_another_is_named(found: Analysis) -> None:
    assert len(masked_flips(found.tables["churn"])) == len(found.tables["masked_flips"])
    with pytest.raises(UserError, match=r"^table: expected the table churn .* got a frame with"):
        masked_flips(found.tables["rates"])
    with pytest.raises(UserError, match=r"^table: expected the table churn .* got one row an answer"):
        masked_flips(found.items)


def test_every_column_of_runs_that_a_table_needs_is_named(found: Analysis) -> None:
    import analysis

    needed = {
        "transitions": ["sparsity", "bits"],
        "dose_response": ["base_model", "method", "sparsity", "bits"],
        "study_logistic": ["base_model", "is_baseline"],
        "uncertainty_model": ["method"],
        "replicate_floors": ["base_model"],
    }
    items = found.items[found.items["task"] == "bbq"]
    for name, columns in needed.items():
        for column in columns:
            with pytest.raises(UserError, match=f"^runs: column {column} missing"):
                getattr(analysis, name)(items, found.runs.drop(columns=column))

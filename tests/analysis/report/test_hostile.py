"""A real analysis of runs whose every name is hostile: what comes out in each medium, read by that medium's readers."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from analysis import Analysis, analyze
from analysis.logs import ISSUES
from analysis.tables.catalogue import CATALOGUE
from tests.helpers.hostile import FILE, NASTY, write_hostile
from tests.helpers.venvs import ROOT

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
HIDDEN = re.compile("[\u200b\u202a-\u202e]")
TEXTS = {table.name: [column.name for column in table.columns if column.kind == "string"]
         for table in (ISSUES, *(entry.holds for entry in CATALOGUE))}  # fmt: skip
TAGS = {"p", "h1", "h2", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "code", "strong"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_hostile(folder / f"runs {FILE}")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Analysis:
    return analyze(folder / f"runs {FILE}", folder / f"report {FILE}")


def printed(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def test_every_kind_of_name_is_in_the_tables(found: Analysis) -> None:
    items = found.items
    for name in ("run", "task", "filter", "category", "item_id", "cluster"):
        assert items[name].astype(str).str.contains("\x1b", regex=False).any(), name
    assert found.runs["method"].str.contains("<script>", regex=False).any()
    assert any("<script>" in issue.message for issue in found.issues)
    assert any("\x1b" in issue.file for issue in found.issues)


def test_the_terminal_is_only_printed_on(folder: Path, found: Analysis) -> None:
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", f"runs {FILE}", "--output", f"again {FILE}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1, err
    assert printed(out)
    assert printed(err)
    assert "\\x1b[31m" in out
    assert "[bold red]rich[/] :boom:" in out  # not taken for rich's own marks
    assert printed(repr(found))


def test_a_fault_names_a_run_without_its_escapes(folder: Path) -> None:
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", f"runs {FILE}", "--baseline", "densest"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, check=False)
    (said,) = done.stderr.decode().splitlines()
    assert (done.returncode, said.startswith("error: unknown label")) == (2, True)
    assert said.isprintable()


def test_the_summary_holds_no_tag_and_no_link_but_ours(found: Analysis) -> None:
    page = (found.output / "summary.md").read_bytes().decode()
    assert printed(page)
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = markdown.render(page)
    links, tags, texts, row, rows = [], set(), [""], 0, []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            nonlocal row
            tags.add(tag)
            assert tag == "a" or not attrs
            if tag == "a":
                links.append(dict(attrs)["href"])
            row = 0 if tag == "tr" else row + (tag in ("td", "th"))
            if tag == "h2":
                texts.append("")

        def handle_endtag(self, tag: str) -> None:
            if tag == "tr":
                rows.append(row)

        def handle_data(self, data: str) -> None:
            texts[-1] += data

    Reader().feed(html)
    assert tags <= TAGS
    assert links
    assert all((found.output / link).is_file() for link in links)
    # What stands there is the text as it is, with escapes for what can't be seen.
    notes = " ".join(texts)
    assert "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1))" in notes
    assert "| cell \\| &lt; [bold red]rich[/] :boom: \\u202etxt.exe" in notes
    # The tables keep their shape: all rows of the headline are there, one a line.
    (headline,) = re.findall(r"## Headline\n\n(.*?)\n\n", page, re.S)
    assert len(headline.splitlines()) == 2 + len(found.headline)
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    # A backslash before a pipe keeps it inside its cell.
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in headline.splitlines()]
    assert len(set(widths)) == 1
    assert len(rows) == len(lines) - sum(set(line) <= set("|- ") for line in lines)


def tables(found: Analysis) -> dict[str, Path]:
    plain = {path.stem: path for path in (found.output / "tables").glob("*.csv")}
    return plain | {"issues": found.output / "issues.csv"}


def test_no_cell_of_a_csv_file_is_computed(found: Analysis) -> None:
    seen = 0
    for name, path in tables(found).items():
        data = path.read_bytes().decode()
        assert not CONTROLS.search(data), name
        rows = list(csv.DictReader(io.StringIO(data, newline=""), strict=True))
        for row in rows:
            assert None not in row
            assert None not in row.values()
            for column in TEXTS[name]:
                assert not re.match(r"\s*[=+\-@]|[\t\n\r]", row[column]), (name, column)
                seen += row[column].startswith("'=cmd|")
    assert seen > 100


def test_csv_files_are_read_back_whole(found: Analysis) -> None:
    for name, path in tables(found).items():
        if name in ("issues", "item_changes"):
            continue
        plain, kept = pd.read_csv(path), pd.read_parquet(path.with_suffix(".parquet"))
        assert len(plain) == len(kept)
        for column in kept.columns:
            if column not in TEXTS[name]:
                assert plain[column].isna().tolist() == kept[column].isna().tolist()
                numbers = kept[column].dropna().astype(float)
                assert plain[column].dropna().astype(float).tolist() == pytest.approx(numbers.tolist())
    assert NASTY in set(pd.read_parquet(found.output / "tables" / "runs.parquet")["method"])  # raw
    changed = found.tables["item_changes"]
    plain = pd.read_csv(found.output / "tables" / "item_changes.csv")
    assert len(plain) == changed["changed"].fillna(False).sum() > 0
    assert len(pd.read_csv(found.output / "issues.csv")) == len(found.issues)


def test_a_notebook_shows_text(found: Analysis) -> None:
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not attrs or attrs == [("class", "tex2jax_ignore mathjax_ignore")]

    page = found._repr_html_()
    Reader().feed(page)
    assert tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "b", "code"}
    assert printed(page)
    assert not HIDDEN.search(page)


def test_json_files_are_printable(found: Analysis) -> None:
    for path in (found.output / "report.json", found.output / "tables" / "metadata.json"):
        assert printed(path.read_bytes().decode())


def test_all_that_writes_text_goes_through_one_place() -> None:
    direct = re.compile(
        r"rich\.markup|from html import|html\.escape|\.to_csv\(|csv\.write_csv\(|csv\.writer\(|json\.dump\(|"
        r"\bprint\(|\.echo\(|\.secho\(|stderr\.write\(|stdout\.write\("
    )
    writers = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in ("analysis", "lm_eval_ext/cli", "lm_eval_ext/demo")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if direct.search(path.read_text(encoding="utf-8"))
    }
    assert "analysis/report/csv_files.py" in writers
    # What docs prints is of this checkout; what the readers' processes write is for the process that asks.
    own = {"analysis/report/docs.py", "analysis/logs/parallel.py"}
    for name, source in writers.items():
        assert name in own or re.search(r"import .*\b(for_\w+|one_line)\b", source), name
        assert not re.search(r"rich\.markup|from html import", source), name

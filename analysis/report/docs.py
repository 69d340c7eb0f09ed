"""Write docs/tables.md from the declarations: `python -m analysis.report.docs`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..answers.measures import MEASURES
from ..compare.differences import DIFFERENCES
from ..logs import ISSUES
from ..result.reading import pattern
from ..schema.columns import Table
from ..schema.declare import AnyTable
from ..schema.documents import DOCUMENTS
from ..schema.items import ITEM_FIELDS, ITEMS
from ..tables.catalogue import CATALOGUE

__all__ = ["tables_markdown"]

_HEAD = """\
# The tables of a report

This page is made from the declarations that the code checks every table against:
`python -m analysis.report.docs` writes it.

A report holds `report.json` (its marker: what made it, from what), `summary.md`, `issues.csv`,
`items.parquet`, `documents.parquet` and the folder `tables`, with every table below as CSV and as Parquet.
Columns have the same name and meaning wherever they appear. A missing value is an empty cell in CSV and null in
Parquet, never NaN and never a number that stands for it. Numbers are written in full; only `summary.md` and the
terminal round.

Names and texts in a log are whatever somebody wrote. Parquet holds them as they are. In a CSV file a text that a
spreadsheet would compute (it starts with `=`, `+`, `-`, `@`, a tab or a line break) has a `'` before it, as OWASP
recommends. The same holds behind a `;`, a tab or a line break inside it; numbers are left alone. Control characters in
texts are escapes such as `\\x1b`, but for tabs and line breaks. Join by names in Parquet, not in CSV.

`lm-eval-ext explain TABLE --report FOLDER` says a table's first rows in words, one sentence a row: what it is about,
then the first of the sentences below whose columns are all there. A row whose status is not `ok` says its status.
`lm-eval-ext explain` lists the tables.

`report.json` lists the report's files with their hashes. A later analysis replaces a report only where nothing else
lies in its folder and no file has changed since.
"""

_MEASURES = """\
## Measures

Each is defined once (`analysis/answers/measures.py`) and means the same in every table, column and row that names it. A
benchmark's *scheme* puts each of its roles on an axis: *toward* the stereotype, *against* it, *neutral*, or *off* (no
answer to the question). Counts are of answers to items whose direction is told: an option lies toward the stereotype,
and every option on an axis. A measure is missing, never 0, where no item offers an option that it speaks of.

The rows of tables are of one condition. lm_eval's own table names the same shares by condition where a benchmark has
two: `srs_amb` there is `srs` of the rows `ambig`, and of the headline. Where it has none, both say `srs`.
"""

_LOG = """\
Where each column comes from in a line of `samples_<task>_<date>.jsonl`: first for our tasks, whose documents
carry an item record, then for any other lm-eval task. Places that start with `$` are made by the reader:
`$options` and `$probability` from the item's roles and scheme, `$answer` from the answer or one text of it; for
other tasks from `filtered_resps` and the metrics acc, exact_match, em or acc_norm. `$request_hash` is made from
`arguments`. Logs of the item record's first version (no `version`) name the texts `draws` and have no scheme: roles
that are all BBQ's get BBQ's, others are an issue.

`documents.parquet` says what was asked, joined by `doc_hash`. Where logs with different documents give the same hash
(altered ones), the first is kept.

What was read from a samples file of 1 MB or more is kept in the folder `samples` of `$LM_EVAL_EXT_CACHE`, or of
`~/.cache/lm-eval-ext`, by the file's content and the reader's code: the next analysis reads new files only, one after
an upgrade of the reader all of them. It takes some 7 % of the logs' bytes; what nobody uses for 90 days goes, and all
of it may be deleted at any time.
"""


def tables_markdown(catalogue: Iterable[AnyTable] = CATALOGUE) -> str:
    """The page docs/tables.md."""
    parts = [
        _HEAD,
        _MEASURES + "\n" + _measures(),
        *(_section(table.holds, f"tables/{table.name}", table.reading) for table in catalogue),
    ]
    parts += [_section(ISSUES, "issues.csv"), _section(ITEMS, "items.parquet")]
    parts += [_section(DOCUMENTS, "documents.parquet"), _LOG + "\n" + _sources()]
    parts += ["## Differences that `--allow` takes\n\n" + _differences()]
    return "\n".join(parts)


def _section(table: Table, where: str, readings: Iterable[str] = ()) -> str:
    rows = [
        (f"`{column.name}`", column.kind + (" or missing" if column.nullable else ""), column.description)
        for column in table.columns
    ]
    said = " Or: ".join(f"`{pattern(reading)}`." for reading in readings)
    said = f"In words: {said}\n\n" if said else ""
    return f"## `{where}`\n\n{table.doc}\n\n{said}" + _table(("column", "kind", "meaning"), rows)


def _sources() -> str:
    rows = [
        (f"`{entry.name}`", f"`{entry.ours}`", "" if entry.plain is None else f"`{entry.plain}`")
        for entry in ITEM_FIELDS
    ]
    return _table(("column", "our tasks", "other tasks"), rows)


def _measures() -> str:
    rows = [
        (f"`{entry.name}`", entry.meaning, f"`{entry.formula}`", entry.range, entry.needs(), entry.source)
        for entry in MEASURES
    ]
    return _table(("name", "meaning", "formula", "range", "needs", "source"), rows)


def _differences() -> str:
    return _table(("name", "meaning"), [(f"`{name}`", doc) for name, doc in DIFFERENCES.items()])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to the path that the command line names, or into the repository that this file lies in.

    Returns:
        The exit status: 0, or 2 with one line on stderr where nothing can be written. An installation has no docs:
            there a path must be given.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis.report.docs", description="Write the page of all tables.")
    parser.add_argument("page", nargs="?", type=Path, help="file to write (default: docs/tables.md of the repository)")
    page: Path | None = parser.parse_args(arguments).page
    root = Path(__file__).resolve().parents[2]
    if page is None and not ((root / "pyproject.toml").is_file() and (root / "docs").is_dir()):
        sys.stderr.write(
            "error: analysis is installed here, not checked out; name a file: python -m analysis.report.docs FILE\n"
        )
        return 2
    page = page or root / "docs" / "tables.md"
    try:
        page.write_text(tables_markdown(), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"error: {page} can't be written: {error.strerror}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

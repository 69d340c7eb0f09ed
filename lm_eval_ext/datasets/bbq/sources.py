"""Where BBQ's rows come from: the hub, a local copy of BBQ's files, or the packaged demonstration items."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval_ext.datasets.bbq.rows import CATEGORIES, BbqRow, parse_row
from lm_eval_ext.errors import UserError, unknown_name

__all__ = ["BBQ_DIR_VARIABLE", "DEMO_FILE", "HUB_NAME", "SOURCES", "Source", "choose_source", "read_rows"]

HUB_NAME = "Elfsong/BBQ"
BBQ_DIR_VARIABLE = "LM_EVAL_EXT_BBQ_DIR"
SOURCES = ("hub", "dir", "demo")
DEMO_FILE = Path(__file__).parent / "data" / "demo.jsonl"

_THREE_SOURCES = (
    f"BBQ's items come from one of three sources: the hub ({HUB_NAME}; needs a connection or a filled cache; "
    """--metadata '{"bbq_source": "hub"}'), a local copy of BBQ's files """
    f"""(--metadata '{{"bbq_dir": "FOLDER"}}' or {BBQ_DIR_VARIABLE}=FOLDER), """
    "or the packaged demonstration items (--tasks bbq_itemlevel_demo)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A place that rows can be read from."""

    kind: str
    """"hub", "dir" or "demo"."""
    folder: Path | None = None
    """The local copy, for "dir"."""

    @property
    def benchmark(self) -> str:
        """First part of its items' ids: the demonstration items never share an id with BBQ's."""
        return "bbq_demo" if self.kind == "demo" else "bbq"


def choose_source(metadata: Mapping[str, Any]) -> Source:
    """Say where the rows come from.

    Args:
        metadata: What the user gave: `bbq_source` ("hub", "dir" or "demo") and `bbq_dir` (a folder) are read,
            everything else is left alone. `bbq_dir` wins over the environment variable LM_EVAL_EXT_BBQ_DIR.
            Without `bbq_source` it is "dir" where a folder is named in either way, otherwise "hub".

    Returns:
        The source.

    Raises:
        UserError: If `bbq_source` is none of the three, or "dir" without a folder.
    """
    folder = metadata.get("bbq_dir") or os.environ.get(BBQ_DIR_VARIABLE)
    kind = metadata.get("bbq_source") or ("dir" if folder else "hub")
    if kind not in SOURCES:
        raise unknown_name("bbq_source", str(kind), list(SOURCES))
    if kind == "dir" and not folder:
        raise UserError(f"bbq_source is 'dir', but no folder is named. {_THREE_SOURCES}")
    return Source(kind=kind, folder=Path(str(folder)).expanduser() if kind == "dir" else None)


def read_rows(source: Source, categories: Sequence[str] | None = None) -> list[BbqRow]:
    """Read whole categories, in the order asked, each in the order of its file.

    Args:
        source: Where from.
        categories: Names as in BBQ's files. None means all eleven; of the demonstration items, all they have.

    Returns:
        The rows.

    Raises:
        UserError: If the source or a category of it cannot be had, or a row is malformed or appears twice.
    """
    if source.kind == "demo":
        rows = _demo_rows(categories)
    elif source.kind == "dir":
        assert source.folder is not None
        files = _category_files(source.folder, categories or CATEGORIES)
        rows = [row for category, path in files.items() for row in _file_rows(path, category)]
    else:
        rows = [row for category in categories or CATEGORIES for row in _hub_rows(category)]
    _refuse_duplicates(rows)
    return rows


def _demo_rows(categories: Sequence[str] | None) -> list[BbqRow]:
    if not DEMO_FILE.exists():
        raise UserError(f"the packaged demonstration items are missing ({DEMO_FILE}): install us again.")
    rows = _file_rows(DEMO_FILE)
    present = dict.fromkeys(row.category for row in rows)
    missing = [c for c in categories or () if c not in present]
    if missing:
        raise UserError(
            f"the demonstration items have no {', '.join(missing)}, only {', '.join(present)}. " + _THREE_SOURCES
        )
    return [row for category in categories or present for row in rows if row.category == category]


def _category_files(folder: Path, categories: Sequence[str]) -> dict[str, Path]:
    """Find each category's file in a folder and its subfolders, by its name, .jsonl or .jsonl.gz."""
    if not folder.is_dir():
        raise UserError(f"bbq_dir {str(folder)!r} is not a folder. {_THREE_SOURCES}")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.jsonl")) + sorted(folder.rglob("*.jsonl.gz")):
        found.setdefault(path.name.split(".")[0].lower(), []).append(path)
    missing = [c for c in categories if c.lower() not in found]
    if missing:
        raise UserError(
            f"bbq_dir {str(folder)!r} has no file for {', '.join(missing)} (looked for {missing[0]}.jsonl or "
            f"{missing[0]}.jsonl.gz, also in its subfolders). {_THREE_SOURCES}"
        )
    for category in categories:
        if len(found[category.lower()]) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found[category.lower()])
            raise UserError(
                f"bbq_dir {str(folder)!r} has several files for {category}: {names}. Name the folder of one."
            )
    return {category: found[category.lower()][0] for category in categories}


def _file_rows(path: Path, category: str | None = None) -> list[BbqRow]:
    opener = gzip.open if path.suffix == ".gz" else open
    rows = []
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append(_line_row(line, f"{path} line {number}", category))
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: cannot be read beyond line {number}: {fault}.") from None
    if not rows:
        raise UserError(f"{path}: holds no rows.")
    return rows


def _line_row(line: str, where: str, category: str | None) -> BbqRow:
    try:
        raw = json.loads(line)
    except json.JSONDecodeError as fault:
        raise UserError(f"{where}: not JSON: {fault.msg} at column {fault.colno}.") from None
    if not isinstance(raw, dict):
        raise UserError(f"{where}: a JSON object was expected, {type(raw).__name__} was found.")
    return _of_category(parse_row(raw, where), category, where)


def _hub_rows(category: str) -> list[BbqRow]:
    import datasets  # slow to import, and not needed for the other two sources

    split = category.lower()
    try:
        data = datasets.load_dataset(HUB_NAME, split=split)
    except Exception as fault:  # the hub's client fails in many ways; to the user they are one
        reason = f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else 'no reason given'}"
        raise UserError(f"{HUB_NAME}, split {split!r}, cannot be had ({reason}). {_THREE_SOURCES}") from None
    rows = []
    for number, raw in enumerate(data):
        where = f"{HUB_NAME}, split {split!r}, row {number}"
        rows.append(_of_category(parse_row(raw, where), category, where))
    return rows


def _of_category(row: BbqRow, category: str | None, where: str) -> BbqRow:
    if category is not None and row.category != category:
        raise UserError(f"{where}: the row's category is {row.category!r}, expected {category!r}.")
    return row


def _refuse_duplicates(rows: Sequence[BbqRow]) -> None:
    seen: set[tuple[str, int]] = set()
    twice: list[str] = []
    for row in rows:
        key = (row.category, row.example_id)
        if key in seen:
            twice.append(f"{row.category}/{row.example_id}")
        seen.add(key)
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise UserError(
            f"{len(twice)} rows repeat another row's category and example_id: {', '.join(twice[:5])}{more}. "
            "Both together are an item's identity, so each pair may occur once."
        )

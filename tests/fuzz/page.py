"""The counts in docs/reliability.md: kinds of mutation against outcomes, between two marks."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.fuzz.campaign import Found
from tests.fuzz.mutate import KINDS
from tests.fuzz.oracle import OUTCOMES
from tests.fuzz.witness import ALONE

__all__ = ["PAGE", "alone", "counts", "put"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_MARKS = {
    name: (f"<!-- {name}: made by python -m tests.fuzz -->", f"<!-- end of {name} -->") for name in ("counts", "alone")
}
_LIBRARIES = ("lm-eval-ext", "lm_eval", "pandas", "pyarrow", "numpy", "msgspec")


def _table(title: str, rows: Iterable[str], cells: Counter[tuple[str, str]]) -> list[str]:
    names = [*OUTCOMES]
    lines = [f"| {title} | tried | {' | '.join(names)} |", "|---|" + "---:|" * (len(names) + 1)]
    for row in rows:
        values = [cells[row, name] for name in names]
        lines.append(f"| {row} | {sum(values)} | {' | '.join(str(value) for value in values)} |")
    totals = [sum(count for (_, found), count in cells.items() if found == name) for name in names]
    return [*lines, f"| **all** | {sum(totals)} | {' | '.join(str(value) for value in totals)} |"]


def counts(found: Sequence[Found], seed: int, seconds: float, workers: int) -> str:
    """The counts as Markdown."""
    kinds = Counter((entry.kind, entry.outcome.name) for entry in found)
    bases = Counter((entry.base, entry.outcome.name) for entry in found)
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    head = (
        f"{len(found):,} mutations, seed {seed}, {seconds / 60:.0f} minutes in {workers} processes "
        f"({len(found) / seconds:.0f} a second). Python {platform.python_version()}, {versions}."
    )
    return "\n".join(
        [head, "", *_table("mutation", KINDS, kinds), "", *_table("log", sorted({b for b, _ in bases}), bases)]
    )


def alone() -> str:
    """The values that stand alone in a log, as Markdown."""
    return "\n".join(f"- {kind.words} (`{'`, `'.join(kind.places)}` of {kind.file} files)" for kind in ALONE)


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Put a text into the page, between the marks of a name."""
    content, (begin, end) = page.read_text(encoding="utf-8"), _MARKS[name]
    before, rest = content.split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")

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

__all__ = ["PAGE", "counts", "put"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- counts: made by python -m tests.fuzz -->", "<!-- end of counts -->"
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


def put(text: str, page: Path = PAGE) -> None:
    """Put the counts into the page, between its marks."""
    content = page.read_text(encoding="utf-8")
    before, rest = content.split(_BEGIN)
    after = rest.split(_END)[1]
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")

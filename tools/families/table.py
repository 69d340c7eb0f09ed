"""The table of all families as Markdown, between two marks of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.families.checks import CHECKS

__all__ = ["BEGIN", "END", "render", "write"]

BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
_MARKS = {"works": "yes", "wrong": "**wrong**", "traceback": "**traceback**"}
Table = Mapping[str, Mapping[str, tuple[str, str]]]


def render(table: Table) -> str:
    """One row a family that can be built, the refusals' lines below, and the families that can't be built."""
    notes: dict[str, int] = {}
    lines = ["| family | " + " | ".join(CHECKS) + " |", "|" + "---|" * (len(CHECKS) + 1)]
    left = []
    for family, cells in sorted(table.items()):
        status, reason = cells["build"]
        if status != "built":
            left.append(f"- {family}: {reason}")
            continue
        row = [family + (" (reads later tokens)" if reason else "")]
        for check in CHECKS:
            state, detail = cells.get(check, ("", ""))
            if state in ("refused", "wrong", "traceback"):
                number = notes.setdefault(detail, len(notes) + 1)
                row.append(f"{_MARKS.get(state, 'refused')} [{number}]")
            else:
                row.append(_MARKS.get(state, state))
        lines.append("| " + " | ".join(row) + " |")
    refusals = [f"{number}. {_plain(detail)}" for detail, number in notes.items()]
    parts = ["\n".join(lines)]
    if refusals:
        parts.append("What is refused, with its line:\n\n" + "\n".join(refusals))
    if left:
        parts.append("No tiny model can be made of:\n\n" + "\n".join(left))
    return "\n\n".join(parts)


def write(page: Path, table: Table) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: If the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page}: expected the marks {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{render(table)}\n\n{END}{after}", encoding="utf-8")


def _plain(detail: str) -> str:
    """A line as Markdown shows it unchanged."""
    return detail.replace("*", r"\*").replace("<", "&lt;").replace("|", r"\|").replace("[", r"\[")

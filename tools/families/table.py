"""What the checks found, as Markdown between two marks of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.families.checks import CHECKS

__all__ = ["BEGIN", "END", "render", "write"]

BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
_MARKS = {
    "works": "works",
    "refused": "refused",
    "wrong": "**wrong**",
    "traceback": "**traceback**",
    "no reference": "no reference",
}
Table = Mapping[str, Mapping[str, tuple[str, str]]]


def render(table: Table) -> str:
    """The families where everything works, a row for each other one with its lines below, and those left out."""
    built = {family: cells for family, cells in sorted(table.items()) if cells["build"][0] == "built"}
    whole = [family for family, cells in built.items() if all(cells[check][0] == "works" for check in CHECKS)]
    parts = [
        f"{len(table)} model types, {len(built)} of them built and checked.",
        f"Everything works ({len(whole)}): {', '.join(whole)}.",
    ]
    if len(whole) < len(built):
        parts += _others({family: cells for family, cells in built.items() if family not in whole})
    left: dict[str, list[str]] = {}
    for family, cells in sorted(table.items()):
        if family not in built:
            left.setdefault(cells["build"][1], []).append(family)
    if left:
        parts.append(
            "Not built:\n\n" + "\n".join(f"- {', '.join(names)}: {_plain(why)}" for why, names in left.items())
        )
    return "\n\n".join(parts)


def _others(table: Table) -> list[str]:
    notes: dict[str, int] = {}
    lines = ["| family | " + " | ".join(CHECKS) + " |", "|" + "---|" * (len(CHECKS) + 1)]
    for family, cells in table.items():
        row = [family]
        for check in CHECKS:
            state, detail = cells[check]
            number = "" if state == "works" else f" ({notes.setdefault(detail, len(notes) + 1)})"
            row.append(_MARKS[state] + number)
        lines.append("| " + " | ".join(row) + " |")
    said = "\n".join(f"{number}. {_plain(detail)}" for detail, number in notes.items())
    return ["\n".join(lines), f"The lines:\n\n{said}"]


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

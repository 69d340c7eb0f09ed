"""A row of a table in words: what it is about, then what it says, in one sentence.

A table declares what its rows say as format strings of its columns (`reading`), such as "from {value_baseline:share} to
{value:share}". The first one is taken whose columns are all there in the row. What the row is about is told by the
columns that name it, the same in every table; a row whose status is not "ok" says its status.

Numbers are written by what follows the colon: `%` a share in percent, `chance` the same with its ends open, `points`
the change of a share with a sign, `pts` the same without the word, `size` without the sign, `share` three decimals, `p`
a p-value, `+` a number with a sign, `g` or nothing a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Integral
from string import Formatter
from typing import Any

import pandas as pd

from ..schema.declare import AnyTable
from ..schema.shared import STATUS

__all__ = ["MOST", "NOTHING", "columns_read", "has_status", "pattern", "read"]

MOST = 30
"""Words of a sentence."""
NOTHING = "nothing is told"
_FEWEST = 10
_FIELD = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_ABOUT = ("run", "base_model", "method", "task", "filter", "condition", "category", "aggregate", "subset")
_WHAT = (
    "measure",
    "metric",
    "outcome",
    "transition",
    "summary",
    "test",
    "form",
    "term",
    "flip",
    "score",
    "bins",
    "rule",
)
_WHOM = ("group", "item_id", "perplexity_metric")
_PLAIN = {"filter": "none", "condition": "none", "aggregate": "none", "subset": "all", "summary": "run"}
"""What goes without saying."""
_WORDS = {
    "condition": {"ambig": "ambiguous", "disambig": "disambiguated"},
    "category": {"all": "all categories", "any": "any category"},
}
# A run tells its base model and method.
_BY_RUN = ("base_model", "method")


def read(table: AnyTable, row: Mapping[str, Any] | pd.Series) -> str:
    """One sentence on a row, plain text of one line.

    Args:
        table: Its table.
        row: Values by column; those of other columns are left alone.

    Returns:
        What the row is about, a colon, and what it says, with a full stop. Missing values are never spelled out.
    """
    there = {name: row[name] for name in table.holds.names if name in row and not _missing(row[name])}
    about = ", ".join(_about(table, there))
    said = _said(table, there)
    room = max(_FEWEST, MOST - len(about.split()))
    text = f"{about}: {_fitted(said, room)}" if about else _fitted(said, MOST)
    text = " ".join(text.split())
    return text if text.endswith("...") else text.rstrip(".") + "."


def has_status(table: AnyTable) -> bool:
    """Whether a row may say why it holds no result: a column `status` may be about an answer instead."""
    return any(column.name == "status" and column.doc == STATUS.doc for column in table.holds.columns)


def columns_read(reading: str) -> list[str]:
    """Names of the columns in one of a table's format strings."""
    return [name for _, name, _, _ in Formatter().parse(reading) if name is not None]


def pattern(reading: str) -> str:
    """A table's format string as a reader sees it: "from <value_baseline> to <value>"."""
    return _FIELD.sub(r"<\1>", reading)


def _fitted(said: str, room: int) -> str:
    """What is said in so many words: without the last of several reasons, or cut short."""
    parts = said.split("; ")
    while len(parts) > 1 and len(" ".join(parts).split()) > room:
        parts.pop()
    words = "; ".join(parts).split()
    return " ".join(words) if len(words) <= room else f"{' '.join(words[:room]).rstrip(',;:')} ..."


def _about(table: AnyTable, there: Mapping[str, Any]) -> list[str]:
    out = []
    # What a sentence of its own speaks of need not be named before it.
    spoken = set(columns_read(table.reading[0])) if table.reading else set()
    for name in (*_ABOUT, *_WHAT, *_WHOM):
        if name not in there or name in spoken or (name in _BY_RUN and "run" in there):
            continue
        value = str(there[name])
        if value != _PLAIN.get(name):
            out.append(_WORDS.get(name, {}).get(value, value))
    # Elsewhere a seed is one of settings.
    return [*out, f"seed {there['seed']}"] if {"item_id", "seed"} <= set(there) else out


def _said(table: AnyTable, there: Mapping[str, Any]) -> str:
    if has_status(table) and there.get("status", "ok") != "ok":
        return str(there["status"])
    for reading in table.reading:
        if all(name in there for name in columns_read(reading)):
            return _Words().vformat(reading, (), there)
    return NOTHING


def _missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


class _Words(Formatter):
    """Numbers in words."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """One value, by what follows the colon."""
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, Integral)):
            return str(value) if isinstance(value, bool) else f"{value:,}"
        number = float(value)
        written = _NUMBERS[format_spec or "g"](number)
        if written.startswith("-") and not written.strip("-0.% points"):
            # A rounded number that is 0 has no minus.
            return ("+" if format_spec in _SIGNED else "") + written[1:]
        return written


def _chance(value: float) -> str:
    if value < 0.001:
        return "under 0.1 %"
    return "over 99.9 %" if value > 0.999 else f"{100 * value:.1f} %"


_SIGNED = ("+", "points", "pts")
_NUMBERS: dict[str, Callable[[float], str]] = {
    "g": lambda value: f"{value:,.4g}",
    "+": lambda value: f"{value:+,.3g}",
    "%": lambda value: f"{100 * value:.1f} %",
    "share": lambda value: f"{value:.3f}",
    "points": lambda value: f"{100 * value:+.1f} points",
    "pts": lambda value: f"{100 * value:+.1f}",
    "size": lambda value: f"{100 * value:g} points",
    "chance": _chance,
    "p": lambda value: "p < 0.001" if value < 0.001 else f"p = {value:.3f}",
}

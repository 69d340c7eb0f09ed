"""Frames that a user gives to a table function: told apart by what they hold, and refused in one line."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..errors import UserError

__all__ = ["check_items", "check_runs", "check_table"]

_ITEMS = "one row an answer (`analysis.items`, or items.parquet of the report)"
_RUNS = "one row a run (`analysis.runs`, or tables/runs.parquet of the report)"
_SHOWN = 6
"""Columns that a message names of a frame that is neither."""


def check_items(frame: object, columns: Iterable[str]) -> None:
    """Make sure that the argument `items` holds answers.

    Raises:
        UserError: If it is no frame, or lacks one of the columns; the message says what it looks like instead.
    """
    _check(frame, "items", _ITEMS, columns)


def check_runs(frame: object, columns: Iterable[str]) -> None:
    """Make sure that the argument `runs` holds runs. Raises as `check_items`."""
    _check(frame, "runs", _RUNS, columns)


def check_table(frame: object, name: str, columns: Iterable[str]) -> None:
    """Make sure that the argument `table` is the report's table of this name. Raises as `check_items`."""
    _check(frame, "table", f"the table {name} (`analysis.tables['{name}']`)", columns)


def _check(frame: object, argument: str, expected: str, columns: Iterable[str]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{argument}: expected a frame with {expected}, got a {type(frame).__name__}")
    missing = [name for name in columns if name not in frame.columns]
    if not missing:
        return
    found = _looks_like(frame)
    lacks = f"{'column' if len(missing) == 1 else 'columns'} {', '.join(missing)}"
    if argument != "table" and found in (_ITEMS, _RUNS) and found != expected:
        raise UserError(f"{argument}: expected {expected}, but this looks like {found}. Give items first, then runs")
    if found == expected:
        raise UserError(f"{argument}: {lacks} missing; expected {expected}, with all its columns")
    raise UserError(f"{argument}: expected {expected}, got {found}; {lacks} missing")


def _looks_like(frame: pd.DataFrame) -> str:
    """What a frame holds, by columns that no other has."""
    names = [str(name) for name in frame.columns]
    # Other tables of the report have a task too, and a baseline beside each run.
    if "item_id" in names and "baseline" not in names:
        return _ITEMS
    if {"run", "baseline"} & set(names) and "task" not in names and {"method", "base_model", "baseline"} & set(names):
        return _RUNS
    if not names:
        return "a frame without columns"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"a frame with the columns {', '.join(names[:_SHOWN])}{more}"

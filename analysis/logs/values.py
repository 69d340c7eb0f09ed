"""Readers of single values: lm-eval writes numbers as strings, booleans as "True" and bare NaN."""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "LogError",
    "boolean",
    "indicator",
    "integer",
    "lines",
    "mapping",
    "number",
    "numbers",
    "score",
    "text",
    "words",
]


class LogError(ValueError):
    """A log does not hold what it should; the message names the key, what was seen and what was expected."""


def number(value: Any) -> float | None:
    """A finite or infinite number; missing for null, NaN and lm-eval's "N/A"."""
    if value is None or value in ("", "N/A"):
        return None
    found = value if type(value) is float else score(value)
    return None if math.isnan(found) else found


def numbers(value: Any) -> list[float | None] | None:
    """A list of numbers, each as `number` has it; missing for null."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise LogError(f"expected a list of numbers, got {_short(value)}")
    return [number(entry) for entry in value]


def score(value: Any) -> float:
    """A log-likelihood as a float; NaN stays NaN, so that the caller can name the answer unscored."""
    if isinstance(value, (bool, int, float)):
        try:
            return float(value)
        except OverflowError:
            raise LogError(f"expected a number that a float can hold, got {_short(value)}") from None
    if isinstance(value, str):
        flags = {"True": 1.0, "False": 0.0}
        try:
            return flags[value] if value in flags else float(value)
        except ValueError:
            pass
    raise LogError(f"expected a number, got {_short(value)}")


def integer(value: Any) -> int | None:
    """A whole number of at most 64 bits; missing for null."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Not by way of a float, which would round a long seed.
        if -(1 << 63) <= value < 1 << 63:
            return value
        raise LogError(f"expected a whole number of at most 64 bits, got {value}")
    found = number(value)
    if found is None:
        return None
    if not math.isfinite(found) or found != int(found) or abs(found) >= 1 << 63:
        raise LogError(f"expected a whole number, got {_short(value)}")
    return int(found)


def boolean(value: Any) -> bool | None:
    """True or False, also as a string or as 1 and 0; missing for null."""
    if value is None:
        return None
    found = indicator(value)
    if found is None:
        raise LogError(f"expected true or false, got {_short(value)}")
    return found


def indicator(value: Any) -> bool | None:
    """A metric that is 1 or 0 for an item, as a boolean; missing for anything else (a share, a list)."""
    try:
        found = number(value)
    except LogError:
        return None
    return bool(found) if found in (0.0, 1.0) else None


def text(value: Any) -> str | None:
    """A string as it is, half characters replaced by "?" (Arrow holds none); missing for null."""
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    raise LogError(f"expected a string, got {_short(value)}")


def mapping(value: Any) -> dict[str, Any]:
    """An object as it is; empty for anything else, of which nothing is known."""
    return value if isinstance(value, dict) else {}


def lines(value: Any) -> tuple[str, ...]:
    """A list of sentences, of which any half characters are replaced; empty for anything else."""
    return tuple(text(str(entry)) or "" for entry in value) if isinstance(value, list) else ()


def words(value: Any) -> str | None:
    """Any scalar as a string (a version 1.0, a batch size "auto"); missing for null."""
    return None if value is None else str(value)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."

"""A results file as the object that it holds, or one line on why it holds none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .inspect_logs import inspect_results, is_inspect
from .values import LogError

__all__ = ["load_object"]

_DIGITS = 300
"""Digits of the longest integer that a float can hold: about."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def load_object(path: Path) -> dict[str, Any]:
    r"""Read a JSON file that holds an object. Bare NaN and Infinity are numbers, as lm_eval writes them.

    A log of Inspect gives what a results file of lm_eval would say of it.

    Half characters (`"\ud800"`), which no file of ours can hold, become "?".

    Raises:
        LogError: If the file can't be read or holds anything else; a key that stands twice in one object says two
            things, of which nothing tells the right one.
    """
    if is_inspect(path):
        return inspect_results(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"can't be read ({error.strerror or type(error).__name__})") from error
    if not data.strip():
        raise LogError("the file is empty: nothing was written, or the disk was full")
    try:
        content = json.loads(data, object_pairs_hook=_object, parse_int=_integer)
        if _HALF.search(data):
            content = _whole(content)
    except RecursionError:
        raise LogError("nested too deeply for a file of lm_eval's") from None
    except UnicodeDecodeError as error:
        raise LogError(f"not UTF-8 at byte {error.start}") from None
    if not isinstance(content, dict):
        raise LogError("results: missing; not a results file of lm-eval")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise LogError(f"key {double[:60]!r} stands twice in one object")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise LogError(f"an integer of {len(digits)} digits")
    return int(digits)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(entry) for key, entry in value.items()}
    return value

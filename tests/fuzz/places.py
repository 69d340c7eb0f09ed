"""Places in a record, and what is put there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

RAW = "\ue000raw\ue000"
ODD = {
    "null": "null",
    "true": "true",
    "empty text": '""',
    "NaN as text": '"NaN"',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-1": "-1",
    "1.2": "1.2",
    "1e999": "1e999",
    "5,000 digits": "1" + "0" * 5000,
    "empty list": "[]",
    "empty object": "{}",
    "3,000 lists": "[" * 3000 + "]" * 3000,
    "half a character": '"\\ud800"',
    "100,000 characters": '"' + "x" * 100_000 + '"',
}
"""JSON texts that stand in place of a value."""

Path = tuple[Any, ...]


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def get(record: Any, path: Path) -> Any:
    for key in path:
        record = record[key]
    return record


def put(record: Any, path: Path, value: Any) -> None:
    get(record, path[:-1])[path[-1]] = value


def some_path(record: Any, rng: Random, fits: Callable[[Any], bool] = lambda value: True) -> Path:
    """A place: a key at the top first, so that a long list does not draw all lots."""
    fitting: dict[Any, list[Path]] = {}
    for path in _paths(record):
        if fits(get(record, path)):
            # What our tasks say of items and answers is as important as what stands at the top.
            head = path[:2] if path[0] in ("answer", "results", "config", "configs") else path[:1]
            fitting.setdefault(head, []).append(path)
    return rng.choice(fitting[rng.choice([*fitting])])


def said(path: Path) -> str:
    return ".".join(map(str, path))

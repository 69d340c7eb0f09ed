"""The same value of many lines altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.places import Path, dump, get, put, said, some_path
from tests.fuzz.raw import Change, split_lines


def in_all(make: Callable[[list[Any], Path, Random], str]) -> Callable[[bytes, Random], Change]:
    def change(raw: bytes, rng: Random) -> Change:
        records = [json.loads(line) for line in split_lines(raw)]
        path = some_path(rng.choice(records), rng)
        what = make(records, path, rng)
        return f"{said(path)} {what}", "".join(dump(record) + "\n" for record in records).encode()

    return change


def each(records: list[Any], path: Path, do: Callable[[Any], None]) -> None:
    for record in records:
        try:
            get(record, path)
        except (KeyError, IndexError, TypeError):
            continue
        do(record)


def all_gone(records: list[Any], path: Path, rng: Random) -> str:
    each(records, path, lambda record: get(record, path[:-1]).pop(path[-1]))
    return "gone in all lines"


def all_same(records: list[Any], path: Path, rng: Random) -> str:
    value = rng.choice((None, True, 0, 1, 1.0, 0.5, "", "x", [], {}, get(records[0], path)))
    each(records, path, lambda record: put(record, path, value))
    return f"is {value!r:.40} in all lines"


def all_shifted(records: list[Any], path: Path, rng: Random) -> str:
    values: list[Any] = []
    each(records, path, lambda record: values.append(get(record, path)))
    shift = rng.randrange(1, max(2, len(values)))
    moved = iter(values[shift:] + values[:shift])
    each(records, path, lambda record: put(record, path, next(moved)))
    return f"moved by {shift} lines"


def two_swapped(records: list[Any], path: Path, rng: Random) -> str:
    having: list[Any] = []
    each(records, path, having.append)
    one, two = rng.sample(having, 2)
    values = get(one, path), get(two, path)
    put(one, path, values[1])
    put(two, path, values[0])
    return "exchanged between two lines"


def filter_renamed(raw: bytes, rng: Random) -> Change:
    records = [json.loads(line) for line in split_lines(raw)]
    name, new = rng.choice(records)["filter"], rng.choice(("none", "strict", "", "whole", "letters "))
    every = rng.random() < 0.5
    for record in records:
        if record["filter"] == name and (every or rng.random() < 0.2):
            record["filter"] = new
    what = f"filter {name} is {new} in {'all' if every else 'some'} lines"
    return what, "".join(dump(record) + "\n" for record in records).encode()

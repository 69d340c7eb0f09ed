"""One record of a log altered: a sample line, or a results file."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.places import ODD, RAW, Path, dump, get, put, said, some_path
from tests.fuzz.raw import Change, split_lines


def in_line(
    make: Callable[[Any, Random, list[Any], int], tuple[str, str]],
) -> Callable[[bytes, Random], Change]:
    """A change of one line's record: from the record, all records and its place, to the line's JSON text."""

    def change(raw: bytes, rng: Random) -> Change:
        lines = split_lines(raw)
        records = [json.loads(line) for line in lines]
        place = rng.randrange(len(lines))
        what, text = make(records[place], rng, records, place)
        lines[place] = text.encode("utf-8", "surrogatepass") + b"\n"
        return f"line {place + 1}: {what}", b"".join(lines)

    return change


def in_results(make: Callable[[Any, Random, list[Any], int], tuple[str, str]]) -> Callable[[bytes, Random], Change]:
    def change(raw: bytes, rng: Random) -> Change:
        record = json.loads(raw)
        what, text = make(record, rng, [record], 0)
        return what, text.encode("utf-8", "surrogatepass")

    return change


def _key_path(record: Any, rng: Random) -> Path:
    for _ in range(50):
        path = some_path(record, rng)
        if isinstance(path[-1], str):
            return path
    raise IndexError


def remove(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng)
    del get(record, path[:-1])[path[-1]]
    return f"{said(path)} gone", dump(record)


def rename(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _key_path(record, rng)
    holder, new = get(record, path[:-1]), rng.choice((path[-1] + "_", path[-1].upper(), path[-1][:-1], "x"))
    kept = {(new if key == path[-1] else key): value for key, value in holder.items()}
    holder.clear()
    holder.update(kept)
    return f"{said(path)} is named {new}", dump(record)


def twice(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _key_path(record, rng)
    name, first = rng.choice([*ODD]), rng.random() < 0.5
    holder, value = get(record, path[:-1]), get(record, path)
    here = ODD[name] if rng.random() < 0.7 else dump(value)
    pair = [dump(value), here] if first else [here, dump(value)]
    holder[path[-1]] = RAW
    text = dump(record).replace(f'"{RAW}"', f"{pair[0]}, {dump(path[-1])}: {pair[1]}")
    return f"{said(path)} twice, the {'second' if first else 'first'} {name}", text


def odd(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path, name = some_path(record, rng), rng.choice([*ODD])
    put(record, path, RAW)
    return f"{said(path)} is {name}", dump(record).replace(f'"{RAW}"', ODD[name])


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def nudge(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng, _is_number)
    value = get(record, path)
    number = float(value)
    new = rng.choice((number + 1, number - 1, -number, number * 1.001, number + 0.01, 1 - number, number * 2, 0.5))
    if isinstance(value, int) or (isinstance(value, str) and value.lstrip("-").isdigit()):
        new = rng.choice((int(value) + 1, int(value) - 1, -int(value), int(value) * 2))
    put(record, path, str(new) if isinstance(value, str) else new)
    return f"{said(path)} {value} is {new}", dump(record)


def flag(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    words = {"True": "False", "False": "True"}
    path = some_path(record, rng, lambda value: value in words if isinstance(value, str) else value in (0, 1))
    value = get(record, path)
    new: Any = words[value] if isinstance(value, str) else not value if isinstance(value, bool) else 1.0 - value
    put(record, path, new)
    return f"{said(path)} {value!r} is {new!r}", dump(record)


def anothers(record: Any, rng: Random, records: list[Any], place: int) -> tuple[str, str]:
    path = some_path(record, rng)
    put(record, path, get(records[rng.choice([i for i in range(len(records)) if i != place])], path))
    return f"{said(path)} is another line's", dump(record)


def permute(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng, lambda value: isinstance(value, (list, dict)) and len(value) > 1)
    value = get(record, path)
    if isinstance(value, list):
        rng.shuffle(value)
    else:
        mixed = [*value.values()]
        rng.shuffle(mixed)
        value.update(zip(value, mixed, strict=True))
    return f"{said(path)} permuted", dump(record)


def lengthen(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng, lambda value: isinstance(value, list) and len(value) > 0)
    value = get(record, path)
    if rng.random() < 0.5:
        value.append(rng.choice(value))
        return f"{said(path)} has one more", dump(record)
    value.pop(rng.randrange(len(value)))
    return f"{said(path)} has one less", dump(record)


def reword(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng, lambda value: isinstance(value, str) and len(value) > 0)
    value = get(record, path)
    place = rng.randrange(len(value))
    new = rng.choice(
        (value[:place] + rng.choice("aZ0 é|\n'") + value[place:], value[:place] + value[place + 1 :], value.swapcase())
    )
    put(record, path, new)
    return f"{said(path)} {value[:30]!r} is {new[:30]!r}", dump(record)


def another_hash(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = some_path(record, rng, lambda value: isinstance(value, str) and len(value) == 64 and value.isalnum())
    put(record, path, f"{rng.getrandbits(256):064x}")
    return f"{said(path)} is another hash", dump(record)

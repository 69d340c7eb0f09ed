"""What can happen to a file: every way to damage or to alter a log, by name, from a seed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.fuzz.logs import Base, Content

__all__ = ["KINDS", "Mutation", "mutation"]

_RAW = "\ue000raw\ue000"
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


@dataclass(frozen=True)
class Mutation:
    """One file of one run, altered."""

    base: str
    kind: str
    what: str
    """Where, and what was done."""
    at: int
    """Run: 0 uncompressed, 1 compressed."""
    file: str
    """`samples` or `results`."""
    changed: Content


Change = tuple[str, bytes]
"""What was done, and the file's new bytes (unpacked)."""


def mutation(base: Base, rng: Random, kind: str | None = None) -> Mutation | None:
    """A mutation of a base's files; None where the kind found nothing to change."""
    at = rng.randrange(2)
    run = base.runs[at]
    kind = kind or rng.choices([*KINDS], [weight for _, weight in KINDS.values()])[0]
    make, _ = KINDS[kind]
    file = "results" if kind.startswith("results: ") else "samples"
    packed = run.samples_name.endswith(".gz")
    before = run.results if file == "results" else gzip.decompress(run.samples) if packed else run.samples
    try:
        what, after = make(before, rng)
    except (IndexError, KeyError):
        return None
    if after == before:
        return None
    if file == "results":
        changed = replace(run, results=after)
    else:
        raw = kind == "file: packed badly"
        changed = replace(run, samples=gzip.compress(after, mtime=0) if packed and not raw else after)
    return Mutation(base.name, kind, what, at, file, changed)


def _lines(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- bytes


def _flip(raw: bytes, rng: Random) -> Change:
    place, bit = rng.randrange(len(raw)), 1 << rng.randrange(8)
    return f"bit {bit} of byte {place}", raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]


def _byte(raw: bytes, rng: Random) -> Change:
    place, new = rng.randrange(len(raw)), rng.choice(b'\x00"{}[],:0123456789.-eE\\\n\r\t aZ\xff')
    return f"byte {place} is {bytes([new])!r}", raw[:place] + bytes([new]) + raw[place + 1 :]


def _insert(raw: bytes, rng: Random) -> Change:
    place, new = rng.randrange(len(raw) + 1), rng.choice(b'\x00"{}[],:0123456789.-eE\\\n\r\t aZ\xff')
    return f"{bytes([new])!r} before byte {place}", raw[:place] + bytes([new]) + raw[place:]


def _delete(raw: bytes, rng: Random) -> Change:
    place, count = rng.randrange(len(raw)), rng.choice((1, 1, 2, 17, 300))
    return f"{count} bytes from {place} gone", raw[:place] + raw[place + count :]


def _digit(raw: bytes, rng: Random) -> Change:
    places = [place for place, byte in enumerate(raw) if byte in b"0123456789"]
    place = rng.choice(places)
    new = rng.choice([digit for digit in b"0123456789" if digit != raw[place]])
    shown = raw[max(0, place - 40) : place + 10].decode("utf-8", "replace")
    return f"digit {chr(raw[place])} is {chr(new)} in ...{shown}", raw[:place] + bytes([new]) + raw[place + 1 :]


def _truncate(raw: bytes, rng: Random) -> Change:
    place = rng.randrange(len(raw))
    return f"cut at byte {place} of {len(raw)}", raw[:place]


# -- lines


def _drop(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    place = rng.randrange(len(lines))
    return f"line {place + 1} gone", b"".join(lines[:place] + lines[place + 1 :])


def _duplicate(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    place, to = rng.randrange(len(lines)), rng.randrange(len(lines) + 1)
    return f"line {place + 1} again before {to + 1}", b"".join([*lines[:to], lines[place], *lines[to:]])


def _replace_line(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    place, by = rng.sample(range(len(lines)), 2)
    lines[place] = lines[by]
    return f"line {place + 1} is a copy of {by + 1}", b"".join(lines)


def _swap(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return f"lines {one + 1} and {two + 1} changed places", b"".join(lines)


def _join(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    place = rng.randrange(len(lines) - 1)
    lines[place] = lines[place].rstrip(b"\n")
    return f"no line break after line {place + 1}", b"".join(lines)


def _junk(raw: bytes, rng: Random) -> Change:
    lines = _lines(raw)
    new = rng.choice((b"\n", b"  \n", b"null\n", b"[]\n", b"{}\n", b"0\n", b'"x"\n', b"\x00\n", b"// none\n", b"{\n"))
    place = rng.randrange(len(lines) + 1)
    return f"{new!r} before line {place + 1}", b"".join([*lines[:place], new, *lines[place:]])


# -- places in a record


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def _get(record: Any, path: Path) -> Any:
    for key in path:
        record = record[key]
    return record


def _set(record: Any, path: Path, value: Any) -> None:
    _get(record, path[:-1])[path[-1]] = value


def _some_path(record: Any, rng: Random, fits: Callable[[Any], bool] = lambda value: True) -> Path:
    """A place: a key at the top first, so that a long list does not draw all lots."""
    fitting: dict[Any, list[Path]] = {}
    for path in _paths(record):
        if fits(_get(record, path)):
            # What our tasks say of items and answers is as important as what stands at the top.
            head = path[:2] if path[0] in ("answer", "results", "config", "configs") else path[:1]
            fitting.setdefault(head, []).append(path)
    return rng.choice(fitting[rng.choice([*fitting])])


def _said(path: Path) -> str:
    return ".".join(map(str, path))


def _in_line(
    make: Callable[[Any, Random, list[Any], int], tuple[str, str]],
) -> Callable[[bytes, Random], Change]:
    """A change of one line's record: from the record, all records and its place, to the line's JSON text."""

    def change(raw: bytes, rng: Random) -> Change:
        lines = _lines(raw)
        records = [json.loads(line) for line in lines]
        place = rng.randrange(len(lines))
        what, text = make(records[place], rng, records, place)
        lines[place] = text.encode("utf-8", "surrogatepass") + b"\n"
        return f"line {place + 1}: {what}", b"".join(lines)

    return change


def _in_results(make: Callable[[Any, Random, list[Any], int], tuple[str, str]]) -> Callable[[bytes, Random], Change]:
    def change(raw: bytes, rng: Random) -> Change:
        record = json.loads(raw)
        what, text = make(record, rng, [record], 0)
        return what, text.encode("utf-8", "surrogatepass")

    return change


def _key(record: Any) -> Callable[[Path], bool]:
    return lambda path: isinstance(path[-1], str)


def _key_path(record: Any, rng: Random) -> Path:
    for _ in range(50):
        path = _some_path(record, rng)
        if isinstance(path[-1], str):
            return path
    raise IndexError


def _remove(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng)
    del _get(record, path[:-1])[path[-1]]
    return f"{_said(path)} gone", _dump(record)


def _rename(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _key_path(record, rng)
    holder, new = _get(record, path[:-1]), rng.choice((path[-1] + "_", path[-1].upper(), path[-1][:-1], "x"))
    kept = {(new if key == path[-1] else key): value for key, value in holder.items()}
    holder.clear()
    holder.update(kept)
    return f"{_said(path)} is named {new}", _dump(record)


def _twice(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _key_path(record, rng)
    name, first = rng.choice([*ODD]), rng.random() < 0.5
    holder, value = _get(record, path[:-1]), _get(record, path)
    here = ODD[name] if rng.random() < 0.7 else _dump(value)
    pair = [_dump(value), here] if first else [here, _dump(value)]
    holder[path[-1]] = _RAW
    text = _dump(record).replace(f'"{_RAW}"', f"{pair[0]}, {_dump(path[-1])}: {pair[1]}")
    return f"{_said(path)} twice, the {'second' if first else 'first'} {name}", text


def _odd(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path, name = _some_path(record, rng), rng.choice([*ODD])
    _set(record, path, _RAW)
    return f"{_said(path)} is {name}", _dump(record).replace(f'"{_RAW}"', ODD[name])


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _nudge(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng, _is_number)
    value = _get(record, path)
    number = float(value)
    new = rng.choice((number + 1, number - 1, -number, number * 1.001, number + 0.01, 1 - number, number * 2, 0.5))
    if isinstance(value, int) or (isinstance(value, str) and value.lstrip("-").isdigit()):
        new = rng.choice((int(value) + 1, int(value) - 1, -int(value), int(value) * 2))
    _set(record, path, str(new) if isinstance(value, str) else new)
    return f"{_said(path)} {value} is {new}", _dump(record)


def _flag(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    words = {"True": "False", "False": "True"}
    path = _some_path(record, rng, lambda value: value in words if isinstance(value, str) else value in (0, 1))
    value = _get(record, path)
    new: Any = words[value] if isinstance(value, str) else not value if isinstance(value, bool) else 1.0 - value
    _set(record, path, new)
    return f"{_said(path)} {value!r} is {new!r}", _dump(record)


def _anothers(record: Any, rng: Random, records: list[Any], place: int) -> tuple[str, str]:
    path = _some_path(record, rng)
    _set(record, path, _get(records[rng.choice([i for i in range(len(records)) if i != place])], path))
    return f"{_said(path)} is another line's", _dump(record)


def _permute(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng, lambda value: isinstance(value, (list, dict)) and len(value) > 1)
    value = _get(record, path)
    if isinstance(value, list):
        rng.shuffle(value)
    else:
        mixed = [*value.values()]
        rng.shuffle(mixed)
        value.update(zip(value, mixed, strict=True))
    return f"{_said(path)} permuted", _dump(record)


def _lengthen(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng, lambda value: isinstance(value, list) and len(value) > 0)
    value = _get(record, path)
    if rng.random() < 0.5:
        value.append(rng.choice(value))
        return f"{_said(path)} has one more", _dump(record)
    value.pop(rng.randrange(len(value)))
    return f"{_said(path)} has one less", _dump(record)


def _reword(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng, lambda value: isinstance(value, str) and len(value) > 0)
    value = _get(record, path)
    place = rng.randrange(len(value))
    new = rng.choice(
        (value[:place] + rng.choice("aZ0 é|\n'") + value[place:], value[:place] + value[place + 1 :], value.swapcase())
    )
    _set(record, path, new)
    return f"{_said(path)} {value[:30]!r} is {new[:30]!r}", _dump(record)


def _hash(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path = _some_path(record, rng, lambda value: isinstance(value, str) and len(value) == 64 and value.isalnum())
    _set(record, path, f"{rng.getrandbits(256):064x}")
    return f"{_said(path)} is another hash", _dump(record)


# -- all lines alike


def _in_all(make: Callable[[list[Any], Path, Random], str]) -> Callable[[bytes, Random], Change]:
    def change(raw: bytes, rng: Random) -> Change:
        records = [json.loads(line) for line in _lines(raw)]
        path = _some_path(rng.choice(records), rng)
        what = make(records, path, rng)
        return f"{_said(path)} {what}", "".join(_dump(record) + "\n" for record in records).encode()

    return change


def _each(records: list[Any], path: Path, do: Callable[[Any], None]) -> None:
    for record in records:
        try:
            _get(record, path)
        except (KeyError, IndexError, TypeError):
            continue
        do(record)


def _all_gone(records: list[Any], path: Path, rng: Random) -> str:
    _each(records, path, lambda record: _get(record, path[:-1]).pop(path[-1]))
    return "gone in all lines"


def _all_same(records: list[Any], path: Path, rng: Random) -> str:
    value = rng.choice((None, True, 0, 1, 1.0, 0.5, "", "x", [], {}, _get(records[0], path)))
    _each(records, path, lambda record: _set(record, path, value))
    return f"is {value!r:.40} in all lines"


def _all_shifted(records: list[Any], path: Path, rng: Random) -> str:
    values: list[Any] = []
    _each(records, path, lambda record: values.append(_get(record, path)))
    shift = rng.randrange(1, max(2, len(values)))
    moved = iter(values[shift:] + values[:shift])
    _each(records, path, lambda record: _set(record, path, next(moved)))
    return f"moved by {shift} lines"


def _two_swapped(records: list[Any], path: Path, rng: Random) -> str:
    having: list[Any] = []
    _each(records, path, having.append)
    one, two = rng.sample(having, 2)
    values = _get(one, path), _get(two, path)
    _set(one, path, values[1])
    _set(two, path, values[0])
    return "exchanged between two lines"


def _filter_renamed(raw: bytes, rng: Random) -> Change:
    records = [json.loads(line) for line in _lines(raw)]
    name, new = rng.choice(records)["filter"], rng.choice(("none", "strict", "", "whole", "letters "))
    every = rng.random() < 0.5
    for record in records:
        if record["filter"] == name and (every or rng.random() < 0.2):
            record["filter"] = new
    what = f"filter {name} is {new} in {'all' if every else 'some'} lines"
    return what, "".join(_dump(record) + "\n" for record in records).encode()


# -- whole files


def _whole(raw: bytes, rng: Random) -> Change:
    records = _lines(raw)
    joined = b",".join(line.strip() for line in records)
    made = {
        "empty": b"",
        "one line break": b"\n",
        "a mark of byte order before it": b"\xef\xbb\xbf" + raw,
        "line breaks of Windows": raw.replace(b"\n", b"\r\n"),
        "a list of its lines": b"[" + joined + b"]",
        "a list of its lines, set out": json.dumps([json.loads(line) for line in records], indent=2).encode(),
        "set out over lines": "\n".join(json.dumps(json.loads(line), indent=2) for line in records).encode(),
        "zeros at its end": raw + b"\x00" * 512,
        "zeros in its middle": raw[: len(raw) // 2] + b"\x00" * 512 + raw[len(raw) // 2 + 512 :],
        "in UTF-16": raw.decode().encode("utf-16"),
        "itself twice": raw + raw,
        "its lines backwards": b"".join(reversed(records)),
        "without its last line break": raw.rstrip(b"\n"),
        "blank lines between": raw.replace(b"\n", b"\n\n"),
        "half of its lines": b"".join(records[::2]),
        "other spacing": b"".join(
            json.dumps(json.loads(line), indent=None, separators=(",", ":")).encode() + b"\n" for line in records
        ),
        "null": b"null",
        "its first half twice": b"".join(records[: len(records) // 2] * 2),
    }
    name = rng.choice([*made])
    return name, made[name]


def _badly_packed(raw: bytes, rng: Random) -> Change:
    packed = gzip.compress(raw, mtime=0)
    place = rng.randrange(len(packed))
    made = {
        "cut": packed[:place],
        "a bit flipped": packed[:place] + bytes([packed[place] ^ 1 << rng.randrange(8)]) + packed[place + 1 :],
        "garbage behind": packed + b"garbage",
        "not packed at all": raw,
        "twice": packed + packed,
        "packed again": gzip.compress(packed),
        "nothing": b"",
    }
    name = rng.choice([*made])
    return name, made[name]


def _results_whole(raw: bytes, rng: Random) -> Change:
    made = {
        "empty": b"",
        "null": b"null",
        "a list of itself": b"[" + raw + b"]",
        "a mark of byte order before it": b"\xef\xbb\xbf" + raw,
        "in UTF-16": raw.decode().encode("utf-16"),
        "twice": raw + raw,
        "zeros": b"\x00" * len(raw),
    }
    name = rng.choice([*made])
    return name, made[name]


def _typed(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    """A whole section of a results file replaced, or what it says of the task."""
    section = rng.choice([*record])
    path: Path = (section,)
    if isinstance(record[section], dict) and record[section] and rng.random() < 0.6:
        path = (section, rng.choice([*record[section]]))
    name = rng.choice([*ODD])
    _set(record, path, _RAW)
    return f"{_said(path)} is {name}", _dump(record).replace(f'"{_RAW}"', ODD[name])


def _section_gone(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path: Path = (rng.choice([*record]),)
    if isinstance(record[path[0]], dict) and record[path[0]] and rng.random() < 0.6:
        path = (path[0], rng.choice([*record[path[0]]]))
    del _get(record, path[:-1])[path[-1]]
    return f"{_said(path)} gone", _dump(record)


def _metric(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    (metrics,) = record["results"].values()
    name = rng.choice([key for key, value in metrics.items() if isinstance(value, float)])
    value = metrics[name]
    metrics[name] = rng.choice((value + 0.1, 0.0, 1.0, -value, value * 1.01, 1 - value))
    return f"{name} {value} is {metrics[name]}", _dump(record)


def _count(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    (counts,) = record["n-samples"].values()
    name = rng.choice([*counts])
    counts[name] = rng.choice((0, counts[name] + 1, counts[name] - 1, counts[name] / 2, -1, str(counts[name] + 1)))
    return f"n-samples.{name} is {counts[name]!r}", _dump(record)


def _arguments(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    given = record["config"]["model_args"]
    new: Any = rng.choice(
        (
            "",
            "pretrained",
            "pretrained=",
            "=,=,",
            "pretrained=other",
            "[[[",
            "\x00",
            7,
            [],
            {"pretrained": None},
            {},
            None,
        )
    )
    if isinstance(given, dict) and rng.random() < 0.6:
        name = rng.choice([*given])
        new = {**given, name: rng.choice(("other", None, 3, [], {"a": 1}, "", "float16"))}
    record["config"]["model_args"] = new
    return f"model_args is {new!r:.80}", _dump(record)


KINDS: dict[str, tuple[Callable[[bytes, Random], Change], float]] = {
    "bytes: a bit flipped": (_flip, 4),
    "bytes: one replaced": (_byte, 4),
    "bytes: one inserted": (_insert, 3),
    "bytes: some deleted": (_delete, 3),
    "bytes: a digit replaced": (_digit, 5),
    "bytes: cut off": (_truncate, 3),
    "lines: one dropped": (_drop, 2),
    "lines: one duplicated": (_duplicate, 2),
    "lines: one replaced by another": (_replace_line, 2),
    "lines: two swapped": (_swap, 2),
    "lines: two joined": (_join, 1),
    "lines: one that is none": (_junk, 2),
    "key: removed": (_in_line(_remove), 5),
    "key: renamed": (_in_line(_rename), 4),
    "key: there twice": (_in_line(_twice), 4),
    "value: an odd one": (_in_line(_odd), 10),
    "value: a number nudged": (_in_line(_nudge), 8),
    "value: a yes for a no": (_in_line(_flag), 5),
    "value: another line's": (_in_line(_anothers), 6),
    "value: permuted": (_in_line(_permute), 5),
    "value: a list longer or shorter": (_in_line(_lengthen), 4),
    "value: a text altered": (_in_line(_reword), 5),
    "value: another hash": (_in_line(_hash), 2),
    "all lines: a key removed": (_in_all(_all_gone), 4),
    "all lines: one value": (_in_all(_all_same), 4),
    "all lines: values moved on": (_in_all(_all_shifted), 4),
    "two lines: values exchanged": (_in_all(_two_swapped), 5),
    "filter: renamed": (_filter_renamed, 2),
    "file: another form": (_whole, 4),
    "file: packed badly": (_badly_packed, 2),
    "results: bytes": (lambda raw, rng: rng.choice((_flip, _byte, _insert, _delete, _digit))(raw, rng), 5),
    "results: cut off": (_truncate, 1),
    "results: another form": (_results_whole, 1),
    "results: a section removed": (_in_results(_section_gone), 4),
    "results: a section of another type": (_in_results(_typed), 5),
    "results: key removed": (_in_results(_remove), 4),
    "results: key renamed": (_in_results(_rename), 3),
    "results: key there twice": (_in_results(_twice), 3),
    "results: an odd value": (_in_results(_odd), 6),
    "results: a number nudged": (_in_results(_nudge), 4),
    "results: a text altered": (_in_results(_reword), 3),
    "results: a metric altered": (_in_results(_metric), 3),
    "results: a count altered": (_in_results(_count), 2),
    "results: model_args altered": (_in_results(_arguments), 3),
}
"""Every kind of mutation, and how often it is drawn against the others."""

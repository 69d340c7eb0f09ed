"""A file's bytes and lines, damaged: without a look at what they mean."""

from __future__ import annotations

import gzip
import json
from random import Random

Change = tuple[str, bytes]
"""What was done, and the file's new bytes (unpacked)."""


def split_lines(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True)


def flip(raw: bytes, rng: Random) -> Change:
    place, bit = rng.randrange(len(raw)), 1 << rng.randrange(8)
    return f"bit {bit} of byte {place}", raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]


def byte(raw: bytes, rng: Random) -> Change:
    place, new = rng.randrange(len(raw)), rng.choice(b'\x00"{}[],:0123456789.-eE\\\n\r\t aZ\xff')
    return f"byte {place} is {bytes([new])!r}", raw[:place] + bytes([new]) + raw[place + 1 :]


def insert_byte(raw: bytes, rng: Random) -> Change:
    place, new = rng.randrange(len(raw) + 1), rng.choice(b'\x00"{}[],:0123456789.-eE\\\n\r\t aZ\xff')
    return f"{bytes([new])!r} before byte {place}", raw[:place] + bytes([new]) + raw[place:]


def delete(raw: bytes, rng: Random) -> Change:
    place, count = rng.randrange(len(raw)), rng.choice((1, 1, 2, 17, 300))
    return f"{count} bytes from {place} gone", raw[:place] + raw[place + count :]


def digit(raw: bytes, rng: Random) -> Change:
    place = rng.choice([place for place, byte in enumerate(raw) if byte in b"0123456789"])
    new = rng.choice([digit for digit in b"0123456789" if digit != raw[place]])
    shown = raw[max(0, place - 40) : place + 10].decode("utf-8", "replace")
    return f"digit {chr(raw[place])} is {chr(new)} in ...{shown}", raw[:place] + bytes([new]) + raw[place + 1 :]


def truncate(raw: bytes, rng: Random) -> Change:
    place = rng.randrange(len(raw))
    return f"cut at byte {place} of {len(raw)}", raw[:place]


def drop(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    place = rng.randrange(len(lines))
    return f"line {place + 1} gone", b"".join(lines[:place] + lines[place + 1 :])


def duplicate(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    place, to = rng.randrange(len(lines)), rng.randrange(len(lines) + 1)
    return f"line {place + 1} again before {to + 1}", b"".join([*lines[:to], lines[place], *lines[to:]])


def replace_line(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    place, by = rng.sample(range(len(lines)), 2)
    lines[place] = lines[by]
    return f"line {place + 1} is a copy of {by + 1}", b"".join(lines)


def swap(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return f"lines {one + 1} and {two + 1} changed places", b"".join(lines)


def join(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    place = rng.randrange(len(lines) - 1)
    lines[place] = lines[place].rstrip(b"\n")
    return f"no line break after line {place + 1}", b"".join(lines)


def junk(raw: bytes, rng: Random) -> Change:
    lines = split_lines(raw)
    new = rng.choice((b"\n", b"  \n", b"null\n", b"[]\n", b"{}\n", b"0\n", b'"x"\n', b"\x00\n", b"// none\n", b"{\n"))
    place = rng.randrange(len(lines) + 1)
    return f"{new!r} before line {place + 1}", b"".join([*lines[:place], new, *lines[place:]])


def whole(raw: bytes, rng: Random) -> Change:
    records = split_lines(raw)
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


def badly_packed(raw: bytes, rng: Random) -> Change:
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


def results_whole(raw: bytes, rng: Random) -> Change:
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

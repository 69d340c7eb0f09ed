"""The raw lines of a samples file, packed or not; also those of a JSON array, as lm_eval wrote before 0.4.3."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .inspect_logs import inspect_lines, is_inspect

__all__ = ["raw_lines"]

_BUFFER = 1 << 20
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"


def raw_lines(path: Path, broken: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines as bytes (text mode would also split at characters that JSON strings may hold).

    Args:
        path: The file; .gz is unpacked.
        broken: Told once, in words, where the file can't be read further.

    Yields:
        The number of each line from 1, and its bytes; blank lines are left out. Of a file that is one JSON array, its
        elements in their place.
    """
    if is_inspect(path):
        yield from inspect_lines(path, broken)
        return
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb", buffering=_BUFFER) as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.removeprefix(_BOM) if number == 1 else raw
                if number == 1 and _opens_array(line):
                    yield from _elements(line, stream, broken)
                    return
                if not line.isspace() and line:
                    yield number, line
    except (EOFError, OSError, zlib.error) as error:
        broken(f"unreadable after line {number} ({error})")


def _opens_array(line: bytes) -> bool:
    """Whether a first line is the beginning of an array, rather than a record or a whole array by itself."""
    start = line.lstrip()
    return start.startswith(b"[") and (start.strip() == b"[" or start[1:].lstrip().startswith(b"{"))


def _elements(
    first: bytes, rest: IO[bytes] | gzip.GzipFile, broken: Callable[[str], None]
) -> Iterator[tuple[int, bytes]]:
    text = (first + rest.read()).decode("utf-8", "surrogateescape")
    place, number, decoder = text.index("[") + 1, 0, json.JSONDecoder()
    while True:
        while place < len(text) and text[place] in _SPACE + ",":
            place += 1
        if text.startswith("]", place):
            return
        number += 1
        try:
            _, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            broken(f"the JSON array breaks off in element {number}")
            return
        yield number, text[place:end].encode("utf-8", "surrogateescape") + b"\n"
        place = end

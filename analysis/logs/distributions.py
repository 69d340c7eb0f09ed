"""What `compressed_hf` logs of the distributions of a text's tokens (text_perplexity), read from a samples file.

The records are as large as all else that a run logs, and needed by one table: they are read when that is made.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..inference.divergence import Sketch
from .lines import raw_lines

__all__ = ["Sketched", "read_distributions"]

VERSION = 1
"""The record's version that is read."""
_CLOSE = 0.01
"""Share by which a sum of log-probabilities may differ from the logged one, which low precision rounded."""
_MOST = 1 << 32
"""Bytes of a record beyond which it is damaged."""


class _Record(msgspec.Struct):
    version: int
    k: int
    vocabulary: int
    read: str
    windows: list[int]
    entries: int
    data: str


class _Line(msgspec.Struct):
    doc_id: int
    distributions: _Record | None = None
    token_perplexity: tuple[float, int] | None = None


_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, kw_only=True)
class Sketched:
    """What one samples file holds of distributions."""

    documents: dict[int, Sketch]
    """By lm_eval's number of the document."""
    fault: str | None = None
    """Why documents are missing, or all: a clause."""


def read_distributions(path: Path) -> Sketched:
    """Read the records of a samples file; what can't be used is left out, and named."""
    found: dict[int, Sketch] = {}
    faults: list[str] = []
    lines = 0
    for _, raw in raw_lines(path, faults.append):
        lines += 1
        try:
            line = _decoder.decode(raw)
            if line.distributions is not None:
                found[line.doc_id] = _sketch(line.distributions, line.token_perplexity)
        except (ValueError, zlib.error, binascii.Error) as error:
            faults.append(" ".join(str(error).split()))
    if faults:
        fault = f"distributions that can't be used in {len(faults)} of {lines} documents ({faults[0]})"
        return Sketched(documents=found, fault=fault)
    if len(found) < lines or not lines:
        return Sketched(documents=found, fault=f"no distributions in {lines - len(found)} of {lines} documents")
    return Sketched(documents=found)


def _sketch(record: _Record, scored: tuple[float, int] | None) -> Sketch:
    """A record's arrays. Raises ValueError if they do not fit each other, or the line."""
    if record.version != VERSION:
        raise ValueError(f"version {record.version}, which this release does not know (it reads {VERSION})")
    n, m = sum(record.windows), record.entries
    sizes = [(n, "<f4"), (n, "<u4"), (n, "<u4"), (m, "<u4"), (m, "<f4")]
    size = sum(4 * count for count, _ in sizes)
    if not record.windows or min(record.windows) < 1 or m < n or size > _MOST:
        raise ValueError("the record is damaged")
    # One byte more than there should be tells a longer one, and no more is unpacked.
    packed = zlib.decompressobj()
    unpacked = packed.decompress(base64.b64decode(record.data, validate=True), size + 1)
    if len(unpacked) != size or not packed.eof:  # its end holds the checksum
        raise ValueError("the record is damaged")
    columns, start = [], 0
    for count, kind in sizes:
        planes = np.frombuffer(unpacked, np.uint8, 4 * count, start).reshape(4, count)
        columns.append(np.ascontiguousarray(planes.T).view(kind)[:, 0] if count else np.empty(0, kind))
        start += 4 * count
    chosen, top, counts, steps, values = columns
    if int(counts.sum()) != m or counts.min() < 1 or record.k < 1 or np.isnan(values).any():
        raise ValueError("the record is damaged")
    total = float(chosen.astype(float).sum())
    if scored is not None and not (scored[1] == n and math.isclose(total, scored[0], rel_tol=_CLOSE, abs_tol=_CLOSE)):
        raise ValueError("the record is another document's or run's: its log-likelihood is not the line's")
    return Sketch(
        read=record.read,
        vocabulary=record.vocabulary,
        k=record.k,
        windows=np.array(record.windows, dtype=np.int64),
        chosen=chosen.astype(np.float64),
        top=top.astype(np.int64),
        counts=counts.astype(np.int64),
        ids=_ids(steps.astype(np.int64), counts.astype(np.int64)),
        values=values,
    )


def _ids(steps: Any, counts: Any) -> Any:
    """Token numbers from the steps between them, of each position anew."""
    sums = np.cumsum(steps)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    before = np.repeat(sums[first] - steps[first], counts)
    return sums - before

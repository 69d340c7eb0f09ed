"""Documents once per hash: gathered from a file as they stand in it, decoded only where nobody has them yet."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ..schema.documents import DOCUMENTS
from .seal import unsealed
from .values import LogError, text

__all__ = ["DOCUMENT_SCHEMA", "DocumentStore", "Documents", "Gathered", "Kept", "packed"]

_ARROW = {"string": pa.string(), "list": pa.list_(pa.string())}
DOCUMENT_SCHEMA = pa.schema([(column.name, _ARROW[column.kind]) for column in DOCUMENTS.columns])
_BATCH = 4096
_MOST = 64 << 20
"""Bytes of documents that are held in memory; more than these wait in a temporary file."""


class Documents(Protocol):
    """The documents of one samples file."""

    @property
    def digest(self) -> str:
        """A hash of their hashes, the same in any order: files of equal digests have the same documents."""

    def batches(self) -> Iterator[pa.Table]:
        """Rows of DOCUMENTS, some thousand at a time."""


@dataclass
class Gathered:
    """Documents of a file that was read, as JSON."""

    _raw: dict[str, Any] = field(default_factory=dict)
    """By hash, bytes or msgspec.Raw; None for one that waits in the file."""
    _size: int = 0
    _waiting: Path | None = None
    """File of those that are not held in memory; it goes with this object."""

    def __contains__(self, doc_hash: str) -> bool:
        return doc_hash in self._raw

    def add(self, doc_hash: str, document: bytes | msgspec.Raw) -> None:
        """Keep a document, the first of its hash."""
        if doc_hash not in self._raw:
            self._raw[doc_hash] = document
            self._size += len(document)
            if self._size > _MOST:
                self._spill()

    def _spill(self) -> None:
        if self._waiting is None:
            handle, name = tempfile.mkstemp(prefix="lm-eval-ext-")
            os.close(handle)
            self._waiting = Path(name)
            weakref.finalize(self, self._waiting.unlink, missing_ok=True)
        with self._waiting.open("ab") as file:
            for doc_hash, document in self._raw.items():
                if document is not None:
                    file.write(json.dumps([doc_hash, len(document)]).encode() + b"\n" + bytes(document))
        self._raw = dict.fromkeys(self._raw)
        self._size = 0

    @property
    def digest(self) -> str:
        """As `Documents` says."""
        return xxhash.xxh3_128_hexdigest("".join(sorted(self._raw)).encode("utf-8", "replace"))

    def batches(self) -> Iterator[pa.Table]:
        """As `Documents` says."""
        batch: list[tuple[Any, ...]] = []
        for doc_hash, document in self._all():
            batch.append(_row(doc_hash, document))
            if len(batch) == _BATCH:
                yield _table(batch)
                batch = []
        if batch:
            yield _table(batch)

    def _all(self) -> Iterator[tuple[str, bytes]]:
        if self._waiting is not None:
            with self._waiting.open("rb") as file:
                while head := file.readline():
                    doc_hash, length = json.loads(head)
                    yield doc_hash, file.read(length)
        yield from ((doc_hash, bytes(document)) for doc_hash, document in self._raw.items() if document is not None)


@dataclass
class Kept:
    """Documents that are on disk, as rows."""

    path: Path
    digest: str

    def batches(self) -> Iterator[pa.Table]:
        """As `Documents` says.

        Raises:
            OSError: If they can't be read.
            ValueError: If they are damaged (pa.ArrowException is one where it says so).
        """
        with pq.ParquetFile(unsealed(self.path)) as file:
            for batch in file.iter_batches(_BATCH):
                yield pa.Table.from_batches([batch]).cast(DOCUMENT_SCHEMA)


class _Told(msgspec.Struct, gc=False):
    """What a document of a task with items says, and that it is one."""

    item: msgspec.Raw
    context: str | None = None
    question: str | None = None
    options: list[str] | None = None


_told = msgspec.json.Decoder(_Told)


def packed(document: Any) -> bytes:
    """A document as JSON, where the line's own bytes are not at hand."""
    try:
        return msgspec.json.encode(document)
    except (ValueError, OverflowError, RecursionError):  # half a character, or a number of more than 64 bits
        return json.dumps(document).encode()


def _row(doc_hash: str, raw: bytes) -> tuple[Any, ...]:
    try:
        found = _told.decode(raw)
        return (doc_hash, found.context, found.question, found.options, None)
    except (ValueError, RecursionError):
        document = json.loads(raw)
    if not isinstance(document, dict):
        return (doc_hash, None, None, None, text(raw.decode()))
    options = document.get("options")
    listed = isinstance(options, list) and all(isinstance(option, str) for option in options)
    return (
        doc_hash,
        *(_words(document.get(name)) for name in ("context", "question")),
        [_words(option) for option in options or ()] if listed else None,
        None if isinstance(document.get("item"), dict) else raw.decode(),
    )


def _words(value: Any) -> str | None:
    try:
        return text(value)
    except LogError:
        return None


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=DOCUMENT_SCHEMA)


class DocumentStore:
    """DOCUMENTS of an analysis in one Parquet file. Use as a context manager; leaving it closes the file."""

    def __init__(self, path: Path) -> None:
        """Create the file."""
        self._writer = pq.ParquetWriter(path, DOCUMENT_SCHEMA, compression="zstd")
        self._digests: set[str] = set()
        self._hashes: set[str] = set()

    def __enter__(self) -> DocumentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def append(self, documents: Documents) -> None:
        """Write those of the documents that are not there yet.

        Raises:
            OSError: If they can't be read.
            pa.ArrowException: Likewise.
        """
        digest = documents.digest
        if digest in self._digests:
            return
        for batch in documents.batches():
            hashes = batch["doc_hash"].to_pylist()
            new = [doc_hash not in self._hashes for doc_hash in hashes]
            self._hashes.update(hashes)
            if any(new):
                self._writer.write_table(batch.filter(pa.array(new)) if not all(new) else batch)
        self._digests.add(digest)

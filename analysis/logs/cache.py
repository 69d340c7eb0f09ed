"""What was read from a samples file, kept as Parquet under a name made of the file's content and of the reader's code.

A file that was read once, in whatever folder, is not read again by the same code; after an upgrade of the reader it is.
An entry takes some 7 % of the log's bytes. The documents, which many files share, are an entry of their own.
An entry that nobody has used for KEPT_DAYS is deleted; to delete the whole folder is safe at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from .documents import DOCUMENT_SCHEMA, Documents, Kept
from .fingerprint import Fingerprint
from .issues import Issue
from .results import TaskLog
from .samples import SamplesRead
from .seal import seal, unsealed
from .table import FILE_SCHEMA, PARQUET

__all__ = ["KEPT_DAYS", "SMALLEST", "cache_folder", "entry_name", "forget", "load", "prune", "reader_sources", "save"]

SMALLEST = 1 << 20
"""Bytes of a file from which it is kept: a smaller one is read as quickly as it is looked up."""
KEPT_DAYS = 90
"""How long an entry stays that nobody uses: one whose log or whose reader has changed, above all."""
_DOCUMENTS = "documents-"
_OURS = re.compile(
    rf"({_DOCUMENTS})?[0-9a-f]{{64}}\.parquet|\.({_DOCUMENTS})?[0-9a-f]{{64}}\.\d+\.[0-9a-f]{{8}}\.partial"
)
_META = b"lm_eval_ext"
_BLOCK = 1 << 20
_OPTIONS = PARQUET | {"compression": "lz4", "write_statistics": False}


def reader_sources() -> list[Path]:
    """The files that the reader's code is in: this package and what it imports from the rest of `analysis`."""
    here = Path(__file__).parent
    schema = here.parent / "schema"
    return sorted([*here.rglob("*.py"), *schema.glob("*.py"), here.parent / "errors.py", here.parent / "media.py"])


def _version() -> str:
    """A hash of the reader: its own sources, and the releases of what it parses and keeps with."""
    code = xxhash.xxh3_128()
    for path in reader_sources():
        code.update(path.read_bytes())
    return f"{code.hexdigest()} {msgspec.__version__} {pa.__version__}"


# Taken as this is loaded and not at the first use: a session that runs on while its sources are replaced must not keep
# the old code's rows under the new code's name. Reads 110 KB.
_READER = _version()


def cache_folder() -> Path:
    """Folder of the entries: `samples` in LM_EVAL_EXT_CACHE, or in lm-eval-ext of the user's cache folder."""
    own, base = os.environ.get("LM_EVAL_EXT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser() / "samples"
    return (Path(base) if base else Path.home() / ".cache") / "lm-eval-ext" / "samples"


def entry_name(path: Path, task: TaskLog) -> str:
    """Name of the entry of a file: a hash of its bytes, of the reader's code, and of what it is told of the task.

    The bytes' own hash is XXH3 of 128 bits: it tells one file from another, thirty times as fast as SHA-256, and is no
    protection against somebody who makes two files alike on purpose, who could as well have made up the log.

    Raises:
        OSError: If the file can't be read.
    """
    content = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            content.update(block)
    # Packed content is unpacked by the name's ending, so that counts too.
    facts = (path.suffix, task.name, task.output_type, task.n_effective, task.task_hash, *task.of_metrics)
    known = json.dumps([content.hexdigest(), _READER, *facts])
    return f"{hashlib.sha256(known.encode()).hexdigest()}.parquet"


def load(entry: Path) -> SamplesRead | None:
    """What was kept; None if there is no such entry, or it is damaged, or its documents are gone."""
    try:
        with pq.ParquetFile(unsealed(entry)) as file:
            meta = json.loads(file.schema_arrow.metadata[_META])
            table = file.read().cast(FILE_SCHEMA)
        issues = [Issue(*fields) for fields in meta["issues"]]
        documents = Kept(_of_documents(entry, meta["documents"]), meta["documents"])
        with pq.ParquetFile(unsealed(documents.path)) as file:
            if file.schema_arrow != DOCUMENT_SCHEMA:
                return None
        for used in (entry, documents.path):
            with contextlib.suppress(OSError):  # a folder that can only be read serves as well
                os.utime(used)
        refuted, given = tuple(meta["refuted"]), Fingerprint.of_json(meta["fingerprint"])
        return SamplesRead(table, issues, meta["has_roles"], given, documents, refuted)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def save(read: SamplesRead, entry: Path) -> None:
    """Keep what was read; the entry appears whole or not at all, after that of its documents.

    Raises:
        OSError: If the folder can't be written.
    """
    issues, digest = [astuple(issue) for issue in read.issues], read.documents.digest
    entry.parent.mkdir(parents=True, exist_ok=True)
    documents = _of_documents(entry, digest)
    if not documents.exists():
        with _appearing(documents) as partial:
            _write_documents(read.documents, partial)
    meta = {"issues": issues, "has_roles": read.has_roles, "documents": digest, "refuted": read.refuted}
    meta["fingerprint"] = None if read.fingerprint is None else astuple(read.fingerprint)
    table = read.table.replace_schema_metadata({_META: json.dumps(meta)})
    with _appearing(entry) as partial:
        pq.write_table(table, partial, row_group_size=max(table.num_rows, 1), **_OPTIONS)


def forget(entry: Path) -> None:
    """Delete an entry's documents, which turned out damaged, so that they are read again."""
    with contextlib.suppress(OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        meta = json.loads(pq.read_schema(unsealed(entry)).metadata[_META])
        _of_documents(entry, meta["documents"]).unlink()


def _of_documents(entry: Path, digest: str) -> Path:
    """Where the documents of an entry lie: together with those of all entries that have the same."""
    known = json.dumps([digest, _READER])
    return entry.with_name(f"{_DOCUMENTS}{hashlib.sha256(known.encode()).hexdigest()}.parquet")


def _write_documents(documents: Documents, path: Path) -> None:
    with pq.ParquetWriter(path, DOCUMENT_SCHEMA, compression="zstd") as writer:
        for batch in documents.batches():
            writer.write_table(batch)


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Another name to write under, which becomes the file's own when it is whole."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.{uuid4().hex[:8]}.partial")
    try:
        yield partial
        seal(partial, path.name)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def prune(folder: Path) -> None:
    """Delete entries that nobody has used for KEPT_DAYS, and what a write that was cut off has left.

    Only what bears a name that `save` gives: the folder is the user's choice and may hold other files.
    """
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    with contextlib.suppress(OSError):  # no folder, or one that can't be listed
        for entry in list(folder.iterdir()):
            with contextlib.suppress(OSError):  # another process may be at it
                if _OURS.fullmatch(entry.name) and entry.stat().st_mtime < oldest:
                    entry.unlink()

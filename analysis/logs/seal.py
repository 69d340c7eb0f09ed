"""Files of the cache end with a hash of their name and bytes: what is damaged, or another's, is not taken for true.

Parquet's own checksums are of pages alone. A bit of its footer can make other rows of sound pages.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import xxhash

__all__ = ["seal", "unsealed"]

_SIZE = 16
_BLOCK = 1 << 20


def seal(path: Path, name: str) -> None:
    """Append the hash to a file that will have this name.

    Raises:
        OSError: If the file can't be read and written.
    """
    hashed = xxhash.xxh3_128(name.encode())
    with path.open("r+b") as file:
        while block := file.read(_BLOCK):
            hashed.update(block)
        file.write(hashed.digest())


def unsealed(path: Path) -> pa.BufferReader:
    """A file's bytes without the hash, to be read as a file.

    Raises:
        OSError: If it can't be read.
        ValueError: If its bytes or its name are not those that were sealed.
    """
    whole = memoryview(path.read_bytes())
    body, found = whole[:-_SIZE], whole[-_SIZE:]
    hashed = xxhash.xxh3_128(path.name.encode())
    hashed.update(body)
    if hashed.digest() != found:
        raise ValueError(f"{path} is damaged, or another file's content")
    return pa.BufferReader(pa.py_buffer(body))

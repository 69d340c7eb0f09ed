"""The seal of a kept folder: what it was made of, and the hash of every file in it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["MANIFEST", "digest_of", "file_hash", "manifest_of", "read_manifest", "readable_as", "write_manifest"]

MANIFEST = "kept.json"
_VERSION = 1
_PIECE = 1 << 22


def digest_of(key: Mapping[str, Any]) -> str:
    """Name of the folder of a key: 32 hexadecimal digits of the sha256 of its JSON, its names in order.

    Raises:
        TypeError: If the key is not plain JSON data.
        ValueError: If it holds a number that JSON has no form for.
    """
    return hashlib.sha256(_canonical(key)).hexdigest()[:32]


def write_manifest(folder: Path, key: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Flush every file of a folder to the disk, and write down its size and hash.

    Returns:
        The facts as they will be read: plain JSON data.

    Raises:
        OSError: If the disk refuses.
        UserError: If the folder holds something that is no plain file.
        TypeError: If key or facts are not plain JSON data.
    """
    files = {}
    for name in _names(folder):
        with (folder / name).open("rb") as content:
            os.fsync(content.fileno())
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)}
    plain: dict[str, Any] = json.loads(_canonical(dict(facts)))
    body = {"version": _VERSION, "key": dict(key), "facts": plain, "files": files}
    # Behind the body, a hash of it: a flipped byte in the facts is as bad as one in a weight.
    sealed = body | {"seal": hashlib.sha256(_canonical(body)).hexdigest()}
    with (folder / MANIFEST).open("w", encoding="utf-8") as out:
        json.dump(sealed, out, indent=1, sort_keys=True, allow_nan=False)
        out.flush()
        os.fsync(out.fileno())
    readable_as(folder / MANIFEST)
    return plain


def readable_as(sample: Path) -> None:
    """Give all files beside this one its mode: safetensors lets only their owner read what it writes."""
    mode = stat.S_IMODE(sample.stat().st_mode)
    for path in sample.parent.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def read_manifest(folder: Path, key: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Hash every file of a folder and hold it against the manifest.

    Args:
        folder: The folder.
        key: What it must have been made of, or None for anything.

    Returns:
        The facts.

    Raises:
        UserError: If it is not as it was written: one line that names the file.
    """
    body = manifest_of(folder)
    if key is not None and _canonical(body["key"]) != _canonical(key):
        raise UserError(f"{MANIFEST} is of another key")
    files = body["files"]
    there = set(_names(folder)) - {MANIFEST}
    for name in sorted(there ^ set(files)):
        raise UserError(f"{name} {'is missing' if name in files else 'does not belong there'}")
    for name, was in files.items():
        size = (folder / name).stat().st_size
        if size != was["bytes"]:
            raise UserError(f"{name} has {size} bytes, {was['bytes']} were written")
        try:
            found = file_hash(folder / name)
        except OSError as error:
            raise UserError(f"{name} can't be read: {error.strerror}") from None
        if found != was["sha256"]:
            raise UserError(f"{name} is not what was written (its hash differs)")
    facts: dict[str, Any] = body["facts"]
    return facts


def manifest_of(folder: Path) -> dict[str, Any]:
    """What the manifest says, without a look at the files.

    Raises:
        UserError: If it is missing or not as it was written.
    """
    try:
        body = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        seal = body.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        raise UserError(f"{MANIFEST} is missing or no manifest") from None
    if hashlib.sha256(_canonical(body)).hexdigest() != seal or body.get("version") != _VERSION:
        raise UserError(f"{MANIFEST} is not what was written")
    assert isinstance(body, dict)
    return body


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, a few megabytes at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _names(folder: Path) -> list[str]:
    """Every file in a folder and its folders, as paths with '/'."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UserError(f"{path.name} is no plain file")
        if path.is_file():
            found.append(path.relative_to(folder).as_posix())
    return found


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()

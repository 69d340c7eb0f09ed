"""lm_eval's hashes of a line, made again: what shows that something was changed after the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

__all__ = ["HASHES", "hash_of_document", "hash_of_target", "hash_of_text", "is_hash_of", "made_hash", "untrue_hashes"]

HASHES = ("doc_hash", "prompt_hash", "target_hash")


def hash_of_text(text: str) -> str:
    """The sha256 of a text as UTF-8; half characters count as they stand."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_of_document(document: Any) -> str:
    """As lm_eval: of the document as JSON with two spaces a level."""
    return hash_of_text(json.dumps(document, indent=2, ensure_ascii=False))


def is_hash_of(doc_hash: str, raw: bytes) -> bool:
    """Whether a hash is lm_eval's of a document as it stands in a file."""
    try:
        # The same bytes as Python's own, ten times as fast, unless the file escapes characters.
        if hashlib.sha256(msgspec.json.format(raw, indent=2)).hexdigest() == doc_hash:
            return True
    except ValueError:
        pass
    return hash_of_document(json.loads(raw)) == doc_hash


@lru_cache(maxsize=4096)
def hash_of_target(target: str) -> str:
    """As lm_eval: of the target as text."""
    return hash_of_text(target)


def made_hash(name: str, line: Mapping[str, Any]) -> str | None:
    """One of HASHES as lm_eval makes it from the line; None where the line does not hold what it is of."""
    if name == "doc_hash":
        return hash_of_document(line.get("doc"))
    if name == "target_hash":
        return hash_of_target(str(line.get("target")))
    sent = line.get("arguments")
    first = sent.get("gen_args_0") if isinstance(sent, dict) else None
    prompt = first.get("arg_0") if isinstance(first, dict) else None
    return hash_of_text(prompt) if isinstance(prompt, str) else None


def untrue_hashes(line: Mapping[str, Any], names: Sequence[str] = HASHES) -> tuple[str, ...]:
    """Which of the hashes are not those of what the line holds."""
    return tuple(name for name in names if (made := made_hash(name, line)) is not None and made != line.get(name))

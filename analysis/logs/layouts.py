"""Which file is what, by its name and its first bytes: all that lm_eval has ever written, and what looks like it.

docs/logs.md lists the layouts with the releases that wrote them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .inspect_logs import is_inspect

__all__ = ["LogFile", "dated_name", "is_like_log", "recognise"]

# datetime.isoformat() with ":" replaced; it leaves the fraction out when that happens to be 0.
_DATE = r"(?P<date>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:\.\d{1,6})?)"
_RESULTS = re.compile(rf"[^.].*_{_DATE}\.json", re.DOTALL)
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_{_DATE}\.jsonl?(?:\.gz)?", re.DOTALL)
_NEAR = re.compile(rf"[\W_]*(?:results|samples)(?=\W|_).*\.json.*|.*_{_DATE}.*\.json.*", re.DOTALL | re.IGNORECASE)
_PLAIN = re.compile(r".*\.jsonl?(?:\.gz)?", re.DOTALL)

# Every release puts "results" first into the one file, and "doc_id" first into every line or entry of the other.
_RESULTS_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"results"\s*:')
_SAMPLES_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*"doc_id"\s*:')
_HEAD = 256
_WRITTEN_OUT = "_write_out_info.json"
_TOTALS = (
    "of lm_eval 0.3 or older, which logs no answers in a form that is read here. "
    "Run the model again with lm_eval 0.4 and --log_samples"
)
_PACKED = (".gz", ".zst", ".xz", ".bz2", ".zip", ".lz4")


@dataclass(frozen=True)
class LogFile:
    """What a file is."""

    kind: Literal["results", "samples", "near"]
    date: str | None = None
    """What its name says of the run's end; None for files without a date, and for those that are only like a log."""
    task: str | None = None
    """Of samples whose name tells it."""
    why: str = ""
    """Of a file that is only like a log: why it is not read, and what to do."""


def dated_name(name: str) -> LogFile | None:
    """What a name alone says: a log of lm_eval 0.4.3 or later, or none."""
    if found := _SAMPLES.fullmatch(name):
        # A name of bytes that are no UTF-8 is nobody's task, and must be text to be named.
        return LogFile("samples", found["date"], found["task"].encode("utf-8", "backslashreplace").decode())
    if found := _RESULTS.fullmatch(name):
        return LogFile("results", found["date"])
    return None


def is_like_log(name: str) -> bool:
    """Whether a name is a log's, or like one."""
    return dated_name(name) is not None or _NEAR.fullmatch(name) is not None


def recognise(path: Path) -> LogFile | None:
    """What a file is, or None if it has nothing to do with lm_eval.

    A file that can't be opened is what its name says.
    """
    if found := dated_name(path.name):
        # With an output path of samples_x.json, that is what the results file is called.
        if found.kind == "samples" and path.suffix == ".json" and _RESULTS_HEAD.match(_head(path)):
            return LogFile("results", found.date)
        return found
    if is_inspect(path):
        return LogFile("results")
    if _PLAIN.fullmatch(path.name) and not path.name.startswith(".") and not re.search(_DATE, path.name):
        head = _head(path)
        if path.name.endswith(_WRITTEN_OUT):
            return LogFile("near", why=_TOTALS)
        if _RESULTS_HEAD.match(head) and path.suffix != ".gz":
            # Other programs put "results" first as well.
            if _names(path, b'"configs"'):
                return LogFile("results")
            if _names(path, b'"versions"'):
                return LogFile("near", why=_TOTALS)
        if _SAMPLES_HEAD.match(head):
            return LogFile("samples")
    return LogFile("near", why=_why(path.name)) if _NEAR.fullmatch(path.name) else None


def _names(path: Path, key: bytes) -> bool:
    """Whether a file names a key."""
    try:
        return key in path.read_bytes()
    except OSError:
        return True  # reading it says what is wrong


def _head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return b""


def _why(name: str) -> str:
    if name.startswith((".", "~", "#")) or name.endswith(("~", ".tmp", ".part", ".partial", ".swp", ".bak")):
        return "a hidden or temporary file beside a log; not read"
    if name.lower().endswith(_PACKED):
        return "packed in a way that is not read here; unpack it"
    return (
        "like a log of lm_eval, but with another name or content; not read. "
        "Expected results_<date>.json or samples_<task>_<date>.jsonl"
    )

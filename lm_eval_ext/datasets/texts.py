"""The user's own text, cut into documents."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from lm_eval_ext.errors import UserError, unknown_name

__all__ = ["PACKAGED_TEXT", "SPLITS", "read_texts"]

PACKAGED_TEXT = Path(__file__).parent / "text" / "prose.jsonl"
SPLITS = ("file", "blank_lines")


def read_texts(file: str | None = None, split: str | None = None) -> list[tuple[str, str]]:
    """Read documents from a text file.

    Args:
        file: UTF-8 text, or JSON lines with a field "text" and one document a line (.jsonl); either may be
            compressed (.gz). None means the packaged prose.
        split: How plain text is cut: "file" (default) makes it one document, "blank_lines" one a paragraph.
            JSON lines are cut already.

    Returns:
        Pairs of a source ("notes.txt/0": file name and number) and a text, trimmed and never empty.

    Raises:
        UserError: If the file cannot be read, is malformed, or holds no text, or `split` is unknown.
    """
    split = split or "file"
    if split not in SPLITS:
        raise unknown_name("text_split", split, list(SPLITS))
    path = Path(file).expanduser() if file else PACKAGED_TEXT
    content = _content(path)
    if ".jsonl" in path.suffixes:
        texts = [_field(line, f"{path} line {n}") for n, line in enumerate(content.split("\n"), 1) if line.strip()]
    else:
        texts = re.split(r"\n\s*\n", content) if split == "blank_lines" else [content]
    texts = [text.strip() for text in texts if text.strip()]
    if not texts:
        raise UserError(f"text_file {str(path)!r} holds no text.")
    return [(f"{path.name}/{number}", text) for number, text in enumerate(texts)]


def _content(path: Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as fault:
        raise UserError(f"text_file {str(path)!r} is not UTF-8 text ({fault.reason}): save it as UTF-8.") from None
    except (OSError, EOFError) as fault:
        raise UserError(f"text_file {str(path)!r} cannot be read: {fault}.") from None


def _field(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(f'{where}: expected a JSON object with a field "text".') from None
    if not isinstance(text, str):
        raise UserError(f'{where}: the field "text" holds {type(text).__name__}, expected text.')
    return text

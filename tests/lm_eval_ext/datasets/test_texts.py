"""The user's text: how it is cut, and what is said of a file that cannot be used."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lm_eval_ext.datasets.texts import read_texts
from lm_eval_ext.errors import UserError

PLAIN = "First line.\nSecond line.\n\n  \nNew paragraph.\n"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_plain_text_is_one_document_or_one_a_paragraph(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(PLAIN.encode()) if name.endswith("gz") else PLAIN.encode())
    assert read_texts(str(path)) == [(f"{name}/0", PLAIN.strip())]
    paragraphs = [(f"{name}/0", "First line.\nSecond line."), (f"{name}/1", "New paragraph.")]
    assert read_texts(str(path), "blank_lines") == paragraphs


def test_json_lines_are_one_document_each(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    # U+2028 ends a line for str.splitlines, not for JSON lines.
    path.write_text('{"text": "a\\n\\nb"}\n\n{"text": "  "}\n{"text": "c\u2028d", "id": 3}\n', encoding="utf-8")
    assert read_texts(str(path)) == [("a.jsonl/0", "a\n\nb"), ("a.jsonl/1", "c\u2028d")]


def test_the_packaged_text_is_long_enough_to_be_of_use() -> None:
    texts = read_texts()
    assert len(texts) == 6
    assert sum(len(text.split()) for _, text in texts) == 1608  # as its README says
    assert all(text.isascii() for _, text in texts)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n\n", "holds no text"),
        ("a.txt", "caf\u00e9".encode("latin-1"), "is not UTF-8 text"),
        ("a.txt.gz", b"plain", "cannot be read"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', 'a.jsonl line 2: expected a JSON object with a field "text"'),
        ("a.jsonl", b"a\n", "a.jsonl line 1: expected a JSON object"),
        ("a.jsonl", b"[1]\n", "a.jsonl line 1: expected a JSON object"),
        ("a.jsonl", b'{"text": 3}\n', 'the field "text" holds int'),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_texts(str(tmp_path / name))
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_a_missing_file_and_an_unknown_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone.txt' cannot be read"):
        read_texts(str(tmp_path / "gone.txt"))
    with pytest.raises(UserError, match=r"unknown text_split 'blank_line'\. Did you mean 'blank_lines'"):
        read_texts(None, "blank_line")

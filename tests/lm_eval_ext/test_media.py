"""Text that anybody may have written, in each medium: read back by that medium's own readers."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lm_eval_ext.errors import UserError, one_line
from lm_eval_ext.media import (
    for_code,
    for_csv,
    for_html,
    for_json,
    for_markdown,
    for_markdown_cell,
    for_terminal,
    for_utf8,
)
from tests.helpers.hostile import NASTY

ANY = st.text(st.characters(exclude_categories=[]), max_size=30) | st.text(
    st.sampled_from("=+-@\t\r\n;,'\"|\\`*_<>[]()!#~&$:/.w1 a\x1b\x00\x9b\u202e\u200b\ud800"), max_size=20
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wanda-50 für Bücher 日本 ±½", "wanda-50 für Bücher 日本 ±½"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("half\udce9", "half\\udce9"),
        ("filler\u3164", "filler\\u3164"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_a_terminal_shows_what_is_there(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


def test_a_long_text_is_cut_in_its_middle() -> None:
    assert for_terminal("abcdefghijkl", 12) == "abcdefghijkl"
    assert for_terminal("abcdefghijklm", 12) == "abcdefg…jklm"
    assert len(for_terminal("\x1b" * 1000, 60)) == 60
    assert for_terminal("x" * 10**7 + "end", 30).endswith("xend")


@given(ANY)
def test_nothing_reaches_a_terminal_that_is_not_printed(text: str) -> None:
    for shown in (for_terminal(text), for_markdown(text), for_code(text), for_html(text), for_terminal(text, 9)):
        assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def rendered(page: str) -> tuple[set[str], str]:
    """Tags of a page of Markdown as a browser would see them, and its text."""
    tags: set[str] = set()
    words: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)

        def handle_data(self, data: str) -> None:
            words.append(data)

    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    Reader().feed(str(markdown.render(page)))
    return tags, "".join(words)


@given(ANY)
def test_markdown_reads_as_the_text(text: str) -> None:
    shown = " ".join(for_terminal(text).split())
    tags, words = rendered(f"- {for_markdown(text)} end\n")
    assert tags <= {"ul", "li", "code"}  # a code span around an @ keeps addresses from being links
    assert " ".join(words.split()) == f"{shown} end".strip()
    tags, words = rendered(f"({for_code(text)})\n")
    assert tags == {"p", "code"}
    assert words.strip()[1:-1].strip() == for_terminal(text).strip()


@given(ANY, ANY)
def test_a_row_has_its_cells(one: str, two: str) -> None:
    page = f"| a | b |\n| --- | --- |\n| {for_markdown_cell(one, None)} | {for_markdown_cell(two, None)} |\n"
    tags, words = rendered(page)
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    cells = [" ".join(line.split()) for line in words.split("\n") if line.strip()]
    shown = [" ".join(for_terminal(text).split()) for text in (one, two)]
    assert cells == ["a", "b", *filter(None, shown)]


def test_names_and_numbers_stay_readable_in_the_source() -> None:
    for text in ("wanda-50", "bbq_itemlevel", "-0.5", "+3.5%", "12,345", "-", "pass@1", "Qwen2.5-0.5B", "strict-match"):
        assert for_markdown_cell(text) == text


def test_bare_addresses_are_no_links_for_github() -> None:
    shown = for_markdown_cell("https://evil.example www.evil.example me@evil.example @me", None)
    assert shown == "https\\://evil\\.example www\\.evil\\.example me`@`evil\\.example `@`me"


@given(st.lists(ANY, min_size=1, max_size=3))
def test_csv_is_read_back_and_computes_nothing(texts: list[str]) -> None:
    cells = [for_csv(text) for text in texts]
    for cell in cells:
        assert not re.match(r"\s*[=+\-@＝＋－＠]|[\t\n]", cell)
        # As a spreadsheet of another list separator would split it.
        assert not any(re.match(r"\s*[=+\-@]", part) for part in re.split("[;\t\n]", cell) if part.strip("'") == part)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", cell)
    file = io.StringIO(newline="")
    pd.DataFrame({"text": cells, "number": -1.5}).to_csv(file, index=False, lineterminator="\n")
    rows = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert rows == [["text", "number"], *([cell, "-1.5"] for cell in cells)]


def test_csv_changes_nothing_else() -> None:
    for text in ("wanda-50", "it's", "a, b", 'he said "no"', "line\nline", '{"a": -1}', "nicht älter", "a-b", "1 = 1"):
        assert for_csv(text) == text
    assert for_csv("=1+2") == "'=1+2"
    assert for_csv("x;=1+2") == "x;'=1+2"
    assert for_csv("-3") == "'-3"


@given(ANY)
def test_json_and_files_hold_every_text(text: str) -> None:
    said = for_json({text: [text]})
    said.encode()
    assert json.loads(said) == {text: [text]}
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u200b]", said)
    for_utf8(text).encode()
    if not re.search("[\ud800-\udfff]", text):
        assert for_utf8(text) == text


def test_html_is_text() -> None:
    assert for_html("<script>\"'&\x1b") == "&lt;script&gt;&quot;&#x27;&amp;\\x1b"


def test_a_message_shows_the_names_in_it() -> None:
    error = UserError(f"unknown run {NASTY}")
    assert all(char.isprintable() or char == "\n" for char in str(error))
    line = one_line(error)
    assert line is not None
    assert line.isprintable()
    assert line.startswith("unknown run =cmd|'/C calc'!A0 \\x1b[31mred")
    assert one_line(FileNotFoundError(2, "No such file", "a\x1b\nb")) == (
        "No such file: a\\x1b b (LM_EVAL_EXT_DEBUG=1 shows where)"
    )
    assert len(one_line(UserError("x" * 10**6)) or "") == 4000

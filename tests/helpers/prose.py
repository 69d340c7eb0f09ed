"""Sentences, as a reader counts their words: of Markdown pages, of help texts and of messages in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["messages", "of_markdown", "sentences", "words"]

# A full stop ends a sentence where a new one begins; e.g. and i.e. end none.
_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)[\"')*]*\s+(?=[\"'(*]*[A-Z0-9<])")


def sentences(text: str) -> list[str]:
    """The sentences of running text."""
    return [part for part in _END.split(" ".join(text.split())) if part]


def words(sentence: str) -> int:
    """How many words it has: whatever stands between blanks and holds a letter or a digit."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def of_markdown(page: str) -> list[str]:
    """The sentences of a page, without its tables and blocks of code; code within a sentence is one word."""
    page = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
    found: list[str] = []
    inside = 0
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        inside += {"table_open": 1, "table_close": -1}.get(token.type, 0)
        if token.type == "inline" and not inside:
            found += sentences("".join(_text(child) for child in token.children or []))
    return found


def _text(token: Token) -> str:
    if token.type == "code_inline":
        return "Code"
    if token.type in ("softbreak", "hardbreak"):
        return " "
    return token.content if token.type == "text" else ""


def messages(source: str, makers: frozenset[str]) -> Iterator[tuple[int, str]]:
    """What calls of some names say, and what is named `message`: line and text, with a word for each value."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "message" for name in node.targets):
            yield node.lineno, _said(node.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in makers:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if isinstance(argument, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                    yield node.lineno, _said(argument)


def _said(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _said(node.left) + _said(node.right)
    return str(node.value) if isinstance(node, ast.Constant) else "x"

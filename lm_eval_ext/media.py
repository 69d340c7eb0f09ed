"""How text that anybody may have written is shown: one function a medium.

Names of runs, tasks, filters, recipes and models, categories, roles, file names, messages and what models say are data.
Whatever writes them goes through here. Nothing is dropped: what a reader can't see stands there as an escape.
"""

from __future__ import annotations

import json
import re
from html import escape

__all__ = [
    "CELL",
    "MESSAGE",
    "for_code",
    "for_csv",
    "for_html",
    "for_json",
    "for_markdown",
    "for_markdown_cell",
    "for_terminal",
    "for_utf8",
]

CELL = 60
"""Characters of a cell of a table that people read."""
MESSAGE = 1000
"""Characters of a message that people read: it may list names, each of any length."""

# Printable by Unicode's categories, and yet nothing to see: fillers, joiners, variation selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

# What Markdown, GitHub's tables and bare addresses are made of. `_` inside a word is a letter.
_MARKS = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[wW])\.|(?<=\w)\.(?=[^\W\d])")
_FIRST = re.compile(r"^(\s*)(?:([-+=#])|(\d+)([.)]))")
# Mail addresses and mentions are links too, and a backslash does not keep them from it; another element between does.
# Not so pass@1.
_AT = re.compile(r"(?<!\w)@+|@@+|@(?!\d)|@(?=[\w.+\\-]*\.\w)")

# Breaks and tabs are text in CSV; other control characters end a file, or drive a terminal that shows it.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Spreadsheets compute a cell that starts so. Where the list separator is `;`, a cell starts in the middle of ours.
_SIGNS = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"^(?=\s*{_SIGNS}|[\t\n])|(?<=[;\t\n])(?=[^\S\t\n]*{_SIGNS})")
_UNSEEN = re.compile("[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_HALVES = re.compile("[\ud800-\udfff]")


def for_terminal(text: str, most: int | None = None) -> str:
    """A text as one line that a terminal only shows: nothing in it moves the cursor, turns its direction or hides.

    Args:
        text: Any text.
        most: Characters to show at most; what is longer has '…' in its middle. All of it if not given.

    Returns:
        The text; characters that are not printable (control characters, line breaks and tabs among them, bidi and
        zero-width characters, lone surrogates) as Python's escapes.
    """
    if most is None:
        return _visible(text)
    shown = _visible(text if len(text) <= 2 * most else text[:most] + text[-most:])
    # The end tells names of one beginning apart, and says what to do where it is a message.
    tail = most // 3
    return shown if len(shown) <= most else f"{shown[: most - 1 - tail]}…{shown[len(shown) - tail :]}"


def for_markdown(text: str, most: int | None = MESSAGE) -> str:
    """A text as Markdown that reads as the text: no tag, link, emphasis or list. Length as `for_terminal`."""
    return _FIRST.sub(_escape_first, for_markdown_cell(text, most))


def for_markdown_cell(text: str, most: int | None = CELL) -> str:
    """As `for_markdown`, inside a row of a table, where a number may keep its sign."""
    return _AT.sub(r"`\g<0>`", _MARKS.sub(r"\\\g<0>", for_terminal(text, most)))


def for_code(text: str, most: int | None = MESSAGE) -> str:
    """A text as a code span of Markdown, outside of tables: in a row a `|` would end the cell."""
    shown = for_terminal(text, most)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if not shown.strip() or shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{space}{shown}{space}{fence}"


def for_html(text: str, most: int | None = None) -> str:
    """A text as HTML, for elements and for attributes in quotes. Length as `for_terminal`."""
    return escape(for_terminal(text, most))


def for_csv(text: str) -> str:
    """A text as a cell of CSV, whole; quotes are up to whoever writes the file. Numbers are none of its business.

    A spreadsheet computes a cell that starts with = + - or @: it gets a `'` before it, as does one that starts with a
    tab or a line break (OWASP, "CSV Injection"). Control characters but these two are escapes, as are lone surrogates.
    """
    return _FORMULA.sub("'", _CONTROLS.sub(_escape, text))


def for_json(content: object, indent: int | None = None) -> str:
    """JSON that is read back as it was, with its letters, and with escapes for what can't be seen or encoded."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(content, indent=indent, ensure_ascii=False))


def for_utf8(text: str) -> str:
    """A text that any file can hold: as it is, with lone surrogates as escapes."""
    return text if text.isascii() else _HALVES.sub(_escape, text)


def _visible(text: str) -> str:
    if text.isprintable() and (text.isascii() or not _BLANK.search(text)):
        return text
    return "".join(
        char if char.isprintable() and not _BLANK.match(char) else char.encode("unicode_escape").decode()
        for char in text
    )


def _escape_first(found: re.Match[str]) -> str:
    space, mark, number, dot = found.groups()
    return f"{space}\\{mark}" if mark else f"{space}{number}\\{dot}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()

"""How text that anybody may have written is shown, in each medium: what `lm_eval_ext.media` says, for both packages."""

from __future__ import annotations

from lm_eval_ext.media import (
    CELL,
    MESSAGE,
    for_code,
    for_csv,
    for_html,
    for_json,
    for_markdown,
    for_markdown_cell,
    for_terminal,
    for_utf8,
)

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

"""YAML as people mean it: mappings, lists, text, numbers, true and false. Whatever surprises is refused, with its line.

YAML 1.1 has `010` as 8, `yes` as true and 2:4 as 124. Aliases let a page of text mean a billion values. A key given
twice loses its first value. So the values are built here, from the parser's events, not by a library's constructors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any

import yaml

from lm_eval_ext.errors import UserError, seen

__all__ = ["read_yaml", "write_yaml"]

DEEPEST = 20
"""Mappings and lists inside one another. A recipe has four, and options of a library's own some more."""

_DIGITS = 30
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_OTHER_WORDS = {"yes", "no", "on", "off"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# What some reader takes for a number and a person may not, or for another one.
_DOUBTFUL = re.compile(
    r"[-+]?(0[0-9_]+(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\.(inf|nan)"
    r"|\.*[0-9][0-9.]*_[0-9._]*([eE][-+]?[0-9]+)?)",
    re.IGNORECASE,
)


def read_yaml(text: str) -> Any:
    """The one document of a YAML text as dicts, lists, strings, ints, floats, bools and None.

    A number is what it says in decimal digits: `4`, `0.5`, `.5`, `1e-3`. True, false and null are these words, written
    `true`, `True` or `TRUE`; `~` and nothing are null too. Everything else without quotes is text.

    Raises:
        UserError: If it is no YAML or nested deeper than DEEPEST; if it holds a key twice, a key that is no text, an
            anchor, an alias, a merge key, a tag, a second document, or a spelling that readers take differently
            (`010`, `0x10`, `1_000`, `yes`). The message names the line.
    """
    try:
        events = yaml.parse(text, yaml.SafeLoader)
        return _document(_checked(events))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"line {line}: not readable YAML: character {error.character!a} is not allowed") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 0 if mark is None else mark.line + 1
        raise UserError(f"line {line}: not readable YAML: {error.problem or error.context}") from None


def write_yaml(values: dict[str, Any]) -> str:
    """YAML that `read_yaml` reads as equal values, but for numbers that it refuses; keys stay in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes every value out, and in quotes whatever text would not be read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> Any:
        try:
            plain = text == _scalar(yaml.ScalarEvent(None, None, (True, False), text, yaml.Mark("", 0, 0, 0, None, 0)))
        except UserError:
            plain = False
        quotes = "'" if text.isprintable() else '"'  # which escapes what can't be seen
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if plain and text.isprintable() else quotes)


_Dumper.add_representer(str, _Dumper.represent_text)


def _checked(events: Iterator[Any]) -> Iterator[Any]:
    """The events, as long as there is nothing in them that needs no place in plain data."""
    documents = depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise _fault(event, f"{seen(sign + event.anchor)}: anchors and aliases are not read; write the value out")
        if getattr(event, "tag", None) is not None:
            raise _fault(event, f"the tag {seen(event.tag)} is not read; leave it out")
        if documents > 1:
            raise _fault(event, "a second document starts; a file holds one recipe")
        if depth > DEEPEST:
            raise _fault(event, f"nested deeper than {DEEPEST} levels")
        yield event


def _document(events: Iterator[Any]) -> Any:
    value = None
    for event in events:
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            value = _value(event, events)
    return value


def _value(event: Any, events: Iterator[Any]) -> Any:
    """The value that starts with an event; as deep as `_checked` lets through."""
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event) if event.style is None else event.value
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events)
    entries = []
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        entries.append(_value(event, events))
    return entries


def _mapping(events: Iterator[Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    lines: dict[str, int] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent):
            raise _fault(event, "a key is a list or a mapping; expected a word")
        key = event.value
        if event.style is None and key == "<<":
            raise _fault(event, "the merge key << is not read; write the keys out")
        if not key:
            raise _fault(event, "a key is empty; expected a word")
        if key in lines:
            raise _fault(event, f"key {seen(key)} stands twice (first in line {lines[key]})")
        lines[key] = _line(event)
        out[key] = _value(next(events), events)
    return out


def _scalar(event: yaml.ScalarEvent) -> Any:
    """What a scalar without quotes means."""
    text: str = event.value
    word = text.lower() if text in (text.lower(), text.upper(), text.capitalize()) else text
    if word in _WORDS:
        return _WORDS[word]
    if word in _OTHER_WORDS:
        raise _fault(
            event, f"{text}: some readers take this for true or false; write true or false, or '{text}' for text"
        )
    if len(text) > _DIGITS and _FLOAT.fullmatch(text):
        raise _fault(event, f"a number of {len(text)} characters; expected at most {_DIGITS}")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not isfinite(number):
            raise _fault(event, f"{text} is larger than any number that a computer holds")
        return number
    if _DOUBTFUL.fullmatch(text):
        raise _fault(
            event, f"{seen(text)[1:-1]}: readers disagree on this number; write decimal digits, or quote it as text"
        )
    return text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _fault(event: Any, what: str) -> UserError:
    return UserError(f"line {_line(event)}: {what}")

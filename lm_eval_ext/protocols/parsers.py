"""From a sampled text to a letter: as the studies read it, and strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lm_eval_ext.protocols.lettering import letters

__all__ = ["decided", "strict_parse", "study_parse"]

_FLAGS = re.IGNORECASE | re.ASCII

# The studies' rules. White space is what Python calls so, and ends the text's head like a bracket or a full stop.
_STUDY_HEAD = re.compile(r"\(?(?P<letter>[abc])\)?[.)\s]", re.IGNORECASE)
_STUDY_VERB = re.compile(r"(?:answer|choose|select|pick)\s*(?:is\s*)?\(?(?P<letter>[abc])", re.IGNORECASE)

_LEAD = r"(?P<lead>(?:the\s+)?(?:(?:correct|best|right|final)\s+)?(?:answer|option|choice)\b(?:\s+is)?\s*:?\**\s*)?"


@dataclass(frozen=True)
class _Patterns:
    """The strict parser's, for so many letters."""

    strict: re.Pattern[str]
    # What makes the letter one of several: "B or C", "A, B", "A/B"; "A) B) C)", or a line that is another letter.
    joined: re.Pattern[str]
    listed: re.Pattern[str]
    # No text that begins with anything else matches one of the two.
    may_join: frozenset[str]


@cache
def _patterns(count: int) -> _Patterns:
    known = "".join(letters(count))
    letter = f"(?P<letter>[{known.lower()}])"
    return _Patterns(
        re.compile(rf"\s*\**{_LEAD}[*(\[]*{letter}(?![a-z0-9'’_])(?P<close>[).:\]*]*)", _FLAGS),
        re.compile(rf"\s*(?:[,/&+]|or\b|and\b)[\s,]*(?:or\b|and\b)?\s*[*(\[]*{letter}(?![a-z0-9'’])", _FLAGS),
        re.compile(rf"\s*[*(\[]*{letter}(?:[).:\]]|\**\s*(?:\n|\Z))", _FLAGS),
        frozenset(f"*([,/&+oO{known}{known.lower()}"),
    )


def study_parse(text: str) -> int | None:
    """Read a letter as the studies' scripts do (arXiv 2605.15208, 2605.08137), faults included: A, B or C, no other.

    First hit wins: the whole text is a letter; a letter at the start, bare or bracketed, followed by a bracket, a full
    stop or white space; a letter right after answer, choose, select or pick and an optional "is", be it a word's first
    ("answerable" is A); else the first a, b or c of the text in either case, so that "based on" is B and "Answer: B"
    is A.

    Args:
        text: What was generated.

    Returns:
        0, 1 or 2 for A, B or C; None if the text has no such letter.
    """
    stripped = text.strip()
    if stripped.upper() in ("A", "B", "C"):
        return _index(stripped)
    found = _STUDY_HEAD.match(stripped) or _STUDY_VERB.search(stripped)
    if found is not None:
        return _index(found["letter"])
    return next((_index(character) for character in stripped if character in "abcABC"), None)


def strict_parse(text: str, options: int = 3) -> int | None:
    """Read a letter only where it stands as the answer.

    That is at the start of the text, or after "Answer:", "The answer is" and the like; bare at the end of its line,
    or closed by a bracket, full stop, colon or asterisks, whatever the option's text is that follows; after "the answer
    is" also as a capital before further words. Another letter right beside it ("A or B", "A) B) C)") makes it none.

    Args:
        text: What was generated.
        options: How many there are: the letters from A on.

    Returns:
        0 for A, 1 for B and so on; None where no letter, or more than one, stands as the answer.
    """
    patterns = _patterns(options)
    found = patterns.strict.match(text)
    if found is None:
        return None
    after = text[found.end() :]
    for other in (patterns.joined.match(after), patterns.listed.match(after)):
        if other is not None and _index(other["letter"]) != _index(found["letter"]):
            return None
    ends_line = not after.split("\n", 1)[0].strip()
    told = found["lead"] and found["letter"].isupper() and after[:1] in (" ", ",", ";")
    return _index(found["letter"]) if found["close"] or ends_line or told else None


def decided(text: str) -> bool:
    """Whether both parsers give the same as now for every text that begins with this one, of three options.

    Args:
        text: What was generated so far.

    Returns:
        True only if so; False also where it is so but not easily seen. The studies' parser is fixed by a letter at the
        start with a bracket, full stop or white space behind it; the strict one as soon as what follows the letter
        cannot be a second letter.
    """
    if _STUDY_HEAD.match(text.lstrip()) is None:
        return False
    patterns = _patterns(3)
    found = patterns.strict.match(text)
    rest = text[found.end() :].lstrip() if found is not None else ""
    return bool(rest) and rest[0] not in patterns.may_join


def _index(letter: str) -> int:
    return ord(letter.upper()) - ord("A")

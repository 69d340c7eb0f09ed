"""The quick way for lines of our tasks: decoded into typed records that hold what the columns need, and no more.

A line that does not fit in any way (another task, a bare NaN, half a character, a value of another kind, an answer
that does not go with the item) is no fault here: it goes the general way (samples.py), which reads or names it.
Both ways give the same rows.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import msgspec

from analysis.logs.answers import determined
from analysis.logs.groups import encode_groups, encode_options
from analysis.logs.values import LogError

__all__ = ["TypedLine", "parse", "request_hash", "typed_line", "typed_rows"]

_Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class _Item(msgspec.Struct, gc=False):
    item_id: str
    benchmark: str
    category: str
    cluster: str
    roles: list[str]
    condition: str | None = None
    polarity: str | None = None
    correct: _Whole | None = None
    groups: list[list[str]] | None = None
    stereotyped_groups: list[str] | None = None


class _Doc(msgspec.Struct, gc=False):
    item: _Item


class _Draw(msgspec.Struct, gc=False):
    status: str
    choice: _Whole | None = None
    role: str | None = None
    seed: _Whole | None = None
    text: str | None = None


class _Answer(msgspec.Struct, gc=False):
    protocol: str
    status: str
    choice: _Whole | None = None
    role: str | None = None
    probs: list[float] | None = None
    letter_mass: float | None = None
    drawn_letter_mass: float | None = None
    entropy: float | None = None
    margin: float | None = None
    draws: list[_Draw] | None = None


class TypedLine(msgspec.Struct, gc=False):
    """What the columns need of one sample line of our tasks."""

    doc_id: _Whole
    doc: _Doc
    filter: str
    doc_hash: str
    prompt_hash: str
    target_hash: str
    answer: _Answer
    arguments: dict[str, Any] | list[Any]
    resps: Any = None


_line = msgspec.json.Decoder(TypedLine)
_anything = msgspec.json.Decoder()
_canonical = msgspec.json.Encoder(order="sorted")


def typed_line(raw: bytes) -> TypedLine | None:
    """Decode a line of our tasks; None if it does not fit."""
    try:
        # What no field asks for is skipped without a look at its encoding.
        return _line.decode(raw if raw.isascii() else raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def parse(raw: bytes) -> Any:
    """Any line as Python objects, as `json.loads` gives them and a good deal faster.

    Raises:
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.
    """
    try:
        return _anything.decode(raw)
    except (ValueError, RecursionError):
        return json.loads(raw)  # which knows NaN and half characters


def request_hash(arguments: Any) -> str:
    """The sha256 of everything sent: the arguments as UTF-8 JSON without spaces, keys sorted.

    The same arguments give the same hash however the file spaces or escapes them. Raises LogError if there are none.
    """
    if not isinstance(arguments, (dict, list)):
        raise LogError("arguments: missing")
    try:
        packed = _canonical.encode(arguments)
    except (ValueError, OverflowError):  # half a character, or a number of more than 64 bits
        packed = json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(packed).hexdigest()


def typed_rows(line: TypedLine, task: str) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
    """Rows of a line: values of table.LINE_COLUMNS, and per answer those of table.ROW_COLUMNS.

    None where the answer does not go with the item, or has no draws where it should: the general way says what it is.
    """
    item, answer = line.doc.item, line.answer
    rows = _answers(item, answer)
    if rows is None:
        return None
    shares: dict[str, float] = {}
    if answer.probs is not None:
        if len(answer.probs) != len(item.roles):
            return None
        for role, value in zip(item.roles, answer.probs, strict=True):
            shares[role] = shares.get(role, 0.0) + value
    try:
        groups, options = encode_groups(item.stereotyped_groups), encode_options(item.groups)
    except LogError:
        return None
    values = (
        task,
        line.filter,
        item.item_id,
        line.doc_id,
        item.benchmark,
        item.category,
        item.condition,
        item.polarity,
        item.cluster,
        groups,
        options,
        answer.protocol,
        determined(item.roles),
        shares.get("stereotype"),
        shares.get("anti_stereotype"),
        shares.get("unknown"),
        answer.letter_mass,
        answer.drawn_letter_mass,
        answer.entropy,
        answer.margin,
        line.doc_hash,
        line.prompt_hash,
        line.target_hash,
        request_hash(line.arguments),
    )
    return values, rows


def _answers(item: _Item, answer: _Answer) -> list[tuple[Any, ...]] | None:
    """Each answer as (seed, status, choice, role, correct, text), all checked against the item's options."""
    draws = answer.draws
    if draws is None:
        draws = [_Draw(answer.status, answer.choice, answer.role)]
    roles, key = item.roles, item.correct
    missed = None if key is None else False
    rows: list[tuple[Any, ...]] = []
    for draw in draws:
        choice, status, role = draw.choice, draw.status, draw.role
        if choice is None:
            if role is not None or status not in ("unparsed", "unscored"):
                return None
            rows.append((draw.seed, status, None, None, missed, draw.text))
        elif status == "answered" and 0 <= choice < len(roles) and role == roles[choice]:
            rows.append((draw.seed, status, choice, role, missed if key is None else choice == key, draw.text))
        else:
            return None
    return rows or None

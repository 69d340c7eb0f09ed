"""The quick way for lines of our tasks: decoded into typed records that hold what the columns need, and no more.

The runs of a study ask the same items with the same words, so what is made of a document and of a request is
remembered, and the next run's line of the very same bytes takes it from there.

A line that does not fit in any way (another task, a bare NaN, half a character, a value of another kind, an answer
that does not go with the item) is no fault here: it goes the general way (samples.py), which reads or names it.
Both ways give the same rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from ..schema.fields import SourceField
from ..schema.schemes import AXES
from .groups import encode_groups, encode_options
from .hashes import hash_of_target, is_hash_of, untrue_hashes
from .options import Options, options_of
from .scores import check_shares, check_texts, check_unsampled
from .table import COMPUTED, TAKEN
from .values import LogError
from .witness import deny

__all__ = ["TypedLine", "parse", "request_hash", "typed_line"]

_Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_TYPES: dict[tuple[str, str], Any] = {
    ("string", "value"): str,
    ("string", "groups"): list[str],
    ("string", "options"): list[list[str]],
    ("integer", "value"): _Whole,
    ("float", "value"): float,
    ("boolean", "value"): bool,
}
_CODES = {"groups": encode_groups, "options": encode_options}
_NULL = msgspec.Raw(b"null")
_ITEM, _ANSWER, _TEXT = "doc.item.", "answer.", "answer.texts."


def _struct(name: str, place: str, fields: Iterable[SourceField], *more: tuple[Any, ...]) -> Any:
    """A record of what stands right under a place of a line: of the fields' values there, and of more."""
    entries: list[Any] = list(more)
    for entry in fields:
        key, kind = entry.ours.removeprefix(place), _TYPES[entry.column.kind, entry.coding]
        if entry.ours.startswith(place) and "." not in key:
            entries.append((key, kind | None, None) if entry.column.nullable else (key, kind))
    return msgspec.defstruct(name, entries, kw_only=True, gc=False)


_given = [("status", str), ("choice", _Whole | None, None), ("role", str | None, None)]
_Item: Any = _struct(
    "Item",
    _ITEM,
    TAKEN["document"],
    ("version", _Whole | None, None),
    ("roles", list[str] | None, None),
    ("scheme", msgspec.Raw, _NULL),
    ("key", _Whole | None, None),
    ("correct", _Whole | None, None),
)
_Text: Any = _struct("Text", _TEXT, TAKEN["answer"], *_given)
_Answer: Any = _struct(
    "Answer",
    _ANSWER,
    TAKEN["line"],
    *_given,
    ("probs", list[float] | None, None),
    ("texts", list[_Text] | None, None),
    ("draws", list[_Text] | None, None),
)
_Line: Any = _struct(
    "Line",
    "",
    TAKEN["line"],
    ("doc", msgspec.Raw),
    ("answer", _Answer),
    ("arguments", msgspec.Raw),
    ("resps", msgspec.Raw, _NULL),
    ("acc", float | None, None),
    ("target", str | int | float | None, None),
)


class _Doc(msgspec.Struct, gc=False):
    item: _Item
    options: list[Any] | None = None
    option_tokens: Any = None


def _values_of(fields: tuple[SourceField, ...], place: str) -> Callable[[Any], tuple[Any, ...]]:
    """A function that takes the values of fields, in their order, from the record of what stands at a place."""
    names = [entry.ours.removeprefix(place) for entry in fields]
    getter = attrgetter(*names) if names else lambda record: ()
    one = len(names) == 1
    codes = [(place, _CODES[entry.coding]) for place, entry in enumerate(fields) if entry.coding in _CODES]
    if not codes:
        return (lambda record: (getter(record),)) if one else getter

    def coded(record: Any) -> tuple[Any, ...]:
        values = [getter(record)] if one else list(getter(record))
        for place, code in codes:
            values[place] = code(values[place])
        return tuple(values)

    return coded


_of_item = _values_of(TAKEN["document"], _ITEM)
_of_line = _values_of(TAKEN["line"], "")
_of_text = _values_of(TAKEN["answer"], _TEXT)
_MADE = [entry.ours.removeprefix("$options.") for entry in COMPUTED["document"]]
_SHARES = [f"$probability.{name}" for name in (*AXES, "key", "options")]
assert [entry.ours for entry in COMPUTED["line"]] == ["$metrics", *_SHARES]


class TypedLine(msgspec.Struct, gc=False):
    """What one sample line of our tasks holds."""

    doc_id: int
    item_id: str
    doc: msgspec.Raw
    options: Options
    filter: str
    hashes: tuple[str, str, str]
    """Those that lm_eval logs: of document, prompt and target."""
    untrue: tuple[str, ...]
    """Those of them, by name, that are not of what the line holds."""
    responses: Any
    """What the model gave."""
    values: tuple[Any, ...]
    """Values of table.LINE_COLUMNS."""
    texts: list[tuple[Any, ...]]
    """Per answer, values of table.TEXT_COLUMNS."""
    outcomes: list[tuple[Any, ...]]
    """Per answer, values of table.OUTCOME_COLUMNS."""
    chosen: list[float | None]
    """Per answer, the value of table.CHOICE_COLUMN."""


_line = msgspec.json.Decoder(_Line)
_doc = msgspec.json.Decoder(_Doc)
_anything = msgspec.json.Decoder()
_canonical = msgspec.json.Encoder(order="sorted")


class _Asked(msgspec.Struct, gc=False):
    """What was made of a document and of what was sent for it, with their bytes."""

    doc: msgspec.Raw
    arguments: msgspec.Raw
    item_id: str
    options: Options
    values: tuple[Any, ...]
    """Values of the columns that a document has once."""
    untrue: tuple[str, ...]
    """Hashes of document and prompt that are not theirs."""
    tokens: Any
    """Tokens of each option, where the document has them."""

    @property
    def size(self) -> int:
        return len(self.doc) + len(self.arguments)


class _Memory(dict[tuple[str, str], _Asked]):
    """By lm_eval's hashes of document and prompt, which only find an entry: its bytes say whether it is the same.

    Looking it up by the bytes would hash them all, which takes as long as decoding the line. Emptied when the bytes are
    too many.
    """

    most = 128 << 20
    size = 0

    def keep(self, key: tuple[str, str], made: _Asked) -> _Asked:
        before = self.pop(key, None)
        self.size += made.size - (before.size if before is not None else 0)
        if self.size > self.most:
            self.clear()
            self.size = made.size
        self[key] = made
        return made


_memory = _Memory()


def typed_line(raw: bytes) -> TypedLine | None:
    """Decode a line of our tasks; None if it does not fit, or if its answer does not go with its item."""
    try:
        # What no field asks for is skipped without a look at its encoding.
        line = _line.decode(raw if raw.isascii() else raw.decode("utf-8"))
        asked = _asked(line)
        responses = _anything.decode(line.resps)
        shares = asked.options.shares(line.answer.probs)
        _check(line, asked.options, responses)
    except (ValueError, RecursionError):  # those of msgspec and LogError are ValueErrors
        return None
    texts, known, probabilities = _texts(line.answer), asked.options.outcomes, line.answer.probs
    outcomes, chosen = [], []
    try:
        for given in texts:
            choice = given.choice
            outcomes.append(known[given.status, choice, given.role or None])
            chosen.append(None if probabilities is None or choice is None else probabilities[choice])
    except KeyError:  # one that does not go with the item's options
        return None
    if not outcomes:
        return None
    hashes = (line.doc_hash, line.prompt_hash, line.target_hash)
    values = (*asked.values, *_of_line(line), None, *shares, probabilities)
    return TypedLine(
        line.doc_id,
        asked.item_id,
        asked.doc,
        asked.options,
        line.filter,
        hashes,
        _untrue(line, asked, responses),
        responses,
        values,
        list(map(_of_text, texts)),
        outcomes,
        chosen,
    )


def _untrue(line: Any, asked: _Asked, responses: Any) -> tuple[str, ...]:
    """What the line says and other parts of it deny."""
    found, answer = asked.untrue, line.answer
    if line.target_hash != hash_of_target(str(line.target)):
        found = (*found, "target_hash")
    denied = deny(answer.protocol, answer.status, answer.probs, answer.letter_mass, responses, asked.tokens)
    return (*found, denied) if denied else found


def _check(line: Any, options: Options, responses: Any) -> None:
    """As in answers.py, with entropy and margin as the probabilities have them."""
    answer = line.answer
    texts = answer.draws if answer.texts is None else answer.texts
    made = check_shares(
        answer.probs,
        choice=answer.choice if texts is None else None,
        entropy=answer.entropy,
        margin=answer.margin,
        masses=(answer.letter_mass, answer.drawn_letter_mass),
    )
    if made is not None:
        answer.entropy, answer.margin = made
    if texts is None:
        check_unsampled(answer.drawn_letter_mass)
    else:
        check_texts([given.text for given in texts], answer.probs, answer.drawn_letter_mass, responses)
    options.check_right(line.acc, [answer.choice] if texts is None else [given.choice for given in texts])


def _asked(line: Any) -> _Asked:
    key = (line.doc_hash, line.prompt_hash)
    found = _memory.get(key)
    if found is not None and found.doc == line.doc and found.arguments == line.arguments:
        return found
    doc = _doc.decode(line.doc)
    sent = _anything.decode(line.arguments)
    options, request = _options(doc), request_hash(sent)
    untrue = untrue_hashes({"arguments": sent, "prompt_hash": line.prompt_hash}, ("prompt_hash",))
    if not is_hash_of(line.doc_hash, bytes(line.doc)):
        untrue = ("doc_hash", *untrue)
    made = options.facts | {"$request_hash": request}
    values = (*_of_item(doc.item), *[made[name] for name in _MADE])
    return _memory.keep(
        key,
        _Asked(line.doc.copy(), line.arguments.copy(), doc.item.item_id, options, values, untrue, doc.option_tokens),
    )


def _options(doc: _Doc) -> Options:
    item = doc.item
    key = item.correct if item.version in (None, 1) else item.key
    size = None if doc.options is None else len(doc.options)
    return options_of(item.version, tuple(item.roles or ()), bytes(item.scheme), key, size)


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


def _texts(answer: Any) -> list[Any]:
    """The texts of an answer, each with a seed; for a scored one a text without seed and words."""
    texts: list[Any] | None = answer.draws if answer.texts is None else answer.texts
    if texts is None:
        return [_Text(status=answer.status, choice=answer.choice, role=answer.role)]
    for place, given in enumerate(texts):
        if given.seed is None:
            given.seed = place
    return texts

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
from typing import Annotated, Any

import msgspec

from ..schema.schemes import AXES
from .answers import determined, scheme_of_roles
from .groups import encode_groups, encode_options
from .values import LogError

__all__ = ["TypedLine", "parse", "request_hash", "typed_line"]

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


class _Line(msgspec.Struct, gc=False):
    doc_id: _Whole
    doc: msgspec.Raw
    filter: str
    doc_hash: str
    prompt_hash: str
    target_hash: str
    answer: _Answer
    arguments: msgspec.Raw
    resps: msgspec.Raw = msgspec.Raw(b"null")


class _Known(msgspec.Struct, gc=False):
    """What the columns need of a document."""

    roles: list[str]
    correct: int | None
    names: tuple[Any, ...]
    """Values of LINE_COLUMNS from benchmark to scheme."""
    item_id: str
    determined: bool | None
    axes: list[str | None]
    """Axis of each option's role."""
    places: tuple[tuple[int, ...], ...]
    """By axis, the options that lie on it."""


class TypedLine(msgspec.Struct, gc=False):
    """What one sample line of our tasks holds."""

    doc_id: int
    item_id: str
    roles: list[str]
    filter: str
    hashes: tuple[str, str, str]
    """Those that lm_eval logs: of document, prompt and target."""
    responses: Any
    """What the model gave; None for texts."""
    values: tuple[Any, ...]
    """Values of table.LINE_COLUMNS."""
    rows: list[tuple[Any, ...]]
    """Per answer, values of table.ROW_COLUMNS."""


_line = msgspec.json.Decoder(_Line)
_doc = msgspec.json.Decoder(_Doc)
_anything = msgspec.json.Decoder()
_canonical = msgspec.json.Encoder(order="sorted")
_TEXTS = b'[["'
_UNKNOWN = (None,) * len(AXES)


class _Asked(msgspec.Struct, gc=False):
    """What was made of a document and of what was sent for it, with their bytes."""

    doc: msgspec.Raw
    arguments: msgspec.Raw
    known: _Known
    request: str

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


def typed_line(raw: bytes, task: str) -> TypedLine | None:
    """Decode a line of our tasks; None if it does not fit, or if its answer does not go with its item.

    Args:
        raw: The line.
        task: Name of the task, for the column.
    """
    try:
        # What no field asks for is skipped without a look at its encoding.
        line = _line.decode(raw if raw.isascii() else raw.decode("utf-8"))
        asked = _asked(line)
        responses = bytes(line.resps)
        # Texts, which are no scores, are most of a sampled log: nothing needs them decoded.
        scored = None if responses.startswith(_TEXTS) else _anything.decode(responses)
    except (ValueError, RecursionError):  # those of msgspec and LogError are ValueErrors
        return None
    known = asked.known
    rows = _answers(known, line.answer)
    shares = _shares(known, line.answer.probs)
    if rows is None or shares is None:
        return None
    answer, hashes = line.answer, (line.doc_hash, line.prompt_hash, line.target_hash)
    values = (
        task,
        line.filter,
        known.item_id,
        line.doc_id,
        *known.names,
        answer.protocol,
        known.determined,
        *shares,
        answer.letter_mass,
        answer.drawn_letter_mass,
        answer.entropy,
        answer.margin,
        *hashes,
        asked.request,
    )
    return TypedLine(line.doc_id, known.item_id, known.roles, line.filter, hashes, scored, values, rows)


def _asked(line: _Line) -> _Asked:
    key = (line.doc_hash, line.prompt_hash)
    found = _memory.get(key)
    if found is not None and found.doc == line.doc and found.arguments == line.arguments:
        return found
    request = request_hash(_anything.decode(line.arguments))
    return _memory.keep(key, _Asked(line.doc.copy(), line.arguments.copy(), _known(line.doc), request))


def _known(raw: msgspec.Raw) -> _Known:
    item = _doc.decode(raw).item
    groups, options = encode_groups(item.stereotyped_groups), encode_options(item.groups)
    roles = item.roles
    scheme = scheme_of_roles(roles)
    text = None if scheme is None else scheme.text
    names = (item.benchmark, item.category, item.condition, item.polarity, item.cluster, groups, options, text)
    axes = [None if scheme is None else scheme.axis(role) for role in roles]
    places = tuple(tuple(i for i, found in enumerate(axes) if found == axis) for axis in AXES)
    return _Known(roles, item.correct, names, item.item_id, determined(roles, scheme), axes, places)


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


def _shares(known: _Known, probabilities: list[float] | None) -> tuple[float | None, ...] | None:
    """Probability of each axis, None for one without options; None if they are not those of the options."""
    if probabilities is None:
        return _UNKNOWN
    if len(probabilities) != len(known.roles):
        return None
    return tuple(
        probabilities[at[0]] if len(at) == 1 else sum(probabilities[i] for i in at) if at else None
        for at in known.places
    )


def _answers(item: _Known, answer: _Answer) -> list[tuple[Any, ...]] | None:
    """Each answer as (seed, status, choice, role, axis, correct, text), all checked against the item's options."""
    draws = answer.draws
    sampled = draws is not None
    if draws is None:
        draws = [_Draw(answer.status, answer.choice, answer.role)]
    roles, key = item.roles, item.correct
    missed = None if key is None else False
    rows: list[tuple[Any, ...]] = []
    for place, draw in enumerate(draws):
        choice, status = draw.choice, draw.status
        seed = place if sampled and draw.seed is None else draw.seed
        if choice is not None:
            if status != "answered" or not 0 <= choice < len(roles) or draw.role != roles[choice]:
                return None
            correct = None if key is None else choice == key
            rows.append((seed, status, choice, roles[choice], item.axes[choice], correct, draw.text))
        elif draw.role is None and status in ("unparsed", "unscored"):
            rows.append((seed, status, None, None, None, missed, draw.text))
        else:
            return None
    return rows or None

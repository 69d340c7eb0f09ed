"""What a model gave back for a task, small enough to hold one task of every run against all others."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .scores import raw_scores

__all__ = ["Fingerprint", "Gathering"]

_KEPT = 64
_TEXTS = 16
_DISTINCT = 16


@dataclass(frozen=True)
class Fingerprint:
    """The responses of a file: a bottom-k sketch of its lines (Broder 1997), whatever their order."""

    scored: bool
    """Whether they are scores, or else texts."""
    distinct: int
    """Different numbers (finite and not 0) or texts (not empty) among them, counted up to 16: constant ones tell
    nothing."""
    smallest: tuple[int, ...]
    """The smallest hashes of lines, at most 64, sorted; a line is its filter, its item and what the model gave."""

    @classmethod
    def of_json(cls, value: Sequence[Any] | None) -> Fingerprint | None:
        """A record as JSON gives it back."""
        return None if value is None else cls(bool(value[0]), int(value[1]), tuple(value[2]))

    def agrees(self, other: Fingerprint) -> bool:
        """Whether the model gave the same for all items that both files hold, as far as the hashes kept tell.

        Lines that only one file has don't count against it, so that a lost line hides nothing.
        """
        if self.scored != other.scored:
            return False
        # Where a file has more lines than were kept, nothing is known beyond the last.
        ends = [entry.smallest[-1] for entry in (self, other) if len(entry.smallest) == _KEPT]
        own, theirs = (
            set(entry.smallest[: bisect_right(entry.smallest, min(ends))] if ends else entry.smallest)
            for entry in (self, other)
        )
        # Of a long file and a short one few lines are compared. A score to the last digit is one model's; a few short
        # texts may be anybody's.
        common, least = len(own & theirs), _TEXTS if ends and not self.scored else 1
        return common >= least and common == min(len(own), len(theirs))


@dataclass
class Gathering:
    """Responses under way, line by line."""

    _heaps: dict[bool, list[int]] = field(default_factory=lambda: {True: [], False: []})
    _seen: dict[bool, set[Any]] = field(default_factory=lambda: {True: set(), False: set()})

    def add(self, name: Any, item: Any, responses: Any, *, rolling: bool = False) -> None:
        """Take what a model gave for one item under one filter (`resps` of a line); anything else is left out."""
        given: Sequence[str] | None = raw_scores(responses, rolling=rolling)
        scored = given is not None
        if given is None and (given := _texts(responses)) is None:
            return
        seen = self._seen[scored]
        if len(seen) < _DISTINCT:
            seen.update(_telling(given, scored=scored))
        packed = json.dumps([name, item, given]).encode()
        place = -int.from_bytes(hashlib.sha256(packed).digest()[:8], "big")
        heap = self._heaps[scored]
        if len(heap) < _KEPT:
            heapq.heappush(heap, place)
        elif place > heap[0]:
            heapq.heapreplace(heap, place)

    def fingerprint(self) -> Fingerprint | None:
        """Of the scores, or of the texts where nothing is scored; None where there is neither."""
        scored = bool(self._heaps[True])
        smallest = tuple(sorted({-place for place in self._heaps[scored]}))
        return Fingerprint(scored, min(len(self._seen[scored]), _DISTINCT), smallest) if smallest else None


def _texts(responses: Any) -> list[str] | None:
    if not isinstance(responses, list):
        return None
    flat = [entry for request in responses for entry in (request if isinstance(request, list) else [request])]
    return flat if flat and all(isinstance(entry, str) for entry in flat) else None


def _telling(given: Sequence[str], *, scored: bool) -> set[str]:
    """Those that say something of the model: no empty text, and no score of a model that scores nothing."""
    if not scored:
        return {text.strip() for text in given} - {""}
    return {text for text in given if math.isfinite(float(text)) and float(text) != 0}

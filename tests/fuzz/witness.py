"""Values of a log that nothing else in it repeats: altered, they can't be told from what a run might have logged."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["ALONE", "stands_alone"]

ALONE = {
    "results": {
        "what the run says of its model, recipe and evidence": ("config",),
        "names, versions and sizes at the top of the results file": (
            *("model_name", "model_source", "max_length", "lm_eval_version", "transformers_version", "versions"),
        ),
    },
    "samples": {},
}
"""By file and in words, the places whose values stand there alone: keys from the top, `*` for any."""

Place = tuple[Any, ...]


def stands_alone(file: str, before: bytes, after: bytes) -> str | None:
    """In words, what was altered, if only values were that stand alone in a log; else None.

    Args:
        file: `samples` or `results`.
        before: The unaltered file, unpacked.
        after: The altered one.
    """
    records = [_records(file, raw) for raw in (before, after)]
    if None in records or len(records[0] or ()) != len(records[1] or ()):
        return None
    places = [place for pair in zip(*records, strict=True) for place in _differ(*pair)]
    found = {next((words for words, heads in ALONE[file].items() if _under(place, heads)), None) for place in places}
    return None if None in found or not found else "; ".join(sorted(words for words in found if words))


def _records(file: str, raw: bytes) -> list[Any] | None:
    try:
        return [json.loads(line) for line in (raw.splitlines() if file == "samples" else [raw])]
    except (ValueError, RecursionError):
        return None


def _differ(one: Any, other: Any, place: Place = ()) -> list[Place]:
    """The innermost places at which two records differ; a key that only one of them has is one."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        inner = [
            _differ(one[key], other[key], (*place, key)) if key in one and key in other else [(*place, key)]
            for key in keys
        ]
        return [found for some in inner for found in some]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [found for i, pair in enumerate(zip(one, other, strict=True)) for found in _differ(*pair, (*place, i))]
    return [] if type(one) is type(other) and repr(one) == repr(other) else [place]


def _under(place: Place, heads: tuple[str, ...]) -> bool:
    return any(
        len(keys) <= len(place) and all(key in ("*", str(at)) for key, at in zip(keys, place, strict=False))
        for keys in (head.split(".") for head in heads)
    )

"""Values of a log that nothing else in it repeats: altered, they can't be told from what a run might have logged."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["ALONE", "Alone", "stands_alone"]


@dataclass(frozen=True)
class Alone:
    """A kind of such values."""

    file: str
    """`samples` or `results`."""
    words: str
    places: tuple[str, ...]
    """Keys from the top, joined by dots; `*` for any."""
    tasks: str = "*"
    """Shell pattern of the tasks."""


ROUNDING = "a number that moves by less than 1e-9 of its size"

ALONE = (
    Alone("results", "how lm_eval aggregates a metric, by its task's configuration", ("configs.*.metric_list",)),
    Alone("results", "which way a metric is better", ("higher_is_better",)),
    Alone("results", "what a run says of its model, its recipe, its evidence and its limit", ("config",)),
    Alone(
        "results",
        "names, versions, sizes and the system instruction's hash",
        (
            *("model_name", "model_source", "max_length", "lm_eval_version", "transformers_version"),
            "system_instruction_sha",
        ),
    ),
    Alone(
        "results",
        "an aggregate that a task's own function makes of lists: the bias scores of lm_eval's `bbq`",
        ("results.bbq",),
        "bbq",
    ),
    Alone(
        "samples",
        "a metric that lm_eval's `bbq` makes by a function of its own",
        ("*amb_bias_score*", "accuracy_*amb"),
        "bbq",
    ),
    Alone("samples", "the text that a filter cut out of a response", ("filtered_resps",), "fuzz_words"),
    Alone(
        "samples",
        "a metric that a task's own code makes of a text or of all scores, where the mean stays the same",
        ("exact_match", "acc"),
        "fuzz_[ws]*",
    ),
    Alone(
        "samples",
        "the same of a metric that divides by lengths, which lm_eval does not log",
        ("acc_norm",),
        "fuzz_choice",
    ),
)

Place = tuple[Any, ...]
_NOTHING = object()


def stands_alone(file: str, task: str, before: bytes, after: bytes) -> str | None:
    """In words, what was altered, if only values were that stand alone in a log; else None.

    Args:
        file: `samples` or `results`.
        task: The task's name.
        before: The unaltered file, unpacked.
        after: The altered one.
    """
    records = [_records(file, raw) for raw in (before, after)]
    if None in records or len(records[0] or ()) != len(records[1] or ()):
        return None
    places = [place for pair in zip(*records, strict=True) for place in _differ(*pair)]
    if records[0] != records[1] and not places:
        return ROUNDING
    kinds = [kind for kind in ALONE if kind.file == file and fnmatchcase(task, kind.tasks)]
    # A key that only the altered file has is what another one was renamed to.
    new = [place for place in places if not any(_has(record, place) for record in records[0] or ())]
    old = [place for place in places if place not in new] or places
    found = {next((kind.words for kind in kinds if _under(place, kind.places)), None) for place in old}
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
    if isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9):
        return []
    return [] if type(one) is type(other) and repr(one) == repr(other) else [place]


def _has(record: Any, place: Place) -> bool:
    """Whether a record has something at a place."""
    for key in place:
        inside = record.get(key, _NOTHING) if isinstance(record, dict) else _NOTHING
        if isinstance(record, list) and isinstance(key, int) and key < len(record):
            inside = record[key]
        if inside is _NOTHING:
            return False
        record = inside
    return True


def _under(place: Place, heads: tuple[str, ...]) -> bool:
    return any(
        len(keys) <= len(place) and all(fnmatchcase(str(at), key) for key, at in zip(keys, place, strict=False))
        for keys in (head.split(".") for head in heads)
    )

"""lm_eval's files counted by hand: plain JSON and loops, nothing of `analysis`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Lines = dict[str, list[dict[str, Any]]]
"""The lines of a task by filter."""


def raw_lines(file: Path, filters: list[str] | None = None) -> Lines:
    """The lines of a samples file of any release: a JSON array, or a line each.

    Lines that name no filter are of the first one until a document comes again, then of the second, and so on.
    """
    text = file.read_text(encoding="utf-8")
    lines = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    found: Lines = {}
    for line in lines:
        name = line.get("filter") or next(
            one for one in filters or ["none"] if all(line["doc_id"] != seen["doc_id"] for seen in found.get(one, []))
        )
        found.setdefault(name, []).append(line)
    return found


def scores(line: Mapping[str, Any]) -> list[float]:
    """The loglikelihood of every request, as text or as a number."""

    def bare(value: Any) -> float:
        return bare(value[0]) if isinstance(value, list) else float(value)

    return [bare(first) for first in line["filtered_resps"]]


def words(line: Mapping[str, Any]) -> str:
    """The text that a filter left: of the first request, and, in a list, of its first repeat."""
    found = line["filtered_resps"][0]
    return str(found[0] if isinstance(found, list) else found)


def best(line: Mapping[str, Any]) -> int:
    """Which request scored highest."""
    return max(range(len(scores(line))), key=lambda place: scores(line)[place])


def by_document(lines: list[dict[str, Any]], value: Callable[[dict[str, Any]], Any]) -> dict[int, Any]:
    """A value of every line by its document."""
    return {line["doc_id"]: value(line) for line in lines}


def mean(values: list[Any]) -> float:
    """Their mean, truth values as 1 and 0."""
    return sum(float(value) for value in values) / len(values)


def word_perplexity(lines: list[dict[str, Any]]) -> float:
    """exp of minus all loglikelihoods over all words."""
    total = sum(scores(line)[0] for line in lines)
    words = sum(line["word_perplexity"][1] for line in lines)
    return math.exp(-total / words)


def flips(before: dict[int, Any], after: dict[int, Any]) -> tuple[int, int, int, int]:
    """Right in both, wrong in both, lost, gained."""
    pairs = [(bool(before[number]), bool(after[number])) for number in before]
    return (
        pairs.count((True, True)), pairs.count((False, False)), pairs.count((True, False)), pairs.count((False, True))
    )  # fmt: skip

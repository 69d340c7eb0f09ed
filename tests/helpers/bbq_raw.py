"""Rows in BBQ's published format, made up here, for tests that need no real items."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

Answers = tuple[list[str], list[str], list[str]]
OLD_FIRST: Answers = (["aunt", "old"], ["niece", "nonOld"], ["Not known", "unknown"])


def raw_row(
    example_id: int = 0,
    *,
    category: str = "Age",
    question_index: str = "1",
    polarity: str = "neg",
    condition: str = "ambig",
    answers: Answers = OLD_FIRST,
    options: tuple[str, str, str] | None = None,
    stereotyped: tuple[str, ...] = ("old",),
    subcategory: str = "None",
    label: int = 2,
    **changes: Any,
) -> dict[str, Any]:
    """One row; `changes` replaces or adds top-level fields."""
    texts = options or tuple(f"The {a[0]}" if a[-1] != "unknown" else a[0] for a in answers)
    row = {
        "example_id": example_id,
        "question_index": question_index,
        "question_polarity": polarity,
        "context_condition": condition,
        "category": category,
        "answer_info": {f"ans{i}": answer for i, answer in enumerate(answers)},
        "additional_metadata": {
            "subcategory": subcategory,
            "stereotyped_groups": list(stereotyped),
            "version": "a",
            "source": "made up",
        },
        "context": f"Two people met at stop {example_id}.",
        "question": "Who missed the bus?",
        **{f"ans{i}": text for i, text in enumerate(texts)},
        "label": label,
    }
    return row | changes


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON lines, compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_text(content, encoding="utf-8")
    return path


def real_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a published file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

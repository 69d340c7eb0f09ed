"""What each task of this folder logs, and its lines counted by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import raw_logs

ASKED = (
    "fam_choice", "fam_blank", "fam_truth", "fam_sums", "fam_answer", "fam_rules", "fam_passes", "fam_cloze",
    "fam_page", "fam_sense", "fam_both", "fam_pairs", "fam_compass",
)  # fmt: skip
"""What lm_eval is asked for; the last is a group of two tasks."""


def _geometric(values: list[float]) -> float:
    return math.exp(-sum(values) / len(values))


@dataclass(frozen=True)
class Logged:
    """One task under one filter."""

    decides: str | None
    """The metric that says right or wrong; None where none is 0 or 1 in every line and higher for the better."""
    means: tuple[str, ...]
    """All metrics that are a number in each line and whose aggregate is their mean."""
    options: int = 0
    """Options of a document; 0 where texts or a single continuation are asked for."""
    other: tuple[tuple[str, Callable[[list[float]], float]], ...] = ()
    """Metrics that are a number in each line, and another aggregate of it."""
    lists: tuple[str, ...] = ()
    """Metrics that are a list in each line, of which only the results file knows an aggregate."""


FAMILIES: dict[tuple[str, str], Logged] = {
    ("fam_choice", "none"): Logged("acc", ("acc", "acc_norm", "acc_mutual_info"), 3),
    ("fam_blank", "none"): Logged("acc", ("acc",), 2),
    ("fam_truth", "none"): Logged(None, ("acc",), 3),
    ("fam_sums", "strict-match"): Logged("exact_match", ("exact_match",)),
    ("fam_sums", "flexible-extract"): Logged("exact_match", ("exact_match",)),
    ("fam_answer", "none"): Logged("exact_match", ("exact_match", "f1", "bleu_acc"), lists=("bleu",)),
    ("fam_rules", "none"): Logged(
        "prompt_level_strict_acc", ("prompt_level_strict_acc",), lists=("inst_level_strict_acc",)
    ),
    ("fam_passes", "all-three"): Logged("pass@3", ("pass@1", "pass@3")),
    ("fam_cloze", "none"): Logged("acc", ("acc",), other=(("perplexity", _geometric),)),
    ("fam_sense", "none"): Logged(None, (), 2, lists=("mcc",)),
    ("fam_both", "none"): Logged("acc", ("acc",), 2, lists=("f1",)),
    ("fam_pairs", "none"): Logged(None, ("likelihood_diff", "pct_stereotype"), 2),
    ("fam_north", "none"): Logged("acc", ("acc", "acc_norm"), 2),
    ("fam_south", "none"): Logged("acc", ("acc", "acc_norm"), 2),
}
"""All but the rolling task, which has no items."""


@dataclass(frozen=True)
class Run:
    """One run's files."""

    folder: Path

    def lines(self, task: str, name: str) -> list[dict[str, Any]]:
        """The lines of a task under a filter, in order of the document."""
        (file,) = self.folder.rglob(f"samples_{task}_2*.jsonl")
        return sorted(raw_logs.raw_lines(file)[name], key=lambda line: int(line["doc_id"]))

    def results(self) -> dict[str, Any]:
        """The results file."""
        (file,) = self.folder.rglob("results_*.json")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def answer(line: dict[str, Any], options: int) -> Any:
    """What was answered: the likeliest option, or the texts."""
    if not options:
        return line["filtered_resps"]
    scores = raw_logs.scores(line)[:options]
    return scores.index(max(scores))

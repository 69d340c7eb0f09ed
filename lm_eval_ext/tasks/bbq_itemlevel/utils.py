"""What the YAML files of this folder call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval_ext.tasks import functions
from lm_eval_ext.tasks.functions import (
    CyclicTask,
    LettersTask,
    SampledTask,
    TextTask,
    aggregate_answered,
    aggregate_bias_amb,
    aggregate_bias_disamb,
    aggregate_rate,
    lettered_prompt,
    plain_prompt,
    process_cyclic,
    process_letters,
    process_sampled,
    process_text,
)

__all__ = [
    "CyclicTask",
    "LettersTask",
    "SampledTask",
    "TextTask",
    "aggregate_answered",
    "aggregate_bias_amb",
    "aggregate_bias_disamb",
    "aggregate_rate",
    "lettered_prompt",
    "load_items",
    "plain_prompt",
    "process_cyclic",
    "process_letters",
    "process_sampled",
    "process_text",
]


def load_items(
    task_categories: Sequence[str] | None = None,
    task_condition: str | None = None,
    task_source: str | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Load BBQ's items (see `load_bbq`), in the order in which they are asked."""
    own = {"task_categories": task_categories, "task_condition": task_condition, "task_source": task_source}
    return functions.load_items("bbq", **own, **metadata)

"""What the YAML files of this folder call of their own; the rest is general (`lm_eval_ext.tasks.functions`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval_ext.tasks import functions

__all__ = ["load_items"]


def load_items(
    task_categories: Sequence[str] | None = None,
    task_condition: str | None = None,
    task_source: str | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Load BBQ's items (see `load_bbq`), in the order in which they are asked."""
    own = {"task_categories": task_categories, "task_condition": task_condition, "task_source": task_source}
    return functions.load_items("bbq", **own, **metadata)

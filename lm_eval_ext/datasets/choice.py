"""Which of a data set's categories are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.errors import UserError, unknown_name

__all__ = ["narrowed"]


def narrowed(key: str, metadata: Mapping[str, Any], known: Sequence[str]) -> Sequence[str] | None:
    """The categories to read: the user's, of the task's.

    Args:
        key: The user's key of the metadata, "bbq_categories": a name or a list of names.
        metadata: Holds it, or not; `task_categories` holds the task's.
        known: All that the data set has.

    Returns:
        Those that the user wants, in the task's order; the task's if none is named, None if it has none of its own.

    Raises:
        UserError: If the user's are no names, or other than the task's.
    """
    own, wanted = metadata.get("task_categories"), metadata.get(key)
    if wanted is None:
        return own
    known = known if own is None else own
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not names:
        raise UserError(f"{key}: expected a list of categories such as {list(known[:2])}, got {wanted!r}")
    for name in names:
        if name not in known:
            raise unknown_name(f"category of this task in {key}", str(name), list(known))
    return [name for name in known if name in names]

"""Columns that several tables share."""

from __future__ import annotations

from .columns import Column, number, text

__all__ = [
    "BASELINE",
    "CATEGORY",
    "CONDITION",
    "FILTER",
    "KEYS",
    "OWN_BASELINE",
    "RUN",
    "STATUS",
    "SUBSET",
    "TASK",
    "against_baseline",
]

RUN = text("run", "Label of the run.")
BASELINE = text("baseline", "Label of the run it is compared with.")


OWN_BASELINE = text("baseline", "Label of the run it is compared with; missing for a baseline.", nullable=True)
TASK = text("task", "lm-eval task name.")
FILTER = text("filter", "lm-eval filter of the answers; 'none' where there is none.")
CONDITION = text("condition", "ambig or disambig; 'none' where the benchmark has no such split.")
CATEGORY = text("category", "Category of the items, or 'all' for all of the task's items pooled.")
SUBSET = text("subset", "all, or latent: only items whose baseline item SRS is at least 0.2.")
STATUS = text("status", "'ok', or the reason why the row holds no result.")


def against_baseline(name: str, *, percent: bool = False) -> tuple[Column, ...]:
    """The baseline's value of a quantity and the change from it; a baseline is its own baseline."""
    columns = (
        number(f"{name}_baseline", f"{name} of the baseline on the same items."),
        number(f"{name}_delta", f"{name} minus {name}_baseline."),
    )
    change = number(f"{name}_pct_change", f"100 x {name}_delta / {name}_baseline; missing at a baseline of 0.")
    return (*columns, change) if percent else columns


KEYS: tuple[Column, ...] = (
    RUN,
    BASELINE,
    TASK,
    FILTER,
    CONDITION,
    text("category", "Category of the items, or 'all' for a task's categories pooled (where it has several)."),
)
"""What names a comparison in a table."""

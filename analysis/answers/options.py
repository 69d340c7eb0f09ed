"""What an item's options offer: which axes they lie on, and how many there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..schema.schemes import AXES

__all__ = ["OFFERS", "offered_axes", "with_options"]

OFFERS = [f"offers_{axis}" for axis in AXES]
"""Columns that say whether an option of the item lies on each axis."""


def with_options(table: pd.DataFrame, option_axes: pd.Series) -> pd.DataFrame:
    """Add to a table of items what their options offer.

    Args:
        table: One row an item.
        option_axes: Column option_axes of ITEMS for the same items, in the same order.

    Returns:
        The table with OFFERS (false where the item has no direction), `n_options` (0 there), and `told_apart`: whether
        no two options lie on one axis, so that the axis tells which was chosen.
    """
    code, texts = pd.factorize(option_axes.astype("object"))
    # The last row serves code -1, a missing text.
    facts = np.array([*(_facts(str(text)) for text in texts), _facts("")])[code]
    for place, name in enumerate(OFFERS):
        table[name] = facts[:, place] > 0
    table["n_options"] = facts[:, -1]
    table["told_apart"] = np.max(facts[:, :-1], axis=1) <= 1
    return table


def offered_axes(offers: npt.NDArray[np.bool_]) -> frozenset[str]:
    """The axes that some of the items offer an option on, from their OFFERS: [items, AXES]."""
    return frozenset(axis for place, axis in enumerate(AXES) if offers[:, place].any())


def _facts(option_axes: str) -> list[int]:
    """Options on each of AXES, and all options."""
    axes = option_axes.split(" | ") if option_axes else []
    return [*(axes.count(axis) for axis in AXES), len(axes)]

"""What an item's options offer: which axes they lie on, and how many there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..schema.schemes import AXES, scheme_of

__all__ = ["OFFERS", "offered_axes", "with_options"]

OFFERS = [f"offers_{axis}" for axis in AXES]
"""Columns that say whether an option of the item lies on each axis."""


def with_options(table: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of items what their options offer.

    Args:
        table: One row an item.
        items: The same items, in the same order: columns scheme and option_roles of ITEMS.

    Returns:
        The table with OFFERS (false where the item has no direction) and `n_options`, NaN where the log does not tell.
    """
    scheme, roles = (_texts(items, name) for name in ("scheme", "option_roles"))
    pairs = pd.MultiIndex.from_arrays([scheme, roles])
    code, distinct = pd.factorize(pairs)
    facts = np.array([_facts(*pair) for pair in distinct], dtype=float).reshape(len(distinct), len(AXES) + 1)[code]
    for place, name in enumerate(OFFERS):
        table[name] = facts[:, place] > 0
    table["n_options"] = facts[:, -1]
    return table


def offered_axes(offers: npt.NDArray[np.bool_]) -> frozenset[str]:
    """The axes that some of the items offer an option on, from their OFFERS: [items, AXES]."""
    return frozenset(axis for place, axis in enumerate(AXES) if offers[:, place].any())


def _texts(items: pd.DataFrame, name: str) -> npt.NDArray[np.object_]:
    values = items[name].astype("object") if name in items else pd.Series(None, index=items.index, dtype="object")
    return np.asarray(values.where(values.notna(), ""), dtype=object)


def _facts(scheme: str, roles: str) -> list[float]:
    """Options on each axis, and all options; NaN for unknown."""
    names = roles.split(" | ") if roles else []
    found = scheme_of(scheme) if scheme else None
    axes = [found.axis(name) for name in names or found.axes] if found is not None else []
    return [*(float(axes.count(axis)) for axis in AXES), float(len(names)) if names else np.nan]

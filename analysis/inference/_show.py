"""How a number is written where people read it."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["shown"]


def shown(name: str, value: object, decimals: int) -> str:
    """A cell of the column `name` as text: numbers rounded, p-values never 0, a missing value as "-"."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if name.startswith("p_") and value < 10.0**-decimals:
        return f"<{10.0**-decimals:.{decimals}f}"
    if value != 0 and abs(value) >= 1e6:
        return f"{value:.{decimals}g}"
    return f"{value:g}" if name == "level" else f"{value:.{decimals}f}"

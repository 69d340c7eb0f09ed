"""A score that an engine did not tell, only bound."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["Bound"]


class Bound(float):
    """A log-likelihood that is not known, but for what it can be at most.

    As a number it is NaN, so that whatever takes it for a value gets none.
    """

    upper: float
    """Natural log of the most that the probability can be."""
    left: float
    """Natural log of the probability that all tokens which were not listed have together; -inf for none."""

    def __new__(cls, upper: float, left: float) -> Bound:
        """Make one; both at most 0, `upper` at most `left`."""
        made = super().__new__(cls, math.nan)
        made.upper, made.left = min(upper, left), left
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles keep what is known."""
        return Bound, (self.upper, self.left)

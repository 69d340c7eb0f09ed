"""What is zero up to rounding is zero: one rule for every standard error of this package.

A sum whose true value is 0 comes out as 0 or as some 1e-17, and which of the two depends on the order in which a
processor adds: on its BLAS kernel and on the number of threads. A standard error of 1e-17 is an interval of no width
and a p-value of 0, where an error of 0 says that nothing is known of it. The difference must not hang on the processor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["RELATIVE", "settled"]

RELATIVE = 1e-10
"""Share of the size of its summands below which a sum is 0.

Adding up 60,000 equal numbers one by one is off by some 1e-12 of the sum; scores come in float32, good to 1e-7.
"""


def settled(value: npt.ArrayLike, scale: npt.ArrayLike, relative: float = RELATIVE) -> npt.NDArray[np.float64]:
    """The values, with 0 in place of what is only rounding.

    Args:
        value: Sums, differences or standard errors of any shape; NaN and infinities stay.
        scale: Size of what was added up or taken apart (the sum of the absolute summands), at least 0; broadcast.
        relative: Larger for what a search gives that stops earlier than rounding does.

    Returns:
        0 where |value| <= relative x scale, the value elsewhere.
    """
    given = np.asarray(value, dtype=np.float64)
    return np.where(np.abs(given) <= relative * np.asarray(scale), 0.0, given)

"""Many tests at once: Holm's and Benjamini and Hochberg's p-values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["benjamini_hochberg", "holm"]

Floats = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's step-down p-values (1979): no wrong rejection in the family with probability 1 - alpha.

    Args:
        p_values: [tests] raw p-values; NaN where there was no test, which is not part of the family.

    Returns:
        [tests] corrected p-values; NaN where the raw one is.
    """
    return _adjusted(p_values, lambda p, n: np.maximum.accumulate(p * (n - np.arange(len(p)))))


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """Benjamini and Hochberg's p-values (1995): the expected share of wrong ones among the rejections is alpha.

    Args:
        p_values: [tests] as for `holm`.

    Returns:
        [tests] corrected p-values; NaN where the raw one is.
    """
    return _adjusted(p_values, lambda p, n: np.minimum.accumulate((p * n / np.arange(1, n + 1))[::-1])[::-1])


def _adjusted(p_values: npt.ArrayLike, step: Callable[[Floats, int], Floats]) -> Floats:
    raw = np.asarray(p_values, dtype=np.float64)
    out = np.full(raw.shape, np.nan)
    there = np.flatnonzero(~np.isnan(raw))
    if len(there):
        order = there[np.argsort(raw[there], kind="stable")]
        out[order] = np.minimum(1.0, step(raw[order], len(order)))
    return out

"""Many tests at once: Holm's and Benjamini and Hochberg's p-values, and simultaneous intervals by the largest |t|."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["benjamini_hochberg", "critical_max_t", "holm"]

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


def critical_max_t(deviations: Floats, std_errors: Floats, level: float = 0.95) -> float:
    """Quantile of the largest |deviation| / std_error over a family: the reach of simultaneous intervals, in errors.

    Args:
        deviations: [draws, members] resampled estimates minus the observed ones, drawn together for all members.
        std_errors: [members] positive; members with none (0 or NaN) are left out.
        level: Simultaneous level.

    Returns:
        The critical value; NaN if no member has an error.
    """
    kept = std_errors > 0
    if not kept.any():
        return float("nan")
    largest = np.nanmax(np.abs(deviations[:, kept]) / std_errors[kept], axis=1)
    return float(np.quantile(largest, level))


def _adjusted(p_values: npt.ArrayLike, step: Callable[[Floats, int], Floats]) -> Floats:
    raw = np.asarray(p_values, dtype=np.float64)
    out = np.full(raw.shape, np.nan)
    there = np.flatnonzero(~np.isnan(raw))
    if len(there):
        order = there[np.argsort(raw[there], kind="stable")]
        out[order] = np.minimum(1.0, step(raw[order], len(order)))
    return out

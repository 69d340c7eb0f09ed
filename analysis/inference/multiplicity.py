"""Many tests at once: Holm's and Benjamini and Hochberg's p-values, and simultaneous intervals by the largest |t|."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.inference.result import Estimate, Result

__all__ = ["benjamini_hochberg", "holm", "max_t"]

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


def max_t(
    estimates: npt.ArrayLike,
    std_errors: npt.ArrayLike,
    null_draws: npt.ArrayLike,
    *,
    level: float = 0.95,
    names: Sequence[str] | None = None,
) -> Result:
    """Intervals and p-values that hold for all members of a family at once, by the largest |t| (Westfall & Young 1993).

    Each draw gives all members an estimate under no change, from the same resampled or exchanged clusters, so that
    members that share clusters move together as they do in the data. The (level)-quantile c of the draws' largest
    |draw| / std_error makes intervals estimate +- c std_error; a member's p-value is (b + 1) / (m + 1), with b of the
    m draws whose largest reaches the member's own |t|. c is at least that of one member and at most Bonferroni's.

    Args:
        estimates: [members] changes; NaN where there is none.
        std_errors: [members] their standard errors; members without a positive one are not in the family.
        null_draws: [draws, members] bootstrapped estimates minus the observed ones, or the estimates of exchanged runs
            (`sign_flip`). NaN where a draw says nothing of a member: it then has no say in the draw's largest.
        level: Simultaneous level.
        names: Terms of the members; their numbers otherwise.

    Returns:
        A term per member, with p_value and interval where it is in the family. Facts: family_size, critical_value, and
        what the largest |estimate| of the family would be without any change: null_largest_median and
        null_largest_quantile (at `level`). Without a member in the family the status says so.

    Raises:
        ValueError: If the shapes do not fit together or there is no draw.
    """
    values, errors, draws = (np.asarray(given, dtype=np.float64) for given in (estimates, std_errors, null_draws))
    if values.ndim != 1 or errors.shape != values.shape or draws.ndim != 2 or draws.shape[1:] != values.shape:
        raise ValueError(f"expected [m], [m] and [draws, m], got {values.shape}, {errors.shape} and {draws.shape}")
    if not len(draws):
        raise ValueError("expected at least one draw, got none")
    inside = np.flatnonzero((errors > 0) & np.isfinite(errors) & ~np.isnan(values))
    terms = [str(name) for name in (names if names is not None else range(len(values)))]
    whole = Result(method="largest |t| of the family", n=len(values), level=level)
    if not len(inside):
        plain = tuple(Estimate(term=term, estimate=value) for term, value in zip(terms, values, strict=True))
        return replace(whole, estimates=plain, facts={"family_size": 0}, status="no member has a standard error")
    away = np.nan_to_num(np.abs(draws[:, inside]), nan=0.0)
    largest = (away / errors[inside]).max(axis=1)
    critical = float(np.quantile(largest, level, method="higher"))
    found = []
    for number, (term, value, error) in enumerate(zip(terms, values, errors, strict=True)):
        if number not in inside:
            found.append(Estimate(term=term, estimate=value))
            continue
        statistic, reach = value / error, critical * error
        p_value = (np.count_nonzero(largest >= abs(statistic) - 1e-9) + 1) / (len(largest) + 1)
        ends = {"conf_low": value - reach, "conf_high": value + reach}
        found.append(Estimate(term=term, estimate=value, std_error=error, statistic=statistic, p_value=p_value, **ends))
    facts = {
        "family_size": len(inside),
        "critical_value": critical,
        "draws": len(draws),
        "null_largest_median": float(np.median(away.max(axis=1))),
        "null_largest_quantile": float(np.quantile(away.max(axis=1), level, method="higher")),
    }
    out = len(values) - len(inside)
    status = f"{out} of {len(values)} members have no standard error and are not in the family" if out else "ok"
    return replace(whole, estimates=tuple(found), facts=facts, status=status)


def _adjusted(p_values: npt.ArrayLike, step: Callable[[Floats, int], Floats]) -> Floats:
    raw = np.asarray(p_values, dtype=np.float64)
    out = np.full(raw.shape, np.nan)
    there = np.flatnonzero(~np.isnan(raw))
    if len(there):
        order = there[np.argsort(raw[there], kind="stable")]
        out[order] = np.minimum(1.0, step(raw[order], len(order)))
    return out

"""The words of a row: changed, equivalent, undecided; and the textbook's test of equivalence.

The tables take `analysis.inference.bounded` instead of `tost`, which claims too often where few clusters move much.
"""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

from .result import Estimate, Result

__all__ = ["tost", "verdict"]


def tost(difference: float, std_error: float, df: float, margin: float, *, alpha: float = 0.05) -> Result:
    """Two one-sided t-tests that a difference lies inside (-margin, margin) (Schuirmann 1987).

    Args:
        difference: Estimate.
        std_error: Its standard error, positive.
        df: Degrees of freedom of Student's t; infinite for a normal.
        margin: Positive, in the difference's unit.
        alpha: Level of each test: the interval is the 1 - 2 alpha one, which lies inside the margin exactly if
            p_value < alpha.

    Returns:
        Term "difference"; its p_value is the larger of the two.

    Raises:
        ValueError: If `margin` or `std_error` is not positive.
    """
    if not (margin > 0 and std_error > 0):
        raise ValueError(f"expected a positive margin and standard error, got {margin} and {std_error}")
    p_value = max(
        float(stdtr(df, -(difference + margin) / std_error)),
        float(stdtr(df, (difference - margin) / std_error)),
    )
    reach = float(stdtrit(df, 1 - alpha)) * std_error
    estimate = Estimate(
        term="difference",
        estimate=difference,
        std_error=std_error,
        df=df,
        p_value=p_value,
        conf_low=difference - reach,
        conf_high=difference + reach,
    )
    return Result(
        method="two one-sided t-tests",
        estimates=(estimate,),
        level=1 - 2 * alpha,
        alternative=f"inside {margin:g} either way",
        facts={"margin": margin},
    )


def verdict(p_value: float | None, p_equivalence: float | None, *, alpha: float = 0.05) -> str:
    """Say "changed", "equivalent" or "undecided".

    Equivalent comes first: a change that is told from 0 and lies within the margin is one that the margin allows.

    Args:
        p_value: Of the test of no change, corrected for multiplicity; None without a test.
        p_equivalence: Of the test of equivalence; None without one.
        alpha: Level of both.
    """
    if p_equivalence is not None and p_equivalence < alpha:
        return "equivalent"
    return "changed" if p_value is not None and p_value < alpha else "undecided"

"""When "unchanged" may be said: two one-sided tests against a margin, and what this much data could have seen."""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

from .result import Estimate, Result

__all__ = ["smallest_detectable", "tost", "unchanged", "verdict"]


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


def unchanged(clusters: int, margin: float, *, span: float = 1.0, alpha: float = 0.05) -> Result:
    """Equivalence where no cluster changed at all, which leaves no standard error to test with.

    A cluster's change is at most `span`, so a change of `margin` over the population of (equally large) clusters means
    that a share of margin / span of them or more changes, and none of those drawn does with a chance of at most
    (1 - margin / span)^clusters: the p-value. The interval follows (the "rule of three" of rare events).

    Args:
        clusters: Independent ones, none of which changed; at least 1.
        margin: Positive, in the measure's unit.
        span: Width of the measure's range: 1 for a share, 2 for a bias score.
        alpha: Level of each side: the interval is the 1 - 2 alpha one, inside the margin exactly if p_value < alpha.

    Returns:
        Term "difference", estimate 0.

    Raises:
        ValueError: If `margin` is not positive or there is no cluster.
    """
    if not (margin > 0 and clusters > 0):
        raise ValueError(f"expected a positive margin and clusters, got {margin} and {clusters}")
    reach = span * (1 - alpha ** (1 / clusters))
    p_value = max(0.0, 1 - margin / span) ** clusters
    return Result(
        method="share of clusters that change, none observed",
        estimates=(Estimate(term="difference", estimate=0.0, p_value=p_value, conf_low=-reach, conf_high=reach),),
        n=clusters,
        n_clusters=clusters,
        level=1 - 2 * alpha,
        alternative=f"inside {margin:g} either way",
        facts={"margin": margin},
    )


def verdict(p_value: float | None, p_equivalence: float | None, *, alpha: float = 0.05) -> str:
    """Say "changed", "equivalent" or "undecided".

    Equivalent comes first: a change that is told from 0 and lies within the margin is one that the margin allows.

    Args:
        p_value: Of the test of no change, corrected for multiplicity; None without a test.
        p_equivalence: Of `tost`; None without one.
        alpha: Level of both.
    """
    if p_equivalence is not None and p_equivalence < alpha:
        return "equivalent"
    return "changed" if p_value is not None and p_value < alpha else "undecided"


def smallest_detectable(std_error: float, df: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided t-test finds with the given power: (t_1-alpha/2 + t_power) x SE."""
    return float((stdtrit(df, 1 - alpha / 2) + stdtrit(df, power)) * std_error)

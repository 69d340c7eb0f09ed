"""McNemar's test of a paired yes or no, with the effects that belong to it. Pairs are taken as independent."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

from analysis.inference.result import Estimate, Result

__all__ = ["mcnemar", "tango_interval"]


def mcnemar(lost: int, gained: int, n: int, *, level: float = 0.95) -> Result:
    """Compare two answers to the same items, yes or no each.

    Given the discordant pairs, the gained ones are binomial with probability 1/2 if nothing changed. The exact p-value
    is twice the smaller tail; the mid-p-value counts half of the observed outcome, and is less conservative (Fagerland,
    Lydersen & Laake 2013). The odds ratio is gained / lost with Clopper and Pearson's interval of the gained share; the
    risk difference is (gained - lost) / n with Tango's score interval (1998).

    Args:
        lost: Pairs with yes at baseline and no afterwards.
        gained: Pairs with no at baseline and yes afterwards.
        n: All pairs.
        level: Of the intervals.

    Returns:
        Terms risk_difference (p_value is the exact one), mid_p (p_value only) and odds_ratio, which is missing without
        a lost pair, its interval then open upwards. Without a discordant pair p is 1 and the status says so; without a
        pair there is no term.

    Raises:
        ValueError: If the counts do not fit together.
    """
    if min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"expected 0 <= lost + gained <= n, got lost={lost}, gained={gained}, n={n}")
    method = "McNemar's exact test, pairs independent"
    if n == 0:
        return Result(method=method, level=level, status="no pair")
    discordant = lost + gained
    smaller = min(lost, gained)
    exact = min(1.0, 2 * float(binom.cdf(smaller, discordant, 0.5)))
    mid = (
        1.0
        if lost == gained
        else 2 * float(binom.cdf(smaller, discordant, 0.5)) - float(binom.pmf(smaller, discordant, 0.5))
    )
    low, high = tango_interval(lost, gained, n, level=level)
    estimates = [
        Estimate(term="risk_difference", estimate=(gained - lost) / n, p_value=exact, conf_low=low, conf_high=high),
        Estimate(term="mid_p", p_value=mid),
    ]
    if discordant:
        alpha = 1 - level
        bottom = float(beta.ppf(alpha / 2, gained, lost + 1)) if gained else 0.0
        top = float(beta.ppf(1 - alpha / 2, gained + 1, lost)) if lost else 1.0
        estimates.append(
            Estimate(
                term="odds_ratio",
                estimate=gained / lost if lost else None,
                conf_low=bottom / (1 - bottom),
                conf_high=top / (1 - top) if top < 1 else None,
            )
        )
    status = "ok" if discordant else "no discordant pair"
    return Result(method=method, estimates=tuple(estimates), n=n, n_events=discordant, level=level, status=status)


def tango_interval(lost: int, gained: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of a paired risk difference (gained - lost) / n (Statistics in Medicine 1998).

    The differences at which the score statistic, with the discordant probability at its maximum likelihood under that
    difference, reaches the normal quantile.

    Args:
        lost: Pairs with yes, then no.
        gained: Pairs with no, then yes.
        n: All pairs, at least 1.
        level: Of the interval.

    Returns:
        Both ends, in [-1, 1]; of positive width without a discordant pair too.
    """
    z = float(norm.ppf((1 + level) / 2))
    estimate = (gained - lost) / n

    def score(difference: float) -> float:
        a = 2 * n
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        q = (np.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + difference * (1 - difference))
        distance = gained - lost - n * difference
        if distance == 0:
            return 0.0
        return float(distance / np.sqrt(variance)) if variance > 0 else float(np.copysign(np.inf, distance))

    def end(edge: float, target: float) -> float:
        # At the edge the score is infinite or the target is never reached.
        inner = edge * (1 - 1e-12)
        if estimate == edge or (score(inner) - target) * (0 - target) > 0:
            return edge
        return float(brentq(lambda difference: score(difference) - target, estimate, inner, xtol=1e-12))

    return end(-1.0, z), end(1.0, -z)

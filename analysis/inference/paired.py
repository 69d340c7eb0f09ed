"""McNemar's test of a paired yes or no, with the effects that belong to it. Pairs are taken as independent."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import bdtr
from scipy.stats import beta, binom, chi2, norm

from .result import Estimate, Result

__all__ = ["mcnemar", "tango_interval"]


def mcnemar(lost: int, gained: int, n: int, *, level: float = 0.95) -> Result:
    """Compare two answers to the same items, yes or no each.

    Given the discordant pairs, the gained ones are binomial with probability 1/2 if nothing changed. The exact p-value
    is twice the smaller tail; the mid-p-value counts half of the observed outcome, and is less conservative (Fagerland,
    Lydersen & Laake 2013); the chi-squared statistic (gained - lost)^2 / (gained + lost), without a continuity
    correction, approximates both. The odds ratio is gained / lost, its interval that of the gained share as odds:
    Clopper and Pearson's, and the mid-p one, which is shorter. The risk difference is (gained - lost) / n with Tango's
    score interval (1998).

    Args:
        lost: Pairs with yes at baseline and no afterwards.
        gained: Pairs with no at baseline and yes afterwards.
        n: All pairs.
        level: Of the intervals.

    Returns:
        Terms risk_difference (p_value is the exact one), mid_p (p_value only), chi_squared, odds_ratio and
        odds_ratio_mid_p. An odds ratio is missing without a lost pair, its interval then open upwards. Without a
        discordant pair p is 1, the status says so and there are only the first two terms; without a pair, none.

    Raises:
        ValueError: If the counts do not fit together.
    """
    if min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"expected 0 <= lost + gained <= n, got lost={lost}, gained={gained}, n={n}")
    method = "McNemar's exact test, pairs independent"
    if n == 0:
        return Result(method=method, level=level, status="no pair")
    discordant, smaller = lost + gained, min(lost, gained)
    exact = min(1.0, 2 * float(bdtr(smaller, discordant, 0.5)))
    # Half of the outcomes as likely as the one observed: both of them, or the single one in the middle.
    observed = float(binom.pmf(smaller, discordant, 0.5))
    mid = (1 - observed / 2 if discordant else 1.0) if lost == gained else exact - observed
    low, high = tango_interval(lost, gained, n, level=level)
    estimates = [
        Estimate(term="risk_difference", estimate=(gained - lost) / n, p_value=exact, conf_low=low, conf_high=high),
        Estimate(term="mid_p", p_value=mid),
    ]
    if discordant:
        statistic = (gained - lost) ** 2 / discordant
        estimates += [
            Estimate(term="chi_squared", statistic=statistic, df=1, p_value=float(chi2.sf(statistic, 1))),
            _odds("odds_ratio", lost, gained, _clopper_pearson(gained, discordant, level)),
            _odds("odds_ratio_mid_p", lost, gained, _mid_p_interval(gained, discordant, level)),
        ]
    status = "ok" if discordant else "no discordant pair"
    return Result(method=method, estimates=tuple(estimates), n=n, n_events=discordant, level=level, status=status)


def _odds(term: str, lost: int, gained: int, share: tuple[float, float]) -> Estimate:
    """Odds of the gained share, from the share's interval."""
    low, high = share
    return Estimate(
        term=term,
        estimate=gained / lost if lost else None,
        conf_low=low / (1 - low),
        conf_high=high / (1 - high) if high < 1 else None,
    )


def _clopper_pearson(events: int, n: int, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, events, n - events + 1)) if events else 0.0
    return low, float(beta.ppf(1 - tail, events + 1, n - events)) if events < n else 1.0


def _mid_p_interval(events: int, n: int, level: float) -> tuple[float, float]:
    """Shares at which one tail, with half of the observed outcome, is (1 - level) / 2."""
    tail = (1 - level) / 2

    def below(share: float) -> float:
        fewer = bdtr(events - 1, n, share) if events else 0.0
        return float(bdtr(events, n, share) + fewer) / 2

    low = brentq(lambda share: 1 - below(share) - tail, 0.0, 1.0, xtol=1e-12) if events else 0.0
    high = brentq(lambda share: below(share) - tail, 0.0, 1.0, xtol=1e-12) if events < n else 1.0
    return float(low), float(high)


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
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + difference * (1 - difference))
        distance = gained - lost - n * difference
        if distance == 0:
            return 0.0
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    def end(edge: float, target: float) -> float:
        # At the edge the score is infinite or the target is never reached.
        inner = edge * (1 - 1e-12)
        if estimate == edge or (score(inner) - target) * (0 - target) > 0:
            return edge
        return float(brentq(lambda difference: score(difference) - target, estimate, inner, xtol=1e-12))

    return end(-1.0, z), end(1.0, -z)

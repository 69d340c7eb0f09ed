"""Many categories' changes at once: how likely is each, and any, beyond a margin, given what the others show?

Eleven categories of some templates each are told apart from nothing one by one. Together they say how much categories
differ, and how much templates do. Two kinds of category are allowed for:

* One like the others. Its change is y ~ N(theta, s^2) with theta ~ N(mu, tau^2). Its templates' moves vary partly as
  its own did and partly as the family's: s^2 is a moderated variance (Smyth 2004). So a category where nothing changed
  is known from the others' templates, and so is one of a single template.
* One in five (APART) is apart, and learns nothing from the others: what is known of it is the interval of
  `analysis.inference.bounded`, which assumes no more than how far a template may move.

mu has a flat prior, tau one that is flat from 0 to the reach (Gelman 2006): among categories alike the mode of tau is
its restricted-likelihood estimate. Both are integrated over, not plugged in. All of it is a sum over a grid: exact, and
nothing is drawn. Categories are taken as independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr, ndtri, stdtrit

from ._rounding import settled
from .bounded import Moves, interval

__all__ = ["APART", "FEWEST", "FROM_FAMILY", "Own", "Pooled", "pool"]

Floats = npt.NDArray[np.float64]

APART = 0.2
"""Prior chance that a category is not like the others."""
FEWEST = 3
"""Categories from which a spread between them can be told; fewer are each taken by themselves."""
FROM_FAMILY = 4.0
"""Templates that the family's variance counts as, beside a category's own."""
_MANY = 400.0
"""Effective templates from which the bounded interval is the t interval (terms of 1 / G)."""
_TAUS, _MUS, _REACHED = 33, 33, 6.0
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Own:
    """What one category says by itself."""

    std_error: float
    """Of its mean change, over templates; 0 where templates do not differ, NaN for one template."""
    df: float
    """Effective templates minus 1."""
    low: float
    """Lower end of the interval of `analysis.inference.bounded`."""
    high: float


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Posterior of the categories' true changes, in the measure's unit."""

    own: tuple[Own, ...]
    """What each category says by itself."""
    mean: Floats
    """[k] posterior means; with missing answers, halfway between the lowest and the highest that they allow."""
    low: Floats
    """[k] lower ends of the posterior intervals; with missing answers at the lowest that they allow."""
    high: Floats
    beyond: Floats
    """[k] chance that the change is larger than the margin, either way; with missing answers an upper bound."""
    any_beyond: float
    """Chance that at least one category's is; an upper bound likewise."""
    common: float
    """Posterior mean of mu: what a category like these changes by."""
    tau: float
    """Posterior median of the standard deviation between categories; NaN where they are not pooled."""


def pool(low: Sequence[Moves], high: Sequence[Moves], margin: float, level: float) -> Pooled:
    """Pool categories partly.

    With missing answers a category's change may be any between two values. At given tau its chance of lying above the
    margin rises with every category's change, so that the largest is P(above | all highest) + P(below | all lowest).
    That sum is what is given: with nothing missing it is the chance itself.

    Args:
        low: Moves per category at the lowest that missing answers allow; none without templates.
        high: At the highest; equal to `low` where none is missing.
        margin: Positive, in the measure's unit.
        level: Level of the posterior intervals, in (0, 1).

    Raises:
        ValueError: If there is no category, or one without templates.
    """
    if not len(low) or not all(len(moves.n) for moves in (*low, *high)):
        raise ValueError("expected categories of at least one template with answers each")
    ends = np.array([_ends(one, level) for one in low])
    bottom = top = _posterior(low, ends, margin, level)
    tops = ends
    if any(one is not other and not np.array_equal(one.net, other.net) for one, other in zip(low, high, strict=True)):
        tops = np.array([_ends(one, level) for one in high])
        top = _posterior(high, tops, margin, level)
    span = low[0].span
    means, lows, highs = (
        np.clip(values, -span, span) for values in ((bottom.mean + top.mean) / 2, bottom.ends[0], top.ends[1])
    )
    return Pooled(
        own=tuple(map(_own, low, high, ends[:, 0], tops[:, 1])),
        mean=means,
        low=lows,
        high=highs,
        beyond=np.minimum(1.0, top.above + bottom.below),
        any_beyond=bottom.any_beyond if top is bottom else min(1.0, top.any_above + bottom.any_below),
        common=(bottom.common + top.common) / 2,
        tau=max(bottom.tau, top.tau),
    )


def _own(low: Moves, high: Moves, bottom: float, top: float) -> Own:
    spread = max(_spread(low), _spread(high))
    error = spread / low.effective**0.5 if low.effective > 1 + _TINY else float("nan")
    return Own(std_error=error, df=low.effective - 1, low=float(bottom), high=float(top))


@dataclass(frozen=True, kw_only=True)
class _Posterior:
    mean: Floats
    ends: tuple[Floats, Floats]
    above: Floats
    below: Floats
    any_above: float
    any_below: float
    any_beyond: float
    common: float
    tau: float


def _posterior(moves: Sequence[Moves], ends: Floats, margin: float, level: float) -> _Posterior:
    """Of categories without missing answers; `ends` has each one's own interval."""
    z = -float(ndtri((1 - level) / 2))
    middle, alone = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / (2 * z)
    alone = np.maximum(alone, _TINY)
    if len(moves) < FEWEST:
        shape = (1, 1, 1, len(moves))
        return _read(
            np.ones((1, 1)), np.ones(shape), middle.reshape(shape), alone.reshape(shape), margin, level, None, None
        )
    estimate = np.array([one.estimate for one in moves])
    error = _moderated(moves, level)
    reach = max(one.reach * one.span for one in moves)
    tau, prior = _taus(float(error.min()), reach)
    mu, width = _mus(estimate, error, tau)
    # [tau, mu, kind, category]: of the kind like the others, and of the kind apart.
    like = error**2 + tau[:, None, None] ** 2
    log_like = np.log1p(-APART) - 0.5 * (estimate - mu[:, :, None]) ** 2 / like - 0.5 * np.log(like)
    far = alone**2 + (reach / 2) ** 2
    log_apart = np.log(APART) - 0.5 * middle**2 / far - 0.5 * np.log(far)
    parts = np.stack(np.broadcast_arrays(log_like, log_apart), axis=2)
    whole = logsumexp(parts, axis=2)
    weight = whole.sum(axis=-1) + np.log(prior)[:, None] + np.log(width)[:, None]
    weight = np.exp(weight - weight.max())
    pull = error**2 / like
    means = pull * mu[:, :, None] + (1 - pull) * estimate
    sds = np.broadcast_to(np.sqrt((1 - pull) * error**2), means.shape)
    keep = (reach / 2) ** 2 / far
    mean = np.stack([means, np.broadcast_to(keep * middle, means.shape)], axis=2)
    sd = np.stack([sds, np.broadcast_to(alone * np.sqrt(keep), means.shape)], axis=2)
    return _read(weight / weight.sum(), np.exp(parts - whole[:, :, None]), mean, sd, margin, level, mu, tau)


def _read(
    weight: Floats,
    kind: Floats,
    mean: Floats,
    sd: Floats,
    margin: float,
    level: float,
    mu: Floats | None,
    tau: Floats | None,
) -> _Posterior:
    """What a mixture of normals over [tau, mu, kind, category] says; tau and mu None where there is but one."""
    sd = np.maximum(sd, _TINY)
    above = (kind * ndtr((mean - margin) / sd)).sum(axis=2)
    below = (kind * ndtr((-margin - mean) / sd)).sum(axis=2)

    def some(chance: Floats) -> float:
        # Given mu and tau the categories are independent.
        none = np.exp(np.log1p(-np.minimum(chance, 1 - 1e-16)).sum(axis=-1))
        return float(np.clip(1 - (weight * none).sum(), 0.0, 1.0))

    shares = weight[:, :, None, None] * kind
    size = mean.shape[-1]
    own, middle, apart = (values.reshape(-1, size) for values in (shares, mean, sd))
    alpha = 1 - level
    return _Posterior(
        mean=(own * middle).sum(axis=0),
        ends=(_quantile(own, middle, apart, alpha / 2), _quantile(own, middle, apart, 1 - alpha / 2)),
        above=(weight[:, :, None] * above).sum(axis=(0, 1)),
        below=(weight[:, :, None] * below).sum(axis=(0, 1)),
        any_above=some(above),
        any_below=some(below),
        any_beyond=some(np.minimum(1.0, above + below)),
        common=float("nan") if mu is None else float((weight * mu).sum()),
        tau=float("nan") if tau is None else float(np.interp(0.5, np.cumsum(weight.sum(axis=1)), tau)),
    )


def _quantile(share: Floats, mean: Floats, sd: Floats, chance: float) -> Floats:
    """[k] a quantile of each column's mixture of normals, by halving."""
    kept = share.max(axis=1) > 1e-7
    share, mean, sd = share[kept], mean[kept], sd[kept]
    share = share / share.sum(axis=0)
    low, high = (mean - 8 * sd).min(axis=0), (mean + 8 * sd).max(axis=0)
    for _ in range(26):
        half = (low + high) / 2
        under = (share * ndtr((half - mean) / sd)).sum(axis=0) < chance
        low, high = np.where(under, half, low), np.where(under, high, half)
    return np.asarray((low + high) / 2)


def _spread(moves: Moves) -> float:
    """Standard deviation of one template's move, of templates of one size; 0 for one template."""
    if moves.effective <= 1 + _TINY:
        return 0.0
    share, df = moves.n / moves.n.sum(), moves.effective - 1
    apart = settled(moves.net / moves.n - moves.estimate, moves.span)
    return float(np.sqrt(np.square(share * apart).sum() * moves.effective / df * moves.effective))


def _moderated(moves: Sequence[Moves], level: float) -> Floats:
    """[k] standard errors, as those of a normal whose interval of the level is as wide as Student's.

    The family's variance of a template's move is pooled over the categories with one template more, that was not seen
    and moves as far as is allowed for: so that it is never 0, and less the more templates there are.
    """
    effective = np.array([one.effective for one in moves])
    df = effective - 1
    variance = np.square([_spread(one) for one in moves])
    bound = np.array([max(one.bound, one.turned.bound) for one in moves])
    unseen = float(effective @ bound**2 / effective.sum())
    family = (float(df @ variance) + unseen) / (float(df.sum()) + 1)
    mixed = (FROM_FAMILY * family + df * variance) / (FROM_FAMILY + df)
    tail = (1 - level) / 2
    return np.asarray(np.sqrt(mixed / effective) * stdtrit(FROM_FAMILY + df, 1 - tail) / -ndtri(tail))


def _ends(moves: Moves, level: float) -> tuple[float, float]:
    """Interval of the level by the bounded test; of many templates by Student's t, never shorter than if none moved."""
    spread = _spread(moves)
    if moves.effective < _MANY or not spread:
        return interval(moves, moves, level)
    tail = (1 - level) / 2
    half = float(stdtrit(moves.effective - 1, 1 - tail)) * spread / moves.effective**0.5
    half = max(half, moves.reach * moves.span * (1 - tail ** (1 / moves.effective)))
    return max(-moves.span, moves.estimate - half), min(moves.span, moves.estimate + half)


def _taus(smallest: float, reach: float) -> tuple[Floats, Floats]:
    """A grid of tau from 0 to the reach, dense where errors are small, with the width that each stands for."""
    tau = np.append(0.0, np.geomspace(min(smallest, reach) / _REACHED, reach, _TAUS - 1))
    step = np.diff(tau)
    return tau, np.append(step, 0.0) / 2 + np.append(0.0, step) / 2


def _mus(estimate: Floats, error: Floats, tau: Floats) -> tuple[Floats, Floats]:
    """[tau, mu] a grid of mu per tau around where the categories like each other lie, and its step."""
    total = error**2 + tau[:, None] ** 2
    centre = np.full(len(tau), float(np.median(estimate)))
    for _ in range(8):
        # Cauchy's weights: a category far away does not pull the grid along.
        pulled = 1 / total / (1 + (estimate - centre[:, None]) ** 2 / (4 * total))
        centre = (pulled * estimate).sum(axis=1) / pulled.sum(axis=1)
    sd = (1 / total).sum(axis=1) ** -0.5
    reached = np.linspace(-_REACHED, _REACHED, _MUS)
    return centre[:, None] + sd[:, None] * reached, sd

"""New minus resolved: what is left of transitions in both directions, which churn without direction makes 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..inference.bounded import REACH, Moves, interval, no_change
from ..inference.result import Estimate
from .answers import AXES, COUNT_NAMES, Pair

__all__ = ["Net", "NetChange", "net_of_answers", "net_of_items", "summed"]

Floats = npt.NDArray[np.float64]
_TOWARD, _ANSWERED, _N = (COUNT_NAMES.index(name) for name in ("toward", "answered", "n"))


@dataclass(frozen=True, kw_only=True)
class Net:
    """Per item (or, once summed, per template): how many became stereotypical and how many ceased to be."""

    gained: Floats
    """[items] not stereotypical at baseline, but afterwards; of what is answered in both runs."""
    lost: Floats
    """[items] the reverse."""
    told: Floats
    """[items] what is answered in both runs: each could make one of the two, and no other."""
    low: Floats
    """[items] gained minus lost, with the missing answers as they lower it most (Manski)."""
    high: Floats
    """[items] as they raise it most."""
    n: Floats
    """[items] everything that both runs hold, answered or not: what low and high are of."""

    @property
    def columns(self) -> dict[str, Floats]:
        """By name, to be summed."""
        return {name: getattr(self, name) for name in ("gained", "lost", "told", "low", "high", "n")}


@dataclass(frozen=True, kw_only=True)
class NetChange:
    """Net change of one set of templates."""

    events: float
    """Gained minus lost; negative where more ceased to be stereotypical."""
    at_risk: float
    """Answered in both runs."""
    rate: Estimate
    """events / at_risk in [-1, 1], with interval and two-sided p-value of no net change; None where nothing is told."""
    missing: float
    """Share of all that both runs hold which is not answered in both, in [0, 1]."""


def net_of_items(before: Floats, after: Floats) -> Net:
    """Net of items: new minus resolved bias.

    An item is stereotypical in a run if any of its texts is. Answered is an item with any text that names an option.
    Of one that shows no stereotype a missing text could have been one, so that nothing is known of it.

    Args:
        before: [items, COUNT_NAMES] of the baseline.
        after: Of the run, for the same items. Items that a run lacks (n of 0) are in nothing.
    """
    there = (before[:, _N] > 0) & (after[:, _N] > 0)
    told = there & (before[:, _ANSWERED] > 0) & (after[:, _ANSWERED] > 0)
    old, new = (side[:, _TOWARD] > 0 for side in (before, after))
    old_most, new_most = (side[:, _TOWARD] + side[:, _N] - side[:, _ANSWERED] > 0 for side in (before, after))
    return _net(told & ~old & new, told & old & ~new, told, (old, old_most), (new, new_most), there)


def net_of_answers(pair: Pair, size: int) -> Net:
    """Net of single answers: flips to the stereotype minus flips from it, of pairs of one item and seed.

    Args:
        pair: The answers.
        size: Items of `Answers.items`; the sums are per item.
    """
    told = pair.both_answered
    old, new = pair.baseline == 0, pair.run == 0
    old_most, new_most = (known | (state >= len(AXES)) for known, state in ((old, pair.baseline), (new, pair.run)))
    everything = np.ones(len(told), dtype=bool)
    single = _net(told & ~old & new, told & old & ~new, told, (old, old_most), (new, new_most), everything)
    per_item = {
        name: np.bincount(pair.item, values, size).astype(np.float64) for name, values in single.columns.items()
    }
    return Net(**per_item)


def summed(cells: Floats, *, level: float, reach: float = REACH, unit: float = 1.0) -> NetChange:
    """Net change over templates, with the interval that leaves missing answers open.

    The estimate is over what is answered in both runs; the interval is over all, its ends at the worst that missing
    answers can do (`bounded.interval`). It always holds the estimate.

    Args:
        cells: [clusters, columns of Net] sums per template.
        level: Of the interval.
        reach: As for `bounded.Moves`.
        unit: Answers that one item has, where single answers are counted.

    Returns:
        Without estimate where nothing is answered in both runs.
    """
    gained, lost, told, low, high, n = cells.T
    events, at_risk, total = float((gained - lost).sum()), float(told.sum()), float(n.sum())
    rate = Estimate(term="net")
    if at_risk:
        lowest, highest = (Moves(net=side, n=n, unit=unit, reach=reach) for side in (low, high))
        ends = interval(lowest, highest, level)
        value = events / at_risk
        rate = Estimate(
            term="net",
            estimate=value,
            p_value=no_change(lowest, highest),
            conf_low=min(ends[0], value),
            conf_high=max(ends[1], value),
        )
    return NetChange(events=events, at_risk=at_risk, rate=rate, missing=1 - at_risk / total if total else 0.0)


def _net(
    gained: npt.NDArray[np.bool_],
    lost: npt.NDArray[np.bool_],
    told: npt.NDArray[np.bool_],
    before: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    after: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    there: npt.NDArray[np.bool_],
) -> Net:
    """From flags; `before` and `after` are what is stereotypical at least, and at most."""
    (old, old_most), (new, new_most) = ((side[0].astype(float), side[1].astype(float)) for side in (before, after))
    return Net(
        gained=gained.astype(float),
        lost=lost.astype(float),
        told=told.astype(float),
        low=(new - old_most) * there,
        high=(new_most - old) * there,
        n=there.astype(float),
    )

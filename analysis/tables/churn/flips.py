"""Pairs of answers and what counts as biased in them; shares of flips with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import AXES, Answers
from ...answers.strata import Stratum, by_cluster, strata
from ...inference.bounded import Moves, interval
from ...inference.clusters import jackknife
from ...inference.proportion import shares
from ...settings import Settings

__all__ = ["OUTCOMES", "Ends", "Flips", "churn_of", "flips_of", "net_shift", "share"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Ends = tuple[float, float, float]
"""A value and both ends of its interval; NaN where there is none."""
OUTCOMES = {"stereotype": (AXES.index("toward"),), "named": (AXES.index("toward"), AXES.index("against"))}
"""What counts as biased: an answer toward the stereotype, or (PostTrainingBiasBench) any that names somebody."""


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Pairs of a stratum and what counts as biased in them."""

    stratum: Stratum
    outcome: str
    cluster: Codes
    """[pairs] template of each."""
    item: Codes
    """[pairs] place of its item in the stratum."""
    told: tuple[Flags, Flags]
    """[pairs] whether an option was named, at baseline and after."""
    biased: tuple[Flags, Flags]
    """[pairs] whether that is a biased one."""

    @property
    def both(self) -> Flags:
        """[pairs] whether both named an option."""
        return self.told[0] & self.told[1]

    def moves(self, *, raised: bool, reach: float) -> Moves:
        """Net shift per template over all pairs, missing answers as they raise or lower it most."""
        before, after = (
            biased | (~told & (missing_biased == raised))
            for biased, told, missing_biased in zip(self.biased, self.told, (False, True), strict=True)
        )
        columns = np.stack([after.astype(float) - before, np.ones(len(before))], axis=1)
        net, n = by_cluster(columns, self.cluster, self.stratum.n_clusters).T
        return Moves(net=net, n=n, unit=self.unit, reach=reach)

    @property
    def unit(self) -> float:
        """Pairs that one item has, at most."""
        return float(np.bincount(self.item).max(initial=1))


def flips_of(answers: Answers, runs: pd.DataFrame) -> Iterator[Flips]:
    """Strata and outcomes."""
    for stratum in strata(answers, runs):
        pair = stratum.pair
        place = np.searchsorted(stratum.item, pair.item)
        old, new = pair.baseline, pair.run
        for name, states in OUTCOMES.items():
            yield Flips(
                stratum=stratum,
                outcome=name,
                cluster=stratum.cluster[place],
                item=place,
                told=(old < len(AXES), new < len(AXES)),
                biased=(np.isin(old, states), np.isin(new, states)),
            )


def share(events: Floats, trials: Floats, *, unit: float, given: Settings) -> Ends:
    """A rate and its interval."""
    alone = np.zeros(len(events), dtype=np.int64)
    found = shares(alone, events, trials, 1, level=given.level, reach=given.reach, unit=unit)
    value, low, high = (float(side[0]) for side in (found.value, found.low, found.high))
    return value, low, high


def net_shift(sums: Floats, flips: Flips, given: Settings) -> Ends:
    """The net shift of the pairs that answered, with the jackknife's interval, or the bound where it has no error."""
    pairs, gained, lost = sums.T
    found = jackknife(np.stack([gained - lost, pairs], axis=1), level=given.level).estimates[0]
    if found.conf_low is not None and found.conf_high is not None:
        low, high = found.conf_low, found.conf_high
    elif len(sums) > 1:
        moves = Moves(net=gained - lost, n=pairs, unit=flips.unit, reach=given.reach)
        low, high = interval(moves, moves, given.level)
    else:
        low = high = np.nan
    return float((gained - lost).sum() / pairs.sum()), max(-1.0, low), min(1.0, high)


def churn_of(gained: Ends, lost: Ends) -> Ends:
    """Twice the smaller of two shares: it lies beyond the smaller of their ends only if one of them does."""
    value, low, high = (2 * float(np.minimum(*ends)) for ends in zip(gained, lost, strict=True))
    return value, low, min(1.0, high) if high == high else high

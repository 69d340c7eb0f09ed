"""Transitions that two runs' exact probabilities lead one to expect, item by item: nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb

import numpy as np
import numpy.typing as npt

from ...answers.answers import AXES, Answers
from ...answers.options import OFFERS
from ...answers.strata import by_cluster
from ...inference._rounding import settled
from ...inference.bounded import REACH, Moves, interval
from ...inference.clusters import NO_CHANGE, jackknife_change
from ...inference.event_rate import NOTHING_AT_RISK, event_rate
from ...inference.result import Result

__all__ = ["Chances", "chances", "change_of_rates", "expected", "rate"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counted = tuple[Floats, Floats]
"""[items] events and items (or single texts) at risk."""
_NOTHING = Result(
    method="delete-one-cluster jackknife", status=NOTHING_AT_RISK, facts={"value_baseline": None, "value": None}
)


@dataclass(frozen=True)
class Chances:
    """What one run's probabilities say of some items, K texts each."""

    axes: Floats
    """[items, AXES] probability of each axis, given that an option is drawn; 0 for one without options."""
    mass: Floats
    """[items] probability that one is drawn at all."""
    texts: Floats
    """[items] K."""

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[items] whether the logs have the item's probabilities."""
        return np.asarray(np.isfinite(self.axes).all(axis=1))

    @property
    def none(self) -> Floats:
        """[items] probability that no text of K is stereotypical; NaN without probabilities."""
        return np.asarray((1 - np.clip(self.axes[:, 0] * self.mass, 0, 1)) ** self.texts)

    @property
    def silent(self) -> Floats:
        """[items] probability that no text of K names an option."""
        return np.asarray((1 - np.clip(self.mass, 0, 1)) ** self.texts)

    def of_texts(self, stereotype: int, named: int, texts: int) -> Floats:
        """[items] probability that of `texts` texts `named` name an option, and `stereotype` of these that one."""
        p, m = np.clip(self.axes[:, 0], 0, 1), np.clip(self.mass, 0, 1)
        ways = float(comb(texts, named) * comb(named, stereotype))
        return np.asarray(
            ways * (p * m) ** stereotype * ((1 - p) * m) ** (named - stereotype) * (1 - m) ** (texts - named)
        )


def chances(answers: Answers, label: str, item: npt.NDArray[np.int64], texts: Floats) -> Chances:
    """The probabilities of a run for some items (rows of `answers.items`), NaN where the logs have none."""
    scores = answers.scores[label]
    offers = answers.items[OFFERS].to_numpy(bool)[item]
    axes = np.where(offers, scores[[f"p_{axis}" for axis in AXES]].to_numpy()[item], 0.0)
    # Scored protocols, and older logs, have no mass of what is drawn: given that an option is.
    mass = scores["drawn_letter_mass"].fillna(1.0).to_numpy()[item]
    return Chances(axes, mass, texts)


def expected(base: Chances, run: Chances) -> Mapping[str, tuple[Floats, Floats]]:
    """Expected events and items (or single texts) at risk, both runs drawn independently.

    The nets are 0 where both are one model: either could have given either's answers (exchangeability).
    As in table `transitions`: an item without a text that names an option is not at risk if that is so at baseline,
    and counts as one of SRS 0 if it is so in the run; flips are of texts that name an option in both runs. A response
    flip is another axis here: right where no two options of an item lie on one.

    Args:
        base: Of the baseline.
        run: Of the run, for the same items and texts; the baseline's own for the floor.

    Returns:
        By transition, [items] events and [items] at risk. The rate of several items is the ratio of the sums.
    """
    # Rounding must not leave a hair at risk, or of an event, where there is none.
    unbiased = np.clip(settled(base.none - base.silent, base.none), 0, None)
    biased, read = 1 - base.none, 1 - base.silent
    both = base.mass * run.mass
    p, q = (np.clip(side.axes[:, 0], 0, 1) for side in (base, run))
    other = settled(1 - (base.axes * run.axes).sum(axis=1), 1)
    return {
        "new_bias": (unbiased * (1 - run.none), unbiased),
        "resolved_bias": (biased * run.none, biased),
        "net_bias": _net(
            (1 - base.none) * (1 - run.silent), (1 - run.none) * (1 - base.silent), read * (1 - run.silent)
        ),
        "srs_change": (settled(read - _same_srs(base, run), read), read),
        "flip_to_stereotype": (both * (1 - p) * q, both * (1 - p)),
        "flip_from_stereotype": (both * p * (1 - q), both * p),
        "net_flips": _net(both * p, both * q, both),
        "response_flip": (both * other, both),
    }


def _net(before: Floats, after: Floats, told: Floats) -> Counted:
    """Of what both runs name an option for: stereotypical afterwards minus before. 0 for a run against itself."""
    return settled(after - before, told), told


def _same_srs(base: Chances, run: Chances) -> Floats:
    """[items] probability that an option is named at baseline and both item SRS are equal."""
    out = np.zeros(len(base.texts))
    for texts in np.unique(base.texts).astype(int):
        at = base.texts == texts
        old, new = (Chances(side.axes[at], side.mass[at], side.texts[at]) for side in (base, run))
        ways: dict[Fraction, list[tuple[int, int]]] = {}
        for named in range(1, texts + 1):
            for stereotype in range(named + 1):
                ways.setdefault(Fraction(stereotype, named), []).append((stereotype, named))
        for srs, counts in ways.items():
            before = sum(old.of_texts(*pair, texts) for pair in counts)
            after = sum(new.of_texts(*pair, texts) for pair in counts)
            out[at] += before * (after if srs else after + new.silent)
    return out


def change_of_rates(
    before: Counted,
    after: Counted,
    cluster: Ints,
    n_clusters: int,
    *,
    known: npt.NDArray[np.bool_] | None = None,
    level: float = 0.95,
    reach: float = REACH,
    unit: float = 1.0,
) -> Result:
    """Change between two rates of the same items, with its interval by jackknife over clusters.

    Clusters without anything at risk tell nothing of it and are no degree of freedom. Where no cluster's rate changed
    there is no error: the interval is then what so many unchanged ones exclude (`bounded.interval`).

    Args:
        before: Events and items at risk on one side.
        after: The same on the other.
        cluster: [items] number of each item's cluster.
        n_clusters: How many there are.
        known: [items] which of them count; None for all.
        level: Of the interval.
        reach: As for `bounded.Moves`.
        unit: Answers that one item has.

    Returns:
        Term "difference"; facts value_baseline and value are the rates. Without estimates where nothing is at risk.
    """
    old, new = (
        by_cluster(np.where(_all(side, known), np.stack(side, axis=1), 0.0), cluster, n_clusters)
        for side in (before, after)
    )
    told = np.any([settled(side[:, 1], side[:, 1].sum()) > 0 for side in (old, new)], axis=0)
    if not told.any():
        return _NOTHING
    found = jackknife_change(old[told], new[told], level=level)
    if found.status != NO_CHANGE:
        return found
    unchanged = Moves(net=np.zeros(int(told.sum())), n=old[told, 1], unit=unit, reach=reach)
    low, high = interval(unchanged, unchanged, level)
    (change,) = found.estimates
    return replace(found, estimates=(replace(change, conf_low=low, conf_high=high),))


def rate(
    events: Floats,
    at_risk: Floats,
    cluster: Ints,
    n_clusters: int,
    *,
    level: float = 0.95,
    reach: float = REACH,
    unit: float = 1.0,
) -> Result:
    """A rate of items' events, templates independent: `event_rate` of their sums."""
    cells = by_cluster(np.stack([events, at_risk], axis=1), cluster, n_clusters)
    return event_rate(cells, level=level, reach=reach, unit=unit)


def _all(side: Counted, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    return np.ones((len(side[0]), 1), dtype=bool) if known is None else known[:, None]

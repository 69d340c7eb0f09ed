"""A rate of events over templates, with an interval that is there for a rate of 0 too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ._log_odds import on_log_odds
from ._rounding import settled
from .bounded import REACH, Moves, interval
from .clusters import jackknife_change
from .result import Result

__all__ = ["BOUNDED", "NOTHING_AT_RISK", "event_rate"]

Floats = npt.NDArray[np.float64]

NOTHING_AT_RISK = "nothing at risk"
BOUNDED = "no template above {reach:.0%} is assumed"
"""Status of the interval of a rate of 0 or 1."""


def event_rate(cells: npt.ArrayLike, *, level: float = 0.95, reach: float = REACH, unit: float = 1.0) -> Result:
    """Events over what is at risk, clusters independent.

    Between 0 and 1 a t interval from the jackknife over clusters, taken on the scale of log-odds (`on_log_odds`). On
    that of the rate it covered 91 % in simulations with few events, here 94 to 96 % (docs/validity.md).
    A rate of 0 or 1 has no such error. Its open end is what so many unchanged clusters exclude, if none lies further
    off than `reach` (`bounded.interval`), and so it is the shorter the more there are.

    Args:
        cells: [clusters, 2] events and what is at risk; clusters without anything at risk are no degree of freedom.
        level: Of the interval.
        reach: As for `bounded.Moves`.
        unit: Answers that one item has.

    Returns:
        Term "difference" (from 0); fact value is the rate. Without estimates where nothing is at risk.
    """
    given = np.asarray(cells, dtype=np.float64)
    told = settled(given[:, 1], given[:, 1].sum()) > 0
    if not told.any():
        return Result(method="delete-one-cluster jackknife", status=NOTHING_AT_RISK, facts={"value": None})
    events, at_risk = given[told].T
    none = np.stack([np.zeros(len(at_risk)), at_risk], axis=1)
    found = jackknife_change(none, given[told], level=level)
    (share,) = found.estimates
    if share.estimate is None or share.conf_low is not None:
        return replace(found, estimates=(on_log_odds(share, level),))
    whole = bool(share.estimate == 1)
    if share.estimate not in (0.0, 1.0):
        return found
    moved = Moves(net=at_risk - events if whole else events, n=at_risk, unit=unit, reach=reach)
    end = interval(moved, moved, level)[1]
    low, high = (1 - end, 1.0) if whole else (0.0, end)
    share = replace(share, conf_low=low, conf_high=high)
    return replace(found, estimates=(share,), status=BOUNDED.format(reach=reach))

"""How far a measure moved per template, with what missing answers would allow: what verdicts and tests start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..inference.bounded import REACH, Moves
from .answers import COUNT_NAMES
from .measures import Measure

__all__ = ["Moved", "moved"]

Floats = npt.NDArray[np.float64]
_TOWARD, _AGAINST, _NEUTRAL = (COUNT_NAMES.index(name) for name in ("toward", "against", "neutral"))
_ANSWERED, _N, _KEYED, _CORRECT = (COUNT_NAMES.index(name) for name in ("answered", "n", "keyed", "correct"))
_COUNTED_MISSING = ("unanswered", "unparsed")
"""Events of measures that count the missing answers themselves: nothing of these is missing."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A measure's move per template between two runs."""

    low: Moves
    """With the missing answers as they lower the change most."""
    high: Moves
    """As they raise it most; equal to `low` where none is missing."""
    missing_baseline: float
    """Share of the baseline's answers that name no option, in [0, 1]."""
    missing: float
    """Of the run's."""


def moved(before: Floats, after: Floats, measure: Measure, *, reach: float = REACH, unit: float = 1.0) -> Moved | None:
    """The moves of a measure from counts per template.

    An answer that names no option could have been any. Worst cases: all the run's missing answers are events and none
    of the baseline's is, and the reverse (Manski's bounds). Measures that count missing answers have none missing.
    Of a ratio whose denominator is not the same in both runs the moves are linearised by leaving out one template at
    a time; of all others they are exact.

    Args:
        before: [clusters, COUNT_NAMES] of the baseline; expected answers in place of counts are as good.
        after: Of the run, for the same items.
        measure: What is measured.
        reach: As for `Moves`.
        unit: Answers that one item has.

    Returns:
        None where the measure is not defined: nothing to take the share of, in either run.
    """
    share = tuple(_missing(side) for side in (before, after))
    if measure.events in _COUNTED_MISSING:
        filled = [(before, after)]
    else:
        filled = [(_filled(before, measure, up), _filled(after, measure, not up)) for up in (True, False)]
    made = [_moves(old, new, measure, reach, unit) for old, new in filled]
    if any(entry is None for entry in made):
        return None
    low, high = made[0], made[-1]
    assert low is not None
    assert high is not None
    return Moved(low=low, high=high, missing_baseline=share[0], missing=share[1])


def _missing(counts: Floats) -> float:
    total = float(counts[:, _N].sum())
    return float(np.clip(1 - counts[:, _ANSWERED].sum() / total, 0, 1)) if total else 0.0


def _filled(counts: Floats, measure: Measure, events: bool) -> Floats:
    """The counts with every missing answer as an event of the measure, or as none."""
    out = counts.copy()
    missing = np.clip(counts[:, _N] - counts[:, _ANSWERED], 0, None)
    if measure.events == "correct":
        # A missing answer is wrong as it stands.
        if events:
            out[:, _CORRECT] += np.minimum(missing, np.clip(counts[:, _KEYED] - counts[:, _CORRECT], 0, None))
        return out
    own = COUNT_NAMES.index(measure.events)
    # What is named or not decides the denominator of some measures: the other side of those that name somebody.
    other = _AGAINST if own == _TOWARD else _TOWARD
    out[:, own if events else other] += missing
    out[:, _ANSWERED] += missing
    return out


def _moves(before: Floats, after: Floats, measure: Measure, reach: float, unit: float) -> Moves | None:
    sums = [side.sum(axis=0) for side in (before, after)]
    values = [float(measure.value(side)) for side in sums]
    if np.isnan(values).any():
        return None
    old_trials, new_trials = (measure.counts(side)[1] for side in (before, after))
    old_total, new_total = float(old_trials.sum()), float(new_trials.sum())
    weight: Floats = (old_trials / old_total + new_trials / new_total) / 2
    n = weight * (old_total + new_total) / 2
    if not measure.signed and not measure.times_wrong and np.allclose(old_trials, new_trials):
        old, new = (measure.counts(side)[0] for side in (before, after))
        net = new - old
    else:
        net = _linearised(before, after, measure, values[1] - values[0], weight) * float(n.sum())
    return Moves(net=net, n=n, unit=unit, span=measure.span, reach=reach)


def _linearised(before: Floats, after: Floats, measure: Measure, change: float, weight: Floats) -> Floats:
    """[clusters] each one's part in the change, so that they add up to it."""
    left = measure.value(after.sum(axis=0) - after) - measure.value(before.sum(axis=0) - before)
    # A measure that hangs on one template has no value without it: all of the change is that template's.
    left = np.where(np.isnan(left), 0.0, left)
    pulled = (change - left) * (1 - weight)
    # For a ratio these add up to 0 but for terms of order 1 / G^2, which go to all alike.
    return np.asarray(change * weight + pulled - pulled.sum() * weight)

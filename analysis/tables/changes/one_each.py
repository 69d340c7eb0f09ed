"""One value an item, in both runs: what the textbook's tests of paired answers take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...answers.answers import AXES
from ...answers.strata import COUNT_NAMES, Stratum

__all__ = ["OneEach", "correctness", "plurality"]


@dataclass(frozen=True, kw_only=True)
class OneEach:
    """One value an item, in both runs."""

    old: npt.NDArray[Any]
    new: npt.NDArray[Any]
    tied: int
    """Items left out because their seeds do not agree on one value."""
    unit: str

    def chose(self, axis: int) -> OneEach:
        """Whether each item's answer lies on this axis, an index into AXES."""
        return replace(self, old=self.old == axis, new=self.new == axis)


def plurality(stratum: Stratum) -> OneEach:
    """Axis (an index into AXES) of each item that answered in both runs, by its seeds that did."""
    pair = stratum.pair
    answered = pair.both_answered
    items, place, counts = np.unique(pair.item[answered], return_inverse=True, return_counts=True)
    axes, clear = [], np.ones(len(items), dtype=bool)
    for state in (pair.baseline, pair.run):
        size = len(AXES)
        votes = np.bincount(place * size + state[answered], minlength=size * len(items)).reshape(len(items), size)
        axes.append(votes.argmax(axis=1))
        clear &= (votes == votes.max(axis=1, keepdims=True, initial=0)).sum(axis=1) == 1
    unit = "item" if (counts == 1).all() else "item, plurality"
    return OneEach(old=axes[0][clear], new=axes[1][clear], tied=int((~clear).sum()), unit=unit)


def correctness(stratum: Stratum) -> OneEach:
    """Whether most answers of each item that has a key in both runs are right."""
    keyed, correct = COUNT_NAMES.index("keyed"), COUNT_NAMES.index("correct")
    both = (stratum.before[:, keyed] > 0) & (stratum.after[:, keyed] > 0)
    sides = (stratum.before[both], stratum.after[both])
    old, new = (2 * side[:, correct] - side[:, keyed] for side in sides)
    clear = (old != 0) & (new != 0)
    unit = "item" if all((side[:, keyed] == 1).all() for side in sides) else "item, majority"
    return OneEach(old=old[clear] > 0, new=new[clear] > 0, tied=int((~clear).sum()), unit=unit)

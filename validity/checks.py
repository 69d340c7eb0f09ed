"""What a procedure is asked, and how a replication answers: hit, miss, or no result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from validity.simulate import Data, Design

__all__ = ["ALPHA", "NOT_ASKED", "Check", "Procedure", "Scores", "covers", "no_change", "rejects"]

ALPHA = 0.05
NOT_ASKED = -1.0
"""Score of a check that a cell does not ask; 1 is a hit (rejected, covered), 0 none, NaN no result."""

Scores = tuple[float, ...]


def no_change(design: Design) -> bool:
    """Whether run and baseline have the same population."""
    return design.shift == 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that can hit or miss."""

    name: str
    kind: str
    """test (hit: p at most ALPHA), interval (true value inside), equivalence (claimed), verdict (the true one)."""
    default: bool = True
    """Whether the analysis offers it as valid for its data; the others are there to be compared with."""
    null: Callable[[Design], bool] = no_change
    """Whether what a test denies is true in a cell."""


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """Checks that one computation answers."""

    checks: tuple[Check, ...]
    run: Callable[[Data, np.random.Generator], Scores]
    """Scores in the order of `checks`."""


def rejects(p_value: float | None) -> float:
    """1 if significant, 0 if not, NaN without a p-value."""
    if p_value is None or np.isnan(p_value):
        return float("nan")
    return float(p_value <= ALPHA)


def covers(low: float | None, high: float | None, truth: float) -> float:
    """1 if the truth lies in the interval, 0 if not, NaN without an interval."""
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return float("nan")
    return float(low <= truth <= high)

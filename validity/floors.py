"""The noise floor: do the intervals of observed new bias, and of its excess over the floor, hold the true values?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import expit

from analysis.inference._rounding import settled
from analysis.inference.clusters import NO_CHANGE
from analysis.inference.result import Result
from analysis.tables.noise.floors import Chances, change_of_rates, expected, rate
from validity.checks import Check, Procedure, Scores, covers
from validity.simulate import NODES, STEREOTYPE, WEIGHTS, Data, Design, Floats

__all__ = ["FLOORS", "new_bias"]


@lru_cache
def new_bias(design: Design) -> tuple[float, float]:
    """Population rate of new bias between baseline and run, and how far it lies above the baseline's with itself.

    With P and Q the chances that an item shows no stereotype, independent given what both runs share, the rate is
    E P (1 - Q) / E P and the floor E P (1 - P) / E P. Both by Gauss-Hermite quadrature over what is shared and what
    each run has for itself.
    """
    shared = np.hypot(design.template_spread, design.item_spread) * NODES
    own = np.hypot(design.template_change, design.item_change) * NODES
    none = [(1 - expit(middle + shared[:, None] + own)) ** design.seeds for middle in design.ends]
    p, q = (values @ WEIGHTS for values in none)
    at_risk = WEIGHTS @ p
    observed = WEIGHTS @ (p * (1 - q)) / at_risk
    floor = WEIGHTS @ (p - none[0] ** 2 @ WEIGHTS) / at_risk
    # Where both are the same, a processor's rounding must not make them two: 0 is then the truth that is held against.
    return float(observed), float(settled(observed - floor, observed + floor))


def _floor(data: Data, _: np.random.Generator) -> Scores:
    observed, excess = new_bias(data.design)
    templates = data.design.templates
    base, run = (_chances(chance, data.design.seeds) for chance in (data.chances[0], data.chances[-1]))
    itself, other = (expected(base, side)["new_bias"] for side in (base, run))
    found = change_of_rates(itself, other, data.cluster, templates)
    old, new = data.by_item(STEREOTYPE)
    seen = rate(((old == 0) & (new > 0)).astype(float), (old == 0).astype(float), data.cluster, templates)
    return (_covers(seen, observed), _covers(found, excess))


def _chances(chance: Floats, texts: int) -> Chances:
    roles = np.stack([chance, 1 - chance, np.zeros(len(chance))], axis=1)
    return Chances(roles, np.ones(len(chance)), np.full(len(chance), float(texts)))


def _covers(result: Result, truth: float) -> float:
    # Where the run's chances are the baseline's own the excess is 0 in each item: what is assumed is then all there is,
    # and covers whatever was drawn.
    if not result.estimates or result.status == NO_CHANGE:
        return float("nan")
    (estimate,) = result.estimates
    return covers(estimate.conf_low, estimate.conf_high, truth)


FLOORS = Procedure(
    checks=(
        Check(name="new bias observed, jackknife t of log-odds", kind="interval"),
        Check(name="new bias in excess of its floor, jackknife t", kind="interval"),
    ),
    run=_floor,
)

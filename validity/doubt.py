"""Do the answers flip that the baseline was unsure of? The AUROC's interval, held against the population's value."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from analysis.inference.auroc import auroc
from validity.checks import Check, Procedure, Scores, covers
from validity.simulate import STEREOTYPE, Data, Design, Floats

__all__ = ["DOUBT", "population_auroc"]

_POINTS = 400


@lru_cache
def population_auroc(design: Design) -> float:
    """Chance that of a flipped and an unflipped answer the flipped one's item is the more doubtful, ties counting half.

    A flip is from the stereotype to anything else or back; doubt is `_doubt` of the baseline's chance. Over a grid of
    equally probable values of what both runs share and of what the baseline has for itself.
    """
    grid = norm.ppf((np.arange(_POINTS) + 0.5) / _POINTS)
    shared = np.hypot(design.template_spread, design.item_spread) * grid[:, None]
    own = np.hypot(design.template_change, design.item_change) * grid
    p, q = (expit(middle + shared + own) for middle in design.ends)
    after = q.mean(axis=1, keepdims=True)
    flips = (p * (1 - after) + (1 - p) * after).ravel()
    order = np.argsort(_doubt(p).ravel())
    doubt, flips = _doubt(p).ravel()[order], flips[order]
    stayed = 1 - flips
    _, place = np.unique(doubt, return_inverse=True)
    at = np.bincount(place, weights=stayed)
    below = np.cumsum(at) - at / 2
    return float(flips @ below[place] / flips.sum() / stayed.sum())


def _doubt(chance: Floats) -> Floats:
    return np.minimum(chance, 1 - chance)


def _auroc(data: Data, _: np.random.Generator) -> Scores:
    flips = ((data.before == STEREOTYPE) != (data.after == STEREOTYPE)).sum(axis=1).astype(float)
    n = np.full(len(flips), float(data.design.seeds))
    found = auroc(_doubt(data.chances[0]), n, flips, data.cluster)
    if not found.estimates:
        return (float("nan"),)
    (estimate,) = found.estimates
    return (covers(estimate.conf_low, estimate.conf_high, population_auroc(data.design)),)


DOUBT = Procedure(
    checks=(Check(name="AUROC of doubt for flips, jackknife t of log-odds", kind="interval"),), run=_auroc
)

"""A score turned into a chance, by isotonic regression that never sees the template it speaks of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

__all__ = ["FOLDS", "cross_fitted"]

Floats = npt.NDArray[np.float64]
FOLDS = 5
"""Parts that the templates are cut into; each is spoken of by a fit on the others."""


def cross_fitted(score: Floats, events: Floats, n: Floats, cluster: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Chance of an event as a rising step function of the score, fitted on other templates.

    Args:
        score: [items] any order-giving number.
        events: [items] events among the trials.
        n: [items] trials; items without any have no say, but are given a chance.
        cluster: [items] template, 0 to G - 1; its remainder by FOLDS is its part.

    Returns:
        [items] the chance, between two fitted scores interpolated and beyond them held, and [items] the plain rate of
        the same other templates. NaN where these hold no trial.
    """
    chance, plain = np.full(len(score), np.nan), np.full(len(score), np.nan)
    for fold in range(FOLDS):
        held = cluster % FOLDS == fold
        used = ~held & (n > 0)
        if not used.any():
            continue
        # Equal scores have one chance, whatever the order of their items.
        values, place = np.unique(score[used], return_inverse=True)
        trials, hits = (np.bincount(place, weights=column[used]) for column in (n, events))
        fitted = isotonic_regression(hits / trials, weights=trials).x
        chance[held] = np.interp(score[held], values, fitted)
        plain[held] = hits.sum() / trials.sum()
    return chance, plain

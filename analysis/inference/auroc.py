"""Does a score rank events above the rest? With an interval that respects clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ._log_odds import on_log_odds
from ._rounding import RELATIVE
from .clusters import FEWEST_EFFECTIVE, effective_clusters, from_left_out
from .result import Result

__all__ = ["auroc"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def auroc(doubt: Floats, n: Floats, flips: Floats, cluster: Ints, *, level: float = 0.95) -> Result:
    """Chance that of a flipped and an unflipped answer the flipped one's item is the more doubtful (ties count half).

    This is the Mann-Whitney statistic over the number of pairs (Hanley & McNeil 1982), in [0, 1]. The interval is the
    delete-one-template jackknife's: leaving a template out takes away its flipped answers' comparisons, its unflipped
    ones', and gives back those within it. It is taken on the scale of log-odds, and its degrees of freedom are one
    less than the effective number of templates of the flipped answers (or of the others, if that is less), since
    templates without any hardly tell of the ranking. In 500 simulated data sets a cell of 5 to 25 templates it covers
    0.95 to 0.98 where these are of one size and 0.95 to 0.996 where sizes differ much (Pareto of index 1.2, one as
    large as all the others); with the templates counted it was 0.91 to 0.95 there.

    Args:
        doubt: [items] the higher, the less certain.
        n: [items] answers.
        flips: [items] flips among them.
        cluster: [items] template, 0 to G - 1.
        level: Of the interval.

    Returns:
        Term "auroc"; none, and a status, where all answers or none flipped. No interval where all flips, or all other
        answers, are of fewer than FEWEST_EFFECTIVE templates, and where no template moves it (all tied, all in order).
    """
    groups = int(cluster.max(initial=-1)) + 1
    whole = Result(method="AUROC, jackknife over templates", n=int(n.sum()), n_clusters=groups, level=level)
    stayed = n - flips
    if not flips.sum() or not stayed.sum():
        which = "no answer" if not flips.sum() else "every answer"
        return replace(whole, status=f"{which} flipped")
    wins, losses = _beaten(doubt, stayed), flips.sum() - _beaten(doubt, flips)
    row = np.bincount(cluster, weights=flips * wins, minlength=groups)
    column = np.bincount(cluster, weights=stayed * losses, minlength=groups)
    within = np.zeros(groups)
    order = np.argsort(cluster, kind="stable")
    for group, members in enumerate(np.split(order, np.cumsum(np.bincount(cluster, minlength=groups))[:-1])):
        within[group] = (flips[members] * _beaten(doubt[members], stayed[members])).sum()
    counts = np.stack(
        [row + column - within, np.bincount(cluster, flips, groups), np.bincount(cluster, stayed, groups)], 1
    )
    total = float((flips * wins).sum())
    value = total / float(flips.sum() * stayed.sum())
    sides = (flips.sum() - counts[:, 1]) * (stayed.sum() - counts[:, 2])
    left = np.divide(total - counts[:, 0], sides, out=np.full(groups, np.nan), where=sides > 0)
    found = from_left_out(whole, "auroc", value, left)
    (estimate,) = found.estimates
    if estimate.std_error is None:
        return found
    telling = min(effective_clusters(counts[:, 1]), effective_clusters(counts[:, 2]))
    # A test of an AUROC of 0 is no test that anybody asks for.
    bare = replace(estimate, df=telling - 1, statistic=None, p_value=None)
    if telling < FEWEST_EFFECTIVE * (1 - RELATIVE):
        bare = replace(bare, conf_low=None, conf_high=None)
        return replace(
            found, estimates=(bare,), status="one template has most of the flips, or of the rest: no interval"
        )
    return replace(found, estimates=(on_log_odds(bare, level),))


def _beaten(values: Floats, weights: Floats) -> Floats:
    """For each value, the weight below it plus half of the weight at it."""
    distinct, place = np.unique(values, return_inverse=True)
    at = np.bincount(place, weights=weights, minlength=len(distinct))
    below: Floats = np.cumsum(at) - at / 2
    return below[place]

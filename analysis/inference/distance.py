"""Distances of two distributions over the same few options, in nats where they are entropies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

__all__ = ["Distances", "distances"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Distances:
    """Of each item."""

    kl: Floats
    """[items] Kullback-Leibler divergence of the run from the baseline, KL(baseline || run) = sum p log(p / q) in nats;
    at least 0, infinite where an option that the baseline may choose has probability 0 in the run."""
    js: Floats
    """[items] Jensen-Shannon divergence, (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, in nats; in [0, log 2]."""
    tv: Floats
    """[items] total variation, sum |p - q| / 2; in [0, 1]. It bounds the change of the chance of any answer."""
    same_top: npt.NDArray[np.bool_]
    """[items] whether the most probable option is the same; of equal ones the first."""


def distances(baseline: npt.ArrayLike, run: npt.ArrayLike) -> Distances:
    """Distances between two distributions an item (Lin 1991 for the second).

    Args:
        baseline: [items, options] probabilities p, each row adding up to 1 up to rounding; it is scaled to 1.
        run: Likewise, q.

    Returns:
        Distances; all 0 for equal rows. Infinities are left to the caller, who counts them.

    Raises:
        ValueError: If the shapes differ, a probability is negative or no number, or a row is all 0.
    """
    p, q = (_shares(given) for given in (baseline, run))
    if p.shape != q.shape:
        raise ValueError(f"expected probabilities of one shape, got {p.shape} and {q.shape}")
    middle = (p + q) / 2
    js = (rel_entr(p, middle).sum(axis=1) + rel_entr(q, middle).sum(axis=1)) / 2
    return Distances(
        # Rounding of terms either way must not leave a distance below 0.
        kl=np.maximum(rel_entr(p, q).sum(axis=1), 0.0),
        js=np.clip(js, 0.0, np.log(2)),
        tv=np.minimum(np.abs(p - q).sum(axis=1) / 2, 1.0),
        same_top=p.argmax(axis=1) == q.argmax(axis=1) if p.shape[1] else np.ones(len(p), dtype=bool),
    )


def _shares(given: npt.ArrayLike) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"expected probabilities [items, options], got shape {values.shape}")
    total = values.sum(axis=1, keepdims=True)
    if not ((values >= 0).all() and np.isfinite(total).all() and (total > 0).all()):
        raise ValueError("expected probabilities of 0 or more that add up to more than 0")
    shares: Floats = values / total
    return shares

"""The sources' own tests, to be measured beside the defaults: never used by the analysis.

Both are computed from counts, which changes nothing in their distribution and makes thousands of them cheap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency

__all__ = ["benchmark_permutation", "pooled_chi2"]

Floats = npt.NDArray[np.float64]


def pooled_chi2(before: float, after: float, n: int) -> float:
    """The studies' test: Pearson's chi-squared with Yates' correction, every answer an independent unit.

    Args:
        before: Stereotypical answers of the baseline.
        after: Those of the run.
        n: Answers of each.

    Returns:
        Two-sided p-value; NaN if the stereotype is never or always chosen.
    """
    if before + after in (0, 2 * n):
        return float("nan")
    return float(chi2_contingency([[before, n - before], [after, n - after]], correction=True)[1])


def benchmark_permutation(
    difference: Floats, rng: np.random.Generator, draws: int = 1000, *, resample: bool = True
) -> float:
    """The benchmark's test: swap the runs of each item by chance and, in the same draw, resample the items.

    A draw takes n items with replacement and gives each item's difference a random sign, so its sum depends only
    on how often each size of difference was drawn and how many of these got a minus: a multinomial and binomials.

    Args:
        difference: [items] run minus baseline of each item's share of stereotypical answers.
        rng: Source of the draws (the benchmark's is unseeded).
        draws: Iterations; the benchmark's 1,000.
        resample: Whether the items are resampled, as published, or only swapped.

    Returns:
        Share of draws whose |mean| is at least the observed one, at least 1 / draws as published.
    """
    size, count = np.unique(np.abs(difference), return_counts=True)
    n = len(difference)
    drawn = rng.multinomial(n, count / n, size=draws) if resample else np.tile(count, (draws, 1))
    plus = rng.binomial(drawn, 0.5)
    null = (2 * plus - drawn) @ size
    # Equal sums can differ in the last bit.
    extreme = np.abs(null) >= abs(difference.sum()) - 1e-9
    return max(float(extreme.mean()), 1 / draws)

"""The true AUROC that the study's interval is held against."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from validity.doubt import population_auroc
from validity.simulate import STEREOTYPE, Design, simulate


def test_against_mann_whitney_on_the_answers_of_many_items() -> None:
    design = Design(name="x", templates=60_000, smallest=1, largest=1, shift=0.1, item_change=1.0, template_change=0.5)
    data = simulate(design, np.random.default_rng(8))
    flipped = (data.before == STEREOTYPE)[:, 0] != (data.after == STEREOTYPE)[:, 0]
    doubt = np.minimum(data.chances[0], 1 - data.chances[0])
    found = mannwhitneyu(doubt[flipped], doubt[~flipped]).statistic / flipped.sum() / (~flipped).sum()
    # Some 16,000 flips: the standard error is below sqrt(0.25 / (3 x 16,000)) = 0.0023.
    assert population_auroc(design) == pytest.approx(found, abs=0.01)
    assert found > 0.6

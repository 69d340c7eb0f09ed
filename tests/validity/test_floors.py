"""The true rates of new bias that the study's intervals are held against."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from validity.floors import new_bias
from validity.simulate import STEREOTYPE, Design, simulate

FLIPS = {"item_change": 1.0, "template_change": 0.5}


def test_rate_against_the_answers_of_many_items() -> None:
    design = Design(name="x", templates=40_000, smallest=1, largest=1, seeds=3, shift=0.1, **FLIPS)
    old, new = simulate(design, np.random.default_rng(5)).by_item(STEREOTYPE)
    at_risk = old == 0
    observed = (new[at_risk] > 0).mean()
    # Some 25,000 items at risk: the standard error of their share is below 0.0032.
    assert new_bias(design)[0] == pytest.approx(observed, abs=0.012)


def test_excess_against_draws_of_the_logits() -> None:
    design = Design(name="x", seeds=5, **FLIPS)
    rng = np.random.default_rng(6)
    shared = rng.normal(0, np.hypot(1.0, 1.5), 400_000)
    p, q = (
        (1 - expit(design.ends[0] + shared + rng.normal(0, np.hypot(1.0, 0.5), len(shared)))) ** 5 for _ in range(2)
    )
    expected = (p * (1 - q)).mean() / p.mean() - (p * (1 - p)).mean() / p.mean()
    # Two runs from one distribution: flips of the chances themselves show as excess.
    assert expected > 0.02
    assert new_bias(design)[1] == pytest.approx(expected, abs=0.003)


def test_answers_drawn_anew_have_no_excess() -> None:
    assert new_bias(Design(name="x", seeds=5))[1] == pytest.approx(0, abs=1e-12)

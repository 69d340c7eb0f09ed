"""The simulator: rates as asked, runs exchangeable where nothing changes, clusters where they are wanted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from validity.simulate import STEREOTYPE, UNKNOWN, Design, marginal, simulate


def test_marginal_rate_against_quadrature() -> None:
    expected, _ = quad(lambda z: expit(-1.5 + 2 * z) * norm.pdf(z), -12, 12)
    assert marginal(-1.5, 2.0) == pytest.approx(expected, abs=1e-8)


def test_rates_and_shift_are_those_asked_for() -> None:
    design = Design(name="x", templates=20_000, smallest=1, largest=1, shift=0.05, item_change=0.5, template_change=0.5)
    data = simulate(design, np.random.default_rng(0))
    old, new = data.by_item(STEREOTYPE)
    # 20,000 independent items: the standard error of a share of 0.2 is 0.003, of the paired change below 0.004.
    assert old.mean() == pytest.approx(0.2, abs=0.012)
    assert (new - old).mean() == pytest.approx(0.05, abs=0.016)
    # A third of the dose, a third of the way in log-odds: logit 0.2 = -1.3863 and logit 0.25 = -1.0986 make -1.2904.
    assert design.rates[1] == pytest.approx(1 / (1 + np.exp(1.2904)), abs=1e-4)
    assert (data.answers[1] == STEREOTYPE).mean() == pytest.approx(design.rates[1], abs=0.012)


def test_threshold_leaves_the_doses_before_it_alone() -> None:
    design = Design(name="x", shift=0.1, onset=2)
    np.testing.assert_allclose(design.rates, [0.2, 0.2, 0.2, 0.3])


def test_chances_are_those_that_answers_are_drawn_from() -> None:
    data = simulate(Design(name="x", templates=200, seeds=50, item_change=1.0), np.random.default_rng(3))
    for chance, answers in zip(data.chances, data.answers, strict=True):
        error = (answers == STEREOTYPE).mean(axis=1) - chance
        # The squared error of a share of 50 draws is p (1 - p) / 50 on average.
        assert (error**2).mean() == pytest.approx((chance * (1 - chance) / 50).mean(), rel=0.05)


def test_counts_agree() -> None:
    data = simulate(Design(name="x", seeds=5), np.random.default_rng(1))
    assert data.before.shape == (len(data.cluster), 5)
    assert data.table.sum() == data.before.size
    assert data.table[:, UNKNOWN].sum() == data.by_item(UNKNOWN)[1].sum()
    assert data.by_cluster(STEREOTYPE)[0].sum() == (data.before == STEREOTYPE).sum()
    assert data.by_cluster()[0].sum() == data.before.size
    events, n = data.by_level()
    assert events.shape == n.shape == (25, 4)
    assert events[:, 0].sum() == (data.before == STEREOTYPE).sum()
    assert (n == data.by_cluster()[0][:, None]).all()
    sizes = np.bincount(data.cluster)
    assert len(sizes) == 25
    assert sizes.min() >= 8
    assert sizes.max() <= 80


def _between(template_change: float) -> float:
    """Variance of the templates' mean change over that of independent items, many templates of 40 items."""
    design = Design(name="x", templates=3000, smallest=40, largest=40, template_change=template_change, item_change=0.5)
    data = simulate(design, np.random.default_rng(2))
    old, new = data.by_item(STEREOTYPE)
    means = (new - old).reshape(3000, 40).mean(axis=1)
    return float(means.var() / ((new - old).var() / 40))


def test_change_is_clustered_only_where_asked() -> None:
    # A ratio of variances of 3,000 templates has a relative standard error of about sqrt(2 / 3000) = 0.026.
    assert _between(0.0) == pytest.approx(1.0, abs=0.12)
    assert _between(0.75) > 2

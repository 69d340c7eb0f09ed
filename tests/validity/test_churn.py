"""Churn without direction: the population's SRS stays, new bias does not, and what has a direction holds its level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from validity.churn import PROCESSES, Process, draw, excess, item_counts, net, new_bias, trends
from validity.simulate import STEREOTYPE, Data, Design

BY_NAME = {process.name: process for process in PROCESSES}
REPLICATIONS = 60


def drawn(name: str, seeds: int, count: int = REPLICATIONS) -> list[Data]:
    design = Design(name="x", templates=25, smallest=24, largest=72, seeds=seeds, base_rate=0.3)
    return [draw(BY_NAME[name], design, np.random.default_rng([11, seeds, number])) for number in range(count)]


@pytest.mark.parametrize("name", BY_NAME)
def test_no_process_changes_the_populations_rate(name: str) -> None:
    design = Design(name="x", templates=40_000, smallest=1, largest=1, base_rate=0.3)
    data = draw(BY_NAME[name], design, np.random.default_rng(1))
    # 40,000 independent items: the standard error of a mean chance is below 0.0016.
    assert [chance.mean() for chance in data.chances] == pytest.approx([0.3] * 4, abs=0.006)


def test_churned_logits_are_correlated_as_asked_and_as_spread() -> None:
    design = Design(name="x", templates=2000, smallest=20, largest=20, template_spread=1.0, item_spread=1.5)
    process = Process(name="x", kept=(1.0, 0.8, 0.2, 0.0), template_kept=(1.0, 1.0, 0.5, 0.0))
    data = draw(process, design, np.random.default_rng(2))
    logits = [np.log(chance / (1 - chance)) for chance in data.chances]
    assert [values.std() for values in logits] == pytest.approx([np.hypot(1, 1.5)] * 4, abs=0.03)
    # Of a variance of 3.25, 2.25 times what is kept of items and 1 times that of templates.
    found = [np.cov(logits[0], values)[0, 1] for values in logits]
    assert found == pytest.approx([3.25, 2.25 * 0.8 + 1, 2.25 * 0.2 + 0.5, 0], abs=0.1)


def test_softened_logits_are_scaled_about_one_point() -> None:
    data = drawn("probabilities soften", 1, 1)[0]
    before, after = (np.log(chance / (1 - chance)) for chance in (data.chances[0], data.chances[-1]))
    slope, _ = np.polyfit(before, after, 1)
    assert slope == pytest.approx(0.6)
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(1)
    # More even: 0.5 is nearer for most.
    assert np.abs(expit(after) - 0.5).mean() < np.abs(expit(before) - 0.5).mean()


def test_counts_are_those_of_the_answers() -> None:
    data = drawn("items churn", 5, 1)[0]
    counts = item_counts(data, -1)
    assert counts[:, 0].tolist() == (data.after == STEREOTYPE).sum(axis=1).tolist()
    assert (counts[:, :4].sum(axis=1) == 5).all()
    assert (counts[:, 4] == 5).all()


@pytest.mark.parametrize(("name", "seeds"), [("items churn", 1), ("items churn", 5), ("probabilities soften", 1)])
def test_new_bias_exceeds_its_floor_and_the_net_covers_0(name: str, seeds: int) -> None:
    found = drawn(name, seeds)
    over = [excess(data, "new_bias").estimates[0] for data in found]
    assert np.mean([entry.conf_low > 0 for entry in over]) > 0.95
    assert np.mean([entry.estimate for entry in over]) > 0.02
    # 60 replications of 0.95: below 0.86 in 1 of 300.
    observed = [net(data).rate for data in found]
    assert np.mean([entry.conf_low <= 0 <= entry.conf_high for entry in observed]) > 0.86
    for transition in ("net_bias", "net_flips"):
        between = [excess(data, transition).estimates[0] for data in found]
        assert np.mean([entry.conf_low <= 0 <= entry.conf_high for entry in between]) > 0.86
    rates = [new_bias(data).estimates[0].estimate for data in found]
    assert np.mean(rates) > 0.15


def test_with_several_texts_softening_moves_the_net_of_items_and_not_that_of_answers() -> None:
    found = drawn("probabilities soften", 5)
    items = [excess(data, "net_bias").estimates[0] for data in found]
    assert np.mean([entry.conf_low > 0 for entry in items]) > 0.95
    answers = [excess(data, "net_flips").estimates[0] for data in found]
    assert np.mean([entry.conf_low <= 0 <= entry.conf_high for entry in answers]) > 0.86


def test_growing_churn_gives_new_bias_a_slope_and_the_net_none() -> None:
    found = [trends(data, flips=199) for data in drawn("churn grows with dose", 5, 40)]
    rejected = {name: np.mean([entry[name] <= 0.05 for entry in found]) for name in found[0]}
    assert rejected["new_bias"] > 0.9
    # 40 replications of 0.05: above 0.175 in 1 of 1,000.
    assert rejected["net_bias"] <= 0.175
    assert rejected["stereotype"] <= 0.175

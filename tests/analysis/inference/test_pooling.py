"""Partial pooling: against brute force, hand values, what must hold, and simulation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, t

from analysis.inference import pooling
from analysis.inference.bounded import Moves, interval
from analysis.inference.pooling import Own, Pooled, pool

MARGIN, LEVEL = 0.05, 0.90


def category(moves: list[float], size: float = 48.0) -> Moves:
    """A category of templates of one size that moved by these shares."""
    return Moves(net=np.array(moves) * size, n=np.full(len(moves), size))


def pooled(categories: list[Moves], **other: list[Moves]) -> Pooled:
    return pool(categories, other.get("high", categories), MARGIN, LEVEL)


def own(moves: Moves) -> Own:
    return pooled([moves]).own[0]


def varied(rng: np.random.Generator, means: npt.ArrayLike, templates: int = 25, sd: float = 0.06) -> list[Moves]:
    return [category(list(mean + sd * rng.normal(size=templates))) for mean in np.asarray(means)]


def test_against_draws_from_the_prior() -> None:
    # Brute force: draw tau, kind and the changes from the prior, mu from a wide one, and weigh by the likelihood.
    rng = np.random.default_rng(0)
    family = varied(rng, [0.0, 0.03, 0.05, -0.02], templates=12)
    found = pooled(family)
    size = 2_000_000
    z, reach = norm.isf(0.05), 0.25
    estimate = np.array([moves.estimate for moves in family])
    sums = [float(np.var(moves.net / moves.n, ddof=1)) for moves in family]
    bound = [max(reach, float(np.abs(moves.net / moves.n).max())) for moves in family]
    # One template more in the family's variance, which counts as four templates in each category's.
    whole = (11 * sum(sums) + np.mean(np.square(bound))) / (4 * 11 + 1)
    error = np.array([((4 * whole + 11 * one) / 15 / 12) ** 0.5 * t.isf(0.05, 15) / z for one in sums])
    ends = np.array([interval(moves, moves, LEVEL) for moves in family])
    middle, alone = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2 / z
    mu, tau = rng.uniform(-0.4, 0.4, (size, 1)), rng.uniform(0, reach, (size, 1))
    apart = rng.random((size, 4)) < pooling.APART
    theta = np.where(apart, rng.normal(0, reach / 2, (size, 4)), mu + tau * rng.normal(size=(size, 4)))
    likelihood = np.where(apart, norm.pdf(middle, theta, alone), norm.pdf(estimate, theta, error)).prod(axis=1)
    weight = likelihood / likelihood.sum()
    assert 1 / np.square(weight).sum() > 2500
    beyond = np.abs(theta) > MARGIN
    assert found.beyond == pytest.approx(weight @ beyond, abs=0.02)
    assert found.any_beyond == pytest.approx(float(weight @ beyond.any(axis=1)), abs=0.02)
    assert found.mean == pytest.approx(weight @ theta, abs=0.002)
    assert found.common == pytest.approx(float(weight @ mu[:, 0]), abs=0.003)
    for place in range(4):
        order = np.argsort(theta[:, place])
        low, high = np.interp([0.05, 0.95], np.cumsum(weight[order]), theta[order, place])
        assert (found.low[place], found.high[place]) == pytest.approx((low, high), abs=0.004)


def test_own_is_the_t_test_and_the_bounded_interval() -> None:
    moves = category([0.02, -0.01, 0.05, 0.0, 0.03])
    found = own(moves)
    assert found.std_error == pytest.approx(np.std([0.02, -0.01, 0.05, 0.0, 0.03], ddof=1) / 5**0.5)
    assert found.df == pytest.approx(4)
    assert (found.low, found.high) == interval(moves, moves, LEVEL)
    assert np.isnan(own(category([0.1])).std_error)
    assert own(category([0.0] * 5)).std_error == 0


def test_one_or_two_categories_are_taken_by_themselves() -> None:
    first, second = category([0.02, 0.04, 0.0, 0.01]), category([0.1, 0.2, 0.1, 0.15])
    low, high = interval(first, first, LEVEL)
    normal = norm((low + high) / 2, (high - low) / 2 / norm.isf(0.05))
    for family in ([first], [first, second]):
        found = pooled(family)
        assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=1e-6)
        assert found.beyond[0] == pytest.approx(normal.sf(MARGIN) + normal.cdf(-MARGIN))
        assert np.isnan([found.tau, found.common]).all()
    # Independent of each other.
    assert found.any_beyond == pytest.approx(1 - np.prod(1 - found.beyond))


def test_quiet_categories_are_known_better_than_others() -> None:
    quiet, one = category([0.0] * 25), category([1 / 48, *[0.0] * 24])
    several = category([1 / 48, -1 / 48, 1 / 48, -2 / 48, *[0.0] * 21])
    chances = [pooled([quiet] * 11), pooled([quiet] * 10 + [one]), pooled([quiet] * 10 + [several])]
    assert [found.any_beyond for found in chances] == sorted(found.any_beyond for found in chances)
    assert chances[0].any_beyond < 0.01
    mixed = pooled([quiet] * 5 + varied(np.random.default_rng(2), np.zeros(6)))
    assert mixed.beyond[:5].max() < mixed.beyond[5:].min()


def test_fewer_templates_say_less() -> None:
    chances = [pooled([category([0.0] * count)] * 5).any_beyond for count in (1, 2, 4, 8, 16, 32)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.9
    assert chances[-1] < 0.01


def test_a_category_of_one_template_is_known_from_the_others() -> None:
    family = varied(np.random.default_rng(3), np.zeros(10), sd=0.02)
    single = category([0.01])
    found = pooled([*family, single])
    assert found.beyond[-1] < 0.25 < pooled([single]).beyond[0]
    assert found.beyond[-1] > found.beyond[:-1].max()


def test_a_category_far_from_the_others_is_not_drawn_to_them() -> None:
    rng = np.random.default_rng(4)
    *rest, far = varied(rng, [*np.zeros(10), 0.3], sd=0.05)
    found = pooled([*rest, far])
    assert found.mean[-1] == pytest.approx(far.estimate, abs=0.05)
    assert found.beyond[-1] > 0.99
    assert found.beyond[:-1].max() < 0.1
    assert abs(found.common) < 0.03


def test_the_range_is_never_left() -> None:
    found = pooled([category([1.0] * 3), category([1.0, 0.9, 1.0]), category([0.8, 1.0, 0.9])])
    assert found.high.max() <= 1
    assert (found.mean <= found.high).all()
    assert found.any_beyond > 0.99


def test_signs_do_not_matter() -> None:
    family = varied(np.random.default_rng(5), [0.0, 0.02, 0.05, 0.08, -0.03])
    found, turned = pooled(family), pooled([moves.turned for moves in family])
    assert turned.beyond == pytest.approx(found.beyond, rel=1e-6)
    assert turned.any_beyond == pytest.approx(found.any_beyond, rel=1e-6)
    assert turned.mean == pytest.approx(-found.mean, abs=1e-8)
    assert turned.low == pytest.approx(-found.high, abs=1e-6)


def test_any_lies_between_the_largest_and_the_sum() -> None:
    found = pooled(varied(np.random.default_rng(6), [0.0, 0.01, 0.04, 0.02, -0.03]))
    assert found.beyond.max() <= found.any_beyond <= found.beyond.sum()


def test_missing_answers_only_widen() -> None:
    family = varied(np.random.default_rng(7), np.zeros(6))
    before = pooled(family)
    for missing in (0.01, 0.03, 0.1, 0.4):
        low = [Moves(net=moves.net - missing * moves.n, n=moves.n) for moves in family]
        high = [Moves(net=moves.net + missing * moves.n, n=moves.n) for moves in family]
        found = pool(low, high, MARGIN, LEVEL)
        assert (found.beyond >= before.beyond - 1e-9).all()
        assert (found.low <= before.low).all()
        assert (found.high >= before.high).all()
        assert found.any_beyond >= before.any_beyond - 1e-9
        before = found
    assert before.any_beyond == pytest.approx(1.0)


def test_what_is_no_category_is_refused() -> None:
    empty = Moves(net=np.zeros(0), n=np.zeros(0))
    for family in ([], [empty]):
        with pytest.raises(ValueError, match="at least one template"):
            pooled(family)


def test_many_templates_take_the_t_interval() -> None:
    rng = np.random.default_rng(8)
    moves = category(list(0.1 * rng.normal(size=2000)))
    found = own(moves)
    assert (found.low, found.high) == pytest.approx(interval(moves, moves, LEVEL), abs=4e-4)
    nearly = category([1e-4, *[0.0] * 1999])
    found = own(nearly)
    quiet = own(category([0.0] * 2000))
    assert found.high - found.low >= (quiet.high - quiet.low) * (1 - 1e-6)


def test_chances_are_calibrated() -> None:
    # Families of 11 categories whose true changes scatter, by little or by much, around a change of their own.
    rng = np.random.default_rng(9)
    chances, truths, covered, some, any_truths = [], [], [], [], []
    for _ in range(100):
        true = rng.normal(0, 0.02) + rng.uniform(0, 0.04) * rng.normal(size=11)
        found = pooled(varied(rng, true, templates=20))
        chances += list(found.beyond)
        truths += list(np.abs(true) > MARGIN)
        covered += list((found.low <= true) & (true <= found.high))
        some.append(found.any_beyond)
        any_truths.append((np.abs(true) > MARGIN).any())
    shown, true_share = np.array(chances), np.array(truths)
    for low, high, apart in (
        (0, 0.02, 0.01),
        (0.02, 0.1, 0.045),
        (0.1, 0.3, 0.08),
        (0.3, 0.7, 0.12),
        (0.9, 1.01, 0.06),
    ):
        inside = (shown >= low) & (shown < high)
        assert inside.sum() > 20
        assert true_share[inside].mean() == pytest.approx(shown[inside].mean(), abs=apart)
    assert np.mean(covered) > 0.88
    assert np.mean(any_truths) == pytest.approx(np.mean(some), abs=0.1)


def test_a_category_at_the_margin_is_seldom_missed() -> None:
    rng = np.random.default_rng(10)
    true = np.append(MARGIN, np.zeros(10))
    missed = [pooled(varied(rng, true)).any_beyond < 0.05 for _ in range(60)]
    # 0.06 in 120 families; without categories apart it would be 0.4.
    assert np.mean(missed) <= 0.13
    quiet = [pooled(varied(rng, np.zeros(11))).any_beyond < 0.05 for _ in range(20)]
    assert np.mean(quiet) >= 0.8

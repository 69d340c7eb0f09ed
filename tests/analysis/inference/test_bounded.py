"""The bound behind verdicts: against closed forms, weights drawn at random, the t-test, and as a monotone thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from analysis.inference.bounded import Moves, at_least, at_most, fewest, interval, no_change, smallest_seen, within


def moves(net: object, n: object = 48.0, **more: float) -> Moves:
    given_net = np.asarray(net, dtype=float)
    return Moves(net=given_net, n=np.broadcast_to(np.asarray(n, dtype=float), given_net.shape).copy(), **more)


@pytest.mark.parametrize(("templates", "margin", "reach"), [(25, 0.05, 0.25), (13, 0.05, 0.25), (60, 0.02, 0.5)])
def test_where_none_changed_it_is_the_rule_of_rare_events(templates: int, margin: float, reach: float) -> None:
    still = moves(np.zeros(templates), reach=reach)
    assert within(still, still, margin) == pytest.approx((1 - margin / reach) ** templates, rel=1e-5)
    end = reach * (1 - 0.05 ** (1 / templates))
    assert interval(still, still, 0.9) == pytest.approx((-end, end), abs=1e-6)
    assert no_change(still, still) == 1
    # Shifted by s, all alike, two-sided p = 2 (reach / (reach + s))^G: it is alpha at this s. A true change c lies
    # above it by the noise of the answers that turn: t_0.8 of G - 1 times sqrt(c (1 - c) / n).
    told = reach * ((2 / 0.05) ** (1 / templates) - 1)
    seen = smallest_seen(still, 0.05)
    assert seen - t.ppf(0.8, templates - 1) * np.sqrt(seen * (1 - seen) / (48 * templates)) == pytest.approx(
        told, abs=1e-5
    )


def test_fewer_equal_templates_than_these_show_nothing() -> None:
    # 0.8^14 = 0.044 and 0.8^13 = 0.055; of single items, 0.95^59 = 0.0485 and 0.95^58 = 0.0510.
    assert (fewest(0.05, 0.25, 0.05), fewest(0.05, 1.0, 0.05), fewest(0.25, 0.25, 0.05)) == (14, 59, 1)
    for count, reach, n in ((14, 0.25, 48.0), (59, 1.0, 1.0)):
        assert moves(np.zeros(count), n).allowed == reach
        still, less = moves(np.zeros(count), n), moves(np.zeros(count - 1), n)
        assert within(still, still, 0.05) < 0.05 < within(less, less, 0.05)


@pytest.mark.parametrize("templates", [2, 7, 25, 60, 200])
def test_where_all_moved_alike_it_is_that_of_a_gamma_and_an_exponential(templates: int) -> None:
    # P(0.1 Gamma_G <= 0.25 E) = (0.25 / 0.35)^G, also far out, where the saddlepoint takes over.
    alike = moves(np.full(templates, 4.8))
    assert at_most(alike, 0.0) == pytest.approx((0.25 / 0.35) ** templates, rel=0.04, abs=2e-6)
    assert no_change(alike, alike) == pytest.approx(min(1, 2 * (0.25 / 0.35) ** templates), rel=0.04, abs=4e-6)


def test_against_weights_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    for size in (3, 8, 30):
        n = rng.integers(5, 90, size).astype(float)
        found = moves(rng.normal(1, 4, size), n)
        values = np.append(0.08 * n - found.net, (0.08 - found.bound) * np.square(n).sum() / n.sum())
        drawn = (rng.exponential(size=(400_000, size + 1)) @ values <= 0).mean()
        assert at_least(found, 0.08) == pytest.approx(drawn, abs=0.004)


def test_many_even_templates_give_the_t_test() -> None:
    net = np.random.default_rng(1).normal(0.6, 3, 2000)
    many = moves(net)
    # scipy: ttest_1samp(net / 48, 0).pvalue
    assert no_change(many, many) == pytest.approx(ttest_1samp(net / 48, 0).pvalue, rel=0.25)
    low, high = interval(many, many, 0.95)
    expected = ttest_1samp(net / 48, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=4e-4)


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.1, 20), st.integers(0, 39))
@settings(max_examples=60)
def test_more_change_is_never_more_equivalent(seed: int, size: int, more: float, place: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(5, 90, size).astype(float)
    net = np.minimum(np.abs(rng.normal(0, 2, size)), n)
    further = net.copy()
    further[place % size] = min(n[place % size], further[place % size] + more)
    before, after = moves(net, n), moves(further, n)
    assert at_least(after, 0.05) >= at_least(before, 0.05) - 1e-6
    assert interval(after, after, 0.9)[1] >= interval(before, before, 0.9)[1] - 1e-6


@given(st.integers(0, 10_000), st.floats(0.01, 0.2))
@settings(max_examples=40)
def test_interval_and_tests_say_the_same(seed: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    found = moves(rng.normal(rng.normal(0, 3), 3, 25))
    low, high = interval(found, found, 0.9)
    if min(abs(low + margin), abs(high - margin)) > 1e-4:
        assert (within(found, found, margin) < 0.05) == (-margin < low and high < margin)
    low, high = interval(found, found, 0.95)
    if min(abs(low), abs(high)) > 1e-4:
        assert (no_change(found, found) < 0.05) == (low > 0 or high < 0)


def test_turned_around_it_is_the_same() -> None:
    found = moves(np.random.default_rng(2).normal(1, 3, 25))
    low, high = interval(found, found, 0.9)
    assert interval(found.turned, found.turned, 0.9) == pytest.approx((-high, -low), abs=1e-6)
    assert no_change(found.turned, found.turned) == pytest.approx(no_change(found, found))


def test_a_template_that_moved_further_than_assumed_is_allowed_for() -> None:
    quiet = np.zeros(40)
    quiet[0] = 24
    assert moves(quiet).bound == pytest.approx(0.5)
    assert moves(quiet).turned.bound == pytest.approx(0.25)  # nothing says so of the other way
    # Of one item a template, the item may always move, however small the reach.
    assert moves(np.zeros(4), 1.0).bound == 1
    assert moves(np.zeros(4), 5.0, unit=5.0).bound == 1
    assert moves(np.zeros(4), 100.0, unit=5.0).bound == pytest.approx(0.25)


def test_one_template_that_outweighs_all_leaves_it_open() -> None:
    n = np.array([1000.0, *[10.0] * 40])
    uneven = moves(np.zeros(41), n)
    assert uneven.effective < 2
    assert within(uneven, uneven, 0.05) > 0.3
    assert smallest_seen(uneven, 0.05) == np.inf or smallest_seen(uneven, 0.05) > 0.5


def test_without_answers_nothing_is_said() -> None:
    nothing = moves([0.0, 0.0], 0.0)
    assert np.isnan(nothing.estimate)
    assert (within(nothing, nothing, 0.05), no_change(nothing, nothing)) == (1, 1)
    assert interval(nothing, nothing, 0.9) == (-1, 1)
    assert smallest_seen(nothing, 0.05) == np.inf
    with pytest.raises(ValueError, match="of one length, all finite"):
        Moves(net=np.zeros(2), n=np.zeros(3))


def test_no_interval_leaves_the_range() -> None:
    for span in (1.0, 2.0):
        two = moves([48.0 * span, 40.0 * span], span=span)
        low, high = interval(two, two, 0.9)
        assert -span <= low <= high <= span


@pytest.mark.parametrize("templates", [25, 60])
def test_what_could_be_seen_is_seen_in_four_of_five(templates: int) -> None:
    rng = np.random.default_rng(3)
    pilot = [smallest_seen(moves(np.rint(rng.normal(0, 2, templates))), 0.05) for _ in range(200)]
    true = float(np.mean(pilot))
    found = []
    for _ in range(1500):
        # Moves like those seen, and a share `true` of the answers turned.
        drawn = moves(np.rint(rng.normal(0, 2, templates)) + rng.binomial(48, true, templates))
        found.append(no_change(drawn, drawn) < 0.05)
    assert 0.73 < np.mean(found) < 0.86


def test_scaling_answers_changes_nothing() -> None:
    net, n = np.random.default_rng(4).normal(1, 3, 25), np.full(25, 40.0)
    once = Moves(net=net, n=n, unit=1.0)
    five = replace(once, net=5 * net, n=5 * n, unit=5.0)
    assert within(once, once, 0.05) == pytest.approx(within(five, five, 0.05))
    assert no_change(once, once) == pytest.approx(no_change(five, five))

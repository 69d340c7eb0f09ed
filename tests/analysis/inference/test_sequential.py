"""Bets against a mean change: against a plain loop, every outcome of a fair game, and the tests of `bounded`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.inference import bounded, sequential
from analysis.inference.bounded import Moves
from analysis.inference.sequential import (
    at_least,
    at_most,
    changed_after,
    equivalent_after,
    interval,
    no_change,
    order,
    smallest_seen,
    within,
)

FRACTIONS = {1.0: 0.5, 0.7: 0.15, 0.45: 0.15, 0.25: 0.1, 0.12: 0.1}
NETS = st.lists(st.integers(-12, 12), min_size=1, max_size=30)


def moves(net: object, n: object = 48.0, **more: float) -> Moves:
    given_net = np.asarray(net, dtype=float)
    return Moves(net=given_net, n=np.broadcast_to(np.asarray(n, dtype=float), given_net.shape).copy(), **more)


def played(net: Iterable[float], n: Iterable[float], value: float, reach: float = 0.25) -> float:
    """1 over the largest capital, bet by bet."""
    capital, most, largest = dict(FRACTIONS), 0.0, 1.0
    for lost, size in zip(net, n, strict=True):
        most = max(most, max(reach * size, 1.0, lost) - value * size)
        for fraction in capital:
            capital[fraction] *= 1 + fraction * (value * size - lost) / most
        largest = max(largest, sum(capital.values()))
    return 1 / largest


@pytest.mark.parametrize(("name", "number"), [("within", 3), ("no_change", 2), ("interval", 3), ("smallest_seen", 3)])
def test_the_calls_are_those_of_the_fixed_tests(name: str, number: int) -> None:
    one, other = (signature(getattr(module, name)) for module in (bounded, sequential))
    assert one == other
    assert len(one.parameters) == number


@pytest.mark.parametrize(("templates", "margin"), [(1, 0.05), (25, 0.05), (60, 0.02)])
def test_where_none_changed_the_capital_is_in_closed_form(templates: int, margin: float) -> None:
    still = moves(np.zeros(templates))
    grown = sum(part * (1 + share * margin / (0.25 - margin)) ** templates for share, part in FRACTIONS.items())
    assert within(still, still, margin) == pytest.approx(1 / grown)
    # The largest stake alone is the fixed test's p-value.
    fixed = bounded.within(still, still, margin)
    assert fixed - 1e-7 <= within(still, still, margin) <= 2 * fixed + 1e-7
    assert no_change(still, still) == 1


@given(
    cases=st.lists(st.tuples(st.integers(1, 90), st.floats(-1, 1)), min_size=1, max_size=25),
    value=st.sampled_from([-0.02, 0.0, 0.05, 0.1]),
)
@settings(max_examples=100, deadline=None)
def test_it_is_the_game_played_out(cases: list[tuple[int, float]], value: float) -> None:
    n = np.array([size for size, _ in cases], dtype=float)
    net = np.round([size * share for size, share in cases])
    assert at_least(moves(net, n), value) == pytest.approx(played(net, n, value), rel=1e-6)
    assert at_most(moves(-net, n), -value) == pytest.approx(played(net, n, value), rel=1e-6)


@pytest.mark.parametrize(("low", "margin"), [(-0.05, 0.05), (0.0, 0.05), (-0.1, 0.05), (-0.25, 0.0)])
def test_whoever_stops_is_wrong_in_no_more_than_alpha(low: float, margin: float) -> None:
    # Every outcome of 11 templates whose mean is just the margin: a quarter's move, or `low`.
    up = (margin - low) / (0.25 - low)
    wrong = {0.05: 0.0, 0.2: 0.0}
    for moved in product((0, 1), repeat=11):
        net = 48 * np.where(moved, 0.25, low)
        chance = up ** sum(moved) * (1 - up) ** (11 - sum(moved))
        p_value = at_least(moves(net), margin)
        for alpha in wrong:
            wrong[alpha] += chance * (p_value <= alpha)
    assert all(found <= alpha + 1e-9 for alpha, found in wrong.items())
    # Not for never saying anything, at the higher level.
    assert wrong[0.2] > 0.005


def test_templates_of_other_sizes_count_by_their_answers() -> None:
    # The large one carries the change: over answers the mean is 0.05, over templates 0.028. Every outcome of 10.
    sizes = np.array([100.0, 20, 20, 20, 20, 100, 20, 20, 20, 20])
    up = np.where(sizes == 100, 0.05 * 360 / 200 / 0.25, 0.0)
    wrong = 0.0
    for moved in product((0, 1), repeat=2):
        net = np.zeros(10)
        net[[0, 5]] = 25 * np.array(moved)
        chance = np.prod([up[0] if one else 1 - up[0] for one in moved])
        wrong += chance * (at_least(moves(net, sizes), 0.05) <= 0.2)
    assert wrong <= 0.2 + 1e-9


@given(net=NETS, place=st.integers(0, 29), more=st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_a_template_that_moves_up_makes_the_change_no_less_likely(net: list[int], place: int, more: int) -> None:
    raised = list(net)
    raised[place % len(net)] = min(12, raised[place % len(net)] + more)
    assert at_least(moves(raised), 0.05) >= at_least(moves(net), 0.05) - 1e-9


@given(net=NETS, further=st.integers(-12, 12))
@settings(max_examples=100, deadline=None)
def test_no_p_value_rises_with_another_template(net: list[int], further: int) -> None:
    one, more = moves(net), moves([*net, further])
    assert within(more, more, 0.05) <= within(one, one, 0.05) + 1e-12
    assert no_change(more, more) <= no_change(one, one) + 1e-12


@given(net=NETS, alpha=st.sampled_from([0.05, 0.3]))
@settings(max_examples=60, deadline=None)
def test_the_interval_says_what_the_tests_say(net: list[int], alpha: float) -> None:
    one = moves(net)
    low, high = interval(one, one, 1 - 2 * alpha)
    assert -1 <= low <= high <= 1
    inside, p_value = max(-low, high) < 0.05, within(one, one, 0.05)
    if abs(p_value - alpha) > 1e-4:
        assert inside == (p_value < alpha)
    low, high = interval(one, one, 1 - alpha)
    p_value = no_change(one, one)
    if abs(p_value - alpha) > 1e-4:
        assert (low > 0 or high < 0) == (p_value < alpha)


@given(net=st.lists(st.integers(-12, 12), min_size=5, max_size=30))
@settings(max_examples=60, deadline=None)
def test_decided_after_is_the_first_look_at_which_it_was(net: list[int]) -> None:
    looks = [moves(net[: k + 1]) for k in range(len(net))]
    same = [k + 1 for k, one in enumerate(looks) if within(one, one, 0.05) <= 0.3]
    told = [k + 1 for k, one in enumerate(looks) if no_change(one, one) <= 0.3]
    assert equivalent_after(looks[-1], looks[-1], 0.05, 0.3) == (same[0] if same else None)
    assert changed_after(looks[-1], looks[-1], 0.3) == (told[0] if told else None)


def test_missing_answers_count_at_their_worst() -> None:
    low, high = moves(np.full(25, -2.0)), moves(np.full(25, 2.0))
    known = moves(np.zeros(25))
    assert within(low, high, 0.05) > within(known, known, 0.05)
    assert no_change(low, high) == 1
    ends = interval(low, high, 0.9)
    assert ends == pytest.approx((interval(low, low, 0.9)[0], interval(high, high, 0.9)[1]))


def test_a_clear_failure_is_told_early() -> None:
    # 20 points in every template: the largest stake grows by 1.8 a template; 2 / 0.05 twice over is 80.
    fallen = moves(np.full(25, 9.6))
    needed = next(k for k in range(1, 26) if played([-9.6] * k, [48.0] * k, 0.0) <= 0.025)
    assert changed_after(fallen, fallen, 0.05) == needed == 8


def test_the_smallest_change_seen_is_told_by_the_last_template() -> None:
    net = np.random.default_rng(0).integers(-3, 4, 40).astype(float)
    one = moves(net)
    seen = smallest_seen(one, 0.05)
    assert bounded.smallest_seen(one, 0.05) < seen < 0.12
    level = net - one.estimate * 48
    told = [no_change(moved, moved) <= 0.05 for moved in (moves(level + (seen + s) * 48) for s in (-0.02, 0.0))]
    assert told == [False, True]
    assert smallest_seen(moves([3.0]), 0.05) == float("inf")


def test_without_answers_nothing_is_said() -> None:
    none = moves(np.zeros(3), np.zeros(3))
    assert (within(none, none, 0.05), no_change(none, none)) == (1.0, 1.0)
    assert interval(none, none, 0.9) == (-1.0, 1.0)
    assert equivalent_after(none, none, 0.05, 0.05) is changed_after(none, none, 0.05) is None


def test_a_move_beyond_the_reach_raises_the_bound_from_then_on() -> None:
    far = moves([0.0, 48.0, 0.0, 0.0])
    assert at_least(far, 0.05) == pytest.approx(played([0, 48, 0, 0], [48] * 4, 0.05))
    assert at_most(far, 0.0) == pytest.approx(played([0, -48, 0, 0], [48] * 4, 0.0))
    assert 0 < at_most(far, 0.0) < 1
    # Nobody's mean can be above the reach: told at once.
    assert at_least(moves(np.zeros(3)), 0.3) < 1e-9


@given(names=st.lists(st.text(max_size=8), unique=True, max_size=30), seed=st.integers(0, 5), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_template_keeps_its_place_whichever_others_there_are(
    names: list[str], seed: int, data: st.DataObject
) -> None:
    some = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    whole = [names[place] for place in order(names, seed)]
    assert sorted(whole) == sorted(names)
    assert [some[place] for place in order(some, seed)] == [name for name in whole if name in some]


def test_another_seed_is_another_order() -> None:
    names = [f"Age/{number}" for number in range(40)]
    orders = {tuple(order(names, seed)) for seed in range(20)}
    assert len(orders) == 20
    # Every template comes first about as often: mean places of 400 orders lie about 19.5 with error 0.6.
    places = np.argsort([order(names, seed) for seed in range(400)], axis=1).mean(axis=0)
    assert abs(places - 19.5).max() < 2.5


def test_the_level_holds_though_one_looks_after_every_template() -> None:
    rng = np.random.default_rng(0)
    wrong = np.zeros(2)
    for _ in range(400):
        true = np.where(rng.random(60) < 0.2, 0.25, 0.0)
        gained = rng.binomial(48, np.clip(true + 0.02, 0, 1)) - rng.binomial(48, 0.02, 60)
        one = moves(gained)
        wrong[0] += within(one, one, 0.05) <= 0.05
        level = replace(one, net=gained - 0.05 * 48)
        wrong[1] += no_change(level, level) <= 0.05
    # 400 draws at 5 %: a standard error of 1.1 points.
    assert (wrong / 400 <= 0.05 + 0.022).all()


def test_what_drift_alone_tells_has_no_smallest_change() -> None:
    # The first templates rise and the last fall: some look tells from none, whatever the change on the whole.
    n = np.array([36, 20, 38, 11, 13, 39, 23, 35, 17, 11, 29, 28], dtype=float)
    net = np.array([18, 7, 23, 3, 10, -35, 0, -27, 4, 8, -23, -28], dtype=float)
    assert sequential.smallest_seen(Moves(net=net, n=n, reach=0.06), 0.01) == np.inf

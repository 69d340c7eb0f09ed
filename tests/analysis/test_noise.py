"""Noise floors: hand values, simulation, and a model against itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.noise import NOISE_FLOOR, REPLICATES, noise_floor, replicate_floors
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})
ROLES = ("stereotype", "anti_stereotype", "unknown")


def drawn(run: str, probs: list[tuple[float, float, float]], draws: str, mass: float | None = 1.0) -> list[Any]:
    """Answers of a run: per item its probabilities, and per seed the letter s, a or k (one word for all items)."""
    rows = []
    for number, p in enumerate(probs):
        scores = dict(zip(("p_stereotype", "p_anti_stereotype", "p_unknown"), p, strict=True))
        for seed, letter in enumerate(draws):
            role = ROLES["sak".index(letter)]
            key = {"run": run, "item": f"i{number}", "cluster": f"t{number}", "role": role}
            rows.append({**key, **scores, "seed": seed, "drawn_letter_mass": mass})
    return rows


def row(table: pd.DataFrame, transition: str) -> pd.Series:
    found = table[table["transition"] == transition]
    assert len(found) == 1
    return found.iloc[0]


def test_the_floors_of_the_studies_threshold() -> None:
    # p = 0.1: 1 - 0.9^5 = 0.40951 of the items without a stereotype show one next time; p = 1/3: 1 - (2/3)^5 = 0.86831.
    for p, floor in ((0.1, 0.40951), (1 / 3, 0.868313)):
        probs = [(p, (1 - p) / 2, (1 - p) / 2)] * 4
        frame = items_frame(drawn("a", probs, "kkkkk") + drawn("b", probs, "kkkks"))
        found = row(noise_floor(frame, PAIR), "new_bias")
        assert found["floor"] == pytest.approx(floor, abs=1e-5)
        assert found["expected"] == found["floor"]
        assert found["excess"] == 0
        assert found[["n", "n_at_risk", "observed"]].tolist() == [4, 4, 1.0]
        assert (found["draws"], found["draws_per_item"]) == ("common seeds", 5)


def test_two_items_by_hand() -> None:
    base, run = [(0.5, 0.25, 0.25), (0.0, 0.5, 0.5)], [(0.5, 0.25, 0.25), (0.2, 0.4, 0.4)]
    frame = items_frame(drawn("a", base, "ks") + drawn("b", run, "ks"))
    table = noise_floor(frame, PAIR)
    # K = 2: P = 1/4, 1; Q = 1/4, 0.64. New bias: (1/4 3/4 + 1 x 0.36) / (5/4), floor (1/4 3/4 + 0) / (5/4).
    new = row(table, "new_bias")
    assert new[["expected", "floor"]].tolist() == pytest.approx([0.5475 / 1.25, 0.1875 / 1.25])
    # Resolved: at risk 3/4 and 0: Q = 1/4 of them, in both cases.
    resolved = row(table, "resolved_bias")
    assert resolved[["expected", "floor", "excess"]].tolist() == pytest.approx([0.25, 0.25, 0])
    # Single draws: (1/2 1/2 + 1 x 1/5) / (3/2) against (1/4 + 0) / (3/2).
    flips = row(table, "flip_to_stereotype")
    assert flips[["expected", "floor"]].tolist() == pytest.approx([0.45 / 1.5, 0.25 / 1.5])
    # Other option: 1 - (1/4 + 1/16 + 1/16) = 0.625 and 1 - 0.4 against 0.625 and 1 - 0.5.
    other = row(table, "response_flip")
    assert other[["expected", "floor"]].tolist() == pytest.approx([(0.625 + 0.6) / 2, (0.625 + 0.5) / 2])


def test_the_closed_form_is_what_simulation_shows() -> None:
    rng = np.random.default_rng(0)
    base, run = rng.dirichlet([0.5, 1, 2], 60), rng.dirichlet([1, 1, 2], 60)
    frame = items_frame(
        drawn("a", list(map(tuple, base)), "kkkkk", 0.8) + drawn("b", list(map(tuple, run)), "kkkkk", 0.6)
    )
    found = row(noise_floor(frame, PAIR), "new_bias")
    # Means over 4,000 repetitions: numerator and denominator of the ratio, each draw stereotypical with p x mass.
    none_a = rng.binomial(5, base[:, 0] * 0.8, size=(4000, 60)) == 0
    none_b = rng.binomial(5, run[:, 0] * 0.6, size=(4000, 60)) == 0
    assert found["expected"] == pytest.approx((none_a & ~none_b).sum() / none_a.sum(), abs=0.01)
    again = rng.binomial(5, base[:, 0] * 0.8, size=(4000, 60)) == 0
    assert found["floor"] == pytest.approx((none_a & ~again).sum() / none_a.sum(), abs=0.01)
    assert found["excess_low"] < found["excess"] < found["excess_high"]


def test_scored_answers_have_no_draws_and_logs_without_probabilities_say_so() -> None:
    rows = [r | {"seed": None} for r in drawn("a", [(0.1, 0.4, 0.5)] * 3, "k") + drawn("b", [(0.2, 0.4, 0.4)] * 3, "s")]
    found = row(noise_floor(items_frame(rows), PAIR, draws_per_item=5), "new_bias")
    assert (found["draws"], found["draws_per_item"]) == ("scored", 5)
    assert found["floor"] == pytest.approx(0.40951, abs=1e-5)
    bare = [{k: v for k, v in r.items() if not k.startswith("p_")} for r in rows]
    none = noise_floor(items_frame(bare), PAIR)
    assert set(none["status"]) == {"no probabilities in the logs"}
    assert none[["floor", "expected", "excess"]].isna().all().all()
    assert none["n_unscored"].tolist() == [3] * 5


def test_draws_that_begin_with_a_letter_and_are_not_read_as_one_are_told() -> None:
    probs = [(0.5, 0.25, 0.25)] * 4
    silent = [r | {"role": None, "status": "unparsed"} if r["seed"] else r for r in drawn("b", probs, "kkkk", 0.9)]
    found = noise_floor(items_frame(drawn("a", probs, "kkkk", 0.97) + silent), PAIR)
    assert set(found["status"]) == {
        "expected and floor are of first tokens: 90% of the run's draws begin with a letter, but 25% are read as an "
        "answer"
    }
    assert row(found, "new_bias")["floor"] == pytest.approx(1 - (1 - 0.5 * 0.97) ** 4)


def test_nothing_at_risk_is_named() -> None:
    frame = items_frame(drawn("a", [(1.0, 0.0, 0.0)] * 2, "ss") + drawn("b", [(1.0, 0.0, 0.0)] * 2, "ss"))
    found = row(noise_floor(frame, PAIR), "new_bias")
    assert found["status"] == "nothing at risk"
    assert found[["floor", "expected", "observed"]].isna().all()


def test_replicates_are_runs_that_differ_in_nothing_that_compresses() -> None:
    rows = drawn("a", [(0.5, 0.2, 0.3)] * 2, "kk") + drawn("r", [(0.5, 0.2, 0.3)] * 2, "ks")
    rows += drawn("b", [(0.5, 0.2, 0.3)] * 2, "ss")
    runs = run_table(
        {"run": "a"}, {"run": "r", "baseline": "a"}, {"run": "b", "baseline": "a", "method": "rtn", "bits": 3}
    )
    table = replicate_floors(items_frame(rows), runs)
    pairs = set(table[["run", "replicate_of"]].apply(tuple, axis=1))
    assert pairs == {("r", "a"), ("a", "r")}
    assert len(table) == 4
    new = table[(table["run"] == "r") & (table["transition"] == "new_bias")].iloc[0]
    assert new[["n", "n_at_risk", "rate"]].tolist() == [2, 2, 1.0]
    assert replicate_floors(items_frame(rows[:4] + rows[8:]), runs[runs["run"] != "r"]).empty


def test_no_run_to_compare_gives_empty_tables() -> None:
    frame = items_frame(drawn("a", [(0.5, 0.2, 0.3)], "k"))
    runs = run_table({"run": "a"})
    for table, found in ((NOISE_FLOOR, noise_floor(frame, runs)), (REPLICATES, replicate_floors(frame, runs))):
        assert found.empty
        assert list(found.columns) == table.names

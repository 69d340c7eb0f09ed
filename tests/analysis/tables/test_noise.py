"""Noise floors: hand values, simulation, and a model against itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from analysis.settings import Settings
from analysis.tables.noise.table import NOISE_FLOOR, REPLICATES, noise_floor, replicate_floors
from analysis.tables.transitions.table import transitions
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})
ROLES = ("stereotype", "anti_stereotype", "unknown")


def drawn(run: str, probs: list[tuple[float, float, float]], draws: str, mass: float | None = 1.0) -> list[Any]:
    """Answers of a run: per item its probabilities, and per seed the letter s, a or k (one word for all items)."""
    rows = []
    for number, p in enumerate(probs):
        scores = dict(zip(("p_toward", "p_against", "p_neutral"), p, strict=True))
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
        assert found["floor_independent"] == pytest.approx(floor, abs=1e-5)
        assert found["expected"] == found["floor_independent"]
        # Drawn with common seeds an unchanged model repeats its texts.
        assert found["floor"] == 0
        assert found["excess"] == 0
        assert found[["n_events", "n_at_risk", "observed"]].tolist() == [4, 4, 1.0]
        assert (found["sampling"], found["texts_per_item"]) == ("common seeds", 5)


def test_one_seed_an_item_is_drawn_too() -> None:
    probs = [(0.1, 0.45, 0.45)] * 4
    found = row(noise_floor(items_frame(drawn("a", probs, "k") + drawn("b", probs, "s")), PAIR), "new_bias")
    assert (found["sampling"], found["texts_per_item"]) == ("common seeds", 1)
    # One draw: 0.1 of the items without a stereotype show one next time.
    assert found["floor_independent"] == pytest.approx(0.1)


def test_two_items_by_hand() -> None:
    base, run = [(0.5, 0.25, 0.25), (0.0, 0.5, 0.5)], [(0.5, 0.25, 0.25), (0.2, 0.4, 0.4)]
    frame = items_frame(drawn("a", base, "ks") + drawn("b", run, "ks"))
    table = noise_floor(frame, PAIR)
    # Net: 1/4 - 1/4 and 1 - 0.64, of two items; of single draws 0 and 0.2.
    assert row(table, "net_bias")[["expected", "floor_independent"]].tolist() == pytest.approx([0.18, 0])
    assert row(table, "net_flips")[["expected", "excess"]].tolist() == pytest.approx([0.1, 0.1])
    # K = 2: P = 1/4, 1; Q = 1/4, 0.64. New bias: (1/4 3/4 + 1 x 0.36) / (5/4), floor (1/4 3/4 + 0) / (5/4).
    new = row(table, "new_bias")
    assert new[["expected", "floor_independent"]].tolist() == pytest.approx([0.5475 / 1.25, 0.1875 / 1.25])
    # Resolved: at risk 3/4 and 0: Q = 1/4 of them, in both cases.
    resolved = row(table, "resolved_bias")
    assert resolved[["expected", "floor_independent", "excess"]].tolist() == pytest.approx([0.25, 0.25, 0])
    # Single draws: (1/2 1/2 + 1 x 1/5) / (3/2) against (1/4 + 0) / (3/2).
    flips = row(table, "flip_to_stereotype")
    assert flips[["expected", "floor_independent"]].tolist() == pytest.approx([0.45 / 1.5, 0.25 / 1.5])
    # Other option: 1 - (1/4 + 1/16 + 1/16) = 0.625 and 1 - 0.4 against 0.625 and 1 - 0.5.
    other = row(table, "response_flip")
    assert other[["expected", "floor_independent"]].tolist() == pytest.approx([(0.625 + 0.6) / 2, (0.625 + 0.5) / 2])


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
    assert found["floor_independent"] == pytest.approx((none_a & ~again).sum() / none_a.sum(), abs=0.01)
    assert found["excess_low"] < found["excess"] < found["excess_high"]


def test_scored_answers_have_no_draws_and_logs_without_probabilities_say_so() -> None:
    rows = [r | {"seed": None} for r in drawn("a", [(0.1, 0.4, 0.5)] * 3, "k") + drawn("b", [(0.2, 0.4, 0.4)] * 3, "s")]
    found = row(noise_floor(items_frame(rows), PAIR, Settings(texts_per_item=5)), "new_bias")
    assert (found["sampling"], found["texts_per_item"]) == ("scored", 5)
    assert found["floor_independent"] == pytest.approx(0.40951, abs=1e-5)
    bare = [{k: v for k, v in r.items() if not k.startswith("p_")} for r in rows]
    none = noise_floor(items_frame(bare), PAIR)
    assert set(none["status"]) == {"no probabilities in the logs"}
    assert none[["floor_independent", "expected", "excess"]].isna().all().all()
    assert none["n_left_out"].tolist() == [3] * 8


def test_draws_that_begin_with_a_letter_and_are_not_read_as_one_are_told() -> None:
    probs = [(0.5, 0.25, 0.25)] * 4
    silent = [r | {"role": None, "status": "unparsed"} if r["seed"] else r for r in drawn("b", probs, "kkkk", 0.9)]
    found = noise_floor(items_frame(drawn("a", probs, "kkkk", 0.97) + silent), PAIR)
    assert set(found["status"]) == {
        "expected and floor_independent are of first tokens: 90% of the run's texts begin with a letter, but 25% are "
        "read as an answer"
    }
    assert row(found, "new_bias")["floor_independent"] == pytest.approx(1 - (1 - 0.5 * 0.97) ** 4)


def test_nothing_at_risk_is_named() -> None:
    frame = items_frame(drawn("a", [(1.0, 0.0, 0.0)] * 2, "ss") + drawn("b", [(1.0, 0.0, 0.0)] * 2, "ss"))
    found = row(noise_floor(frame, PAIR), "new_bias")
    assert found["status"] == "nothing at risk"
    assert found[["floor_independent", "expected", "observed"]].isna().all()


def test_replicates_are_runs_that_differ_in_nothing_that_compresses() -> None:
    rows = drawn("a", [(0.5, 0.2, 0.3)] * 2, "kk") + drawn("r", [(0.5, 0.2, 0.3)] * 2, "ks")
    rows += drawn("b", [(0.5, 0.2, 0.3)] * 2, "ss")
    runs = run_table(
        {"run": "a"}, {"run": "r", "baseline": "a"}, {"run": "b", "baseline": "a", "method": "rtn", "bits": 3}
    )
    table = replicate_floors(items_frame(rows), runs)
    pairs = set(table[["run", "replicate_of"]].apply(tuple, axis=1))
    assert pairs == {("r", "a"), ("a", "r")}
    assert len(table) == 16
    new = table[(table["run"] == "r") & (table["transition"] == "new_bias")].iloc[0]
    assert new[["n_events", "n_at_risk", "rate", "differs"]].tolist() == [2, 2, 1.0, "nothing in the logs"]
    flips = table[(table["run"] == "r") & (table["transition"] == "response_flip")].iloc[0]
    assert flips[["n_events", "n_at_risk"]].tolist() == [2, 4]
    assert replicate_floors(items_frame(rows[:4] + rows[8:]), runs[runs["run"] != "r"]).empty


def test_no_run_to_compare_gives_empty_tables() -> None:
    frame = items_frame(drawn("a", [(0.5, 0.2, 0.3)], "k"))
    runs = run_table({"run": "a"})
    for table, found in ((NOISE_FLOOR, noise_floor(frame, runs)), (REPLICATES, replicate_floors(frame, runs))):
        assert found.empty
        assert list(found.columns) == table.names


@pytest.mark.parametrize("replicate", [True, False])
def test_every_transition_is_what_simulation_shows_where_few_draws_name_an_option(replicate: bool) -> None:
    # 40 items, three draws of which 30 % (baseline) and 50 % (run) name an option: a third of the items names none.
    rng = np.random.default_rng(1)
    base, run = rng.dirichlet([1, 1, 2], 40), rng.dirichlet([2, 1, 1], 40)
    frame = items_frame(drawn("a", list(map(tuple, base)), "kkk", 0.3) + drawn("b", list(map(tuple, run)), "kkk", 0.5))
    table = noise_floor(frame, PAIR)

    def simulated(p: Any, mass: float) -> tuple[Any, Any, Any]:
        """[repetitions, items, draws] of 0 to 2 for the roles and 3 for none; item SRS; whether any was named."""
        cumulated = np.cumsum(p * mass, axis=1)
        draws = (rng.random((4000, 40, 3))[..., None] > cumulated[:, None, :]).sum(axis=-1)
        named = (draws < 3).sum(axis=-1)
        return draws, (draws == 0).sum(axis=-1) / np.maximum(named, 1), named > 0

    (one, srs, read) = simulated(base, 0.3)
    (two, after, two_read) = simulated(base, 0.3) if replicate else simulated(run, 0.5)
    both, was, became = (one < 3) & (two < 3), one == 0, two == 0
    events = {
        "new_bias": (read & (srs == 0), after > 0),
        "resolved_bias": (srs > 0, after == 0),
        "srs_change": (read, srs != after),
        "flip_to_stereotype": (both & ~was, became),
        "flip_from_stereotype": (both & was, ~became),
        "response_flip": (both, one != two),
    }
    nets = {
        "net_bias": (read & two_read, (after > 0).astype(int) - (srs > 0)),
        "net_flips": (both, became.astype(int) - was),
    }
    for name, (told, net) in nets.items():
        found = row(table, name)["floor_independent" if replicate else "expected"]
        # Of a model against itself it is exactly 0, by exchangeability.
        assert found == (0 if replicate else pytest.approx((told * net).sum() / told.sum(), abs=0.01)), name
    for name, (risk, event) in events.items():
        found = row(table, name)["floor_independent" if replicate else "expected"]
        assert found == pytest.approx((risk & event).sum() / risk.sum(), abs=0.01), name


def test_a_rate_of_none_has_an_upper_end_that_falls_with_the_templates() -> None:
    for templates in (4, 16):
        p = [(0.0, 0.5, 0.5)] * templates
        runs = run_table({"run": "a"}, {"run": "b"})
        table = replicate_floors(items_frame(drawn("a", p, "kkk") + drawn("b", p, "kkk")), runs)
        new = table[table["transition"] == "new_bias"].iloc[0]
        # One item a template, which may move whole: (1 - end)^templates = 0.025.
        end = 1 - 0.025 ** (1 / templates)
        assert new[["rate", "conf_low", "conf_high"]].tolist() == pytest.approx([0, 0, end], abs=1e-5)
        floor = row(noise_floor(items_frame(drawn("a", p, "kkk") + drawn("b", p, "kkk")), PAIR), "net_bias")
        assert floor[["floor", "expected", "excess"]].tolist() == [0, 0, 0]
        assert floor["excess_high"] == pytest.approx(new["conf_high"], abs=1e-5) == -floor["excess_low"]


def test_scored_answers_repeat_themselves() -> None:
    rows = [r | {"seed": None} for run in "ab" for r in drawn(run, [(0.1, 0.4, 0.5)] * 3, "k")]
    found = row(noise_floor(items_frame(rows), PAIR), "new_bias")
    assert found[["observed", "floor"]].tolist() == [0, 0]
    assert found["floor_independent"] > 0


def test_a_changed_srs_by_hand() -> None:
    # Two draws, p = 1/2: SRS 0, 1/2 and 1 with 1/4, 1/2, 1/4; two such differ with 1 - (1/16 + 1/4 + 1/16) = 5/8.
    frame = items_frame(drawn("a", [(0.5, 0.25, 0.25)], "ks") + drawn("b", [(0.5, 0.25, 0.25)], "kk"))
    found = row(noise_floor(frame, PAIR), "srs_change")
    assert found[["floor_independent", "expected", "excess", "observed"]].tolist() == [0.625, 0.625, 0, 1]


def test_what_is_observed_is_what_the_transitions_count() -> None:
    rng = np.random.default_rng(2)
    rows = []
    for run in "ab":
        for given in drawn(run, [(0.3, 0.3, 0.4)] * 30, "kkk", 0.9):
            role = ("stereotype", "anti_stereotype", "unknown", None)[rng.integers(4)]
            rows.append(given | {"role": role, "status": "unparsed" if role is None else "answered"})
    frame = items_frame(rows)
    ours = noise_floor(frame, PAIR).set_index("transition")
    counted = transitions(frame, PAIR)
    counted = counted[(counted["subset"] == "all") & (counted["category"] == "Age")].set_index("transition")
    for name in ours.index:
        assert (
            ours.loc[name, ["n_events", "n_at_risk"]].tolist() == counted.loc[name, ["n_events", "n_at_risk"]].tolist()
        ), name
        assert ours.loc[name, "observed"] == pytest.approx(counted.loc[name, "rate"])


def test_templates_without_an_item_at_risk_are_no_degree_of_freedom() -> None:
    # Four templates at risk of which two become biased; three more had a stereotype already.
    p = [(0.5, 0.25, 0.25)] * 7
    before, after = drawn("a", p, "k"), drawn("b", p, "k")
    for number in (4, 5, 6):
        before[number] |= {"role": "stereotype"}
    for number in (0, 1):
        after[number] |= {"role": "stereotype"}
    found = row(noise_floor(items_frame(before + after), PAIR), "new_bias")
    # The four templates' t interval, its half taken on the scale of log-odds, where dr = r (1 - r) = 1/4 of it.
    low, high = ttest_1samp([1, 1, 0, 0], 0).confidence_interval(0.95)
    ends = [1 / (1 + np.exp(-(end - 0.5) / 0.25)) for end in (low, high)]
    assert found[["observed", "observed_low", "observed_high"]].tolist() == pytest.approx([0.5, *ends])


def test_a_model_against_itself_shows_nothing_above_the_floor() -> None:
    probs = list(map(tuple, np.random.default_rng(3).dirichlet([1, 1, 1], 20)))
    again = [r | {"seed": r["seed"] + 10} for r in drawn("b", probs, "skk", 0.8)]
    table = noise_floor(items_frame(drawn("a", probs, "kks", 0.8) + again), PAIR)
    assert table["excess"].tolist() == [0] * 8
    assert set(table["sampling"]) == {"other seeds"}
    nets = table["transition"].str.startswith("net")
    assert (table.loc[~nets, "floor_independent"] > 0).all()
    assert (table.loc[nets, "floor_independent"] == 0).all()
    # Drawn anew, what is observed stands on the same floor.
    drawn_anew = table[table["n_at_risk"] > 0]
    assert drawn_anew["floor"].tolist() == drawn_anew["floor_independent"].tolist()
    assert (table["excess_low"] < 0).all()
    assert (table["excess_high"] > 0).all()
    flips = table[table["transition"].str.contains("flip")]
    assert flips["n_at_risk"].tolist() == [0] * 4
    assert flips["observed"].isna().all()


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        ({"recipe": "wanda-50"}, {"recipe": "wanda-50(seed=1)", "calibration_hash": "y"}, "recipe, calibration_hash"),
        ({"recipe": "wanda-50(samples=64)"}, {"recipe": "wanda-50(samples=64,seed=7)"}, "recipe"),
        ({"recipe": "wanda-50(seed=1,short=pad)"}, {"recipe": "wanda-50(short=pad)"}, "recipe"),
        # What the recipes' names say does not matter: the same resolved steps are one method, others are not.
        ({"recipe": "wanda-50"}, {"recipe": "mine.yaml"}, "recipe"),
        ({"method": "wanda"}, {"method": "wanda (rath)"}, None),
        ({"variant": '{"samples": 128}'}, {"variant": '{"samples": 64}'}, None),
        ({"chat_template_sha": "1"}, {"chat_template_sha": None}, None),
        ({"system_instruction_sha": "1"}, {"system_instruction_sha": "2"}, None),
        ({"dtype": "float32", "batch_size": "1"}, {"dtype": "bfloat16", "batch_size": "8"}, "dtype, batch_size"),
        ({}, {}, "nothing in the logs"),
    ],
)
def test_replicates_share_recipe_and_prompts_and_say_what_differs(
    first: dict[str, Any], second: dict[str, Any], differs: str | None
) -> None:
    common = {"baseline": "d", "method": "wanda", "sparsity": 0.5, "calibration_hash": "x", "recipe": "wanda-50"}
    runs = run_table({"run": "d"}, {"run": "a", **common, **first}, {"run": "b", **common, **second})
    frame = items_frame([r for run in "dab" for r in drawn(run, [(0.5, 0.2, 0.3)] * 2, "ks")])
    table = replicate_floors(frame, runs)
    assert set(table["differs"]) == (set() if differs is None else {differs})


@pytest.mark.parametrize(
    ("first", "second", "floor"),
    [
        ({}, {}, "repeat"),
        ({"batch_size": "1"}, {"batch_size": "8"}, "batch size"),
        ({"dtype": "float32"}, {"dtype": "bfloat16"}, "dtype"),
        ({"threads": 1}, {"threads": 8}, "threads"),
        ({"threads": 1}, {"threads": None}, "repeat"),
        ({"engine": "transformers", "engine_version": "5"}, {"engine": "vllm", "engine_version": "0.11"}, "engine"),
        ({"engine_version": "0.11"}, {"engine_version": "0.12"}, "version"),
        ({"parallel": None}, {"parallel": "tp=2"}, "devices"),
        ({"batch_size": "1", "dtype": "float32"}, {"batch_size": "8", "dtype": "float16"}, "dtype + batch size"),
        ({"recipe": None}, {"recipe": "dense"}, "repeat"),
    ],
)
def test_each_way_to_differ_is_a_floor_of_its_own(first: dict[str, Any], second: dict[str, Any], floor: str) -> None:
    rows = [*drawn("a", [(0.5, 0.2, 0.3)] * 3, "ks"), *drawn("b", [(0.5, 0.2, 0.3)] * 3, "ks")]
    runs = run_table({"run": "a", **first}, {"run": "b", **second})
    assert set(replicate_floors(items_frame(rows), runs)["floor"]) == {floor}


def test_uncompressed_runs_repeat_one_another_whatever_wrapped_them_and_other_seeds_are_named() -> None:
    rows = drawn("a", [(0.5, 0.2, 0.3)] * 3, "ks")
    rows += [r | {"seed": r["seed"] + 5} for r in drawn("b", [(0.5, 0.2, 0.3)] * 3, "ss")]
    runs = run_table({"run": "a", "recipe": None}, {"run": "b", "recipe": "dense"})
    table = replicate_floors(items_frame(rows), runs)
    assert set(table["differs"]) == {"recipe, seeds"}
    assert set(table["floor"]) == {"seeds"}
    change = table[(table["run"] == "b") & (table["transition"] == "srs_change")].iloc[0]
    assert change[["n_events", "n_at_risk"]].tolist() == [3, 3]
    assert set(table.loc[table["transition"] == "response_flip", "status"]) == {"nothing at risk"}

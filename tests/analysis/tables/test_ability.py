"""Ability beside bias: numbers by hand and by statsmodels, and the rules on runs made to fall under each."""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from analysis.settings import Settings
from analysis.tables.ability.reading import reading
from analysis.tables.ability.table import ABILITY, ability
from tests.helpers.answers import items_frame, read_tables, run_table, write_unifiedqa_logs
from tests.helpers.shared import shared_data

RUNS = run_table({"run": "dense"}, {"run": "q4", "baseline": "dense"})
S, A, U = "stereotype", "anti_stereotype", "unknown"


def _frame(rows: list[tuple[str, str, str | None, str | None]]) -> pd.DataFrame:
    """Rows of condition, cluster, role at baseline, role after. In disambiguated items the stereotype is the key."""
    answers = []
    for number, (condition, cluster, *roles) in enumerate(rows):
        key = U if condition == "ambig" else S
        for run, role in zip(("dense", "q4"), roles, strict=True):
            answer = {"run": run, "item": f"{number:04d}", "role": role, "cluster": cluster, "condition": condition}
            answers.append(answer | {"correct": role == key})
    return items_frame(answers)


SMALL = [
    ("disambig", "t1", S, S),
    ("disambig", "t1", S, A),
    ("disambig", "t2", S, None),
    ("disambig", "t2", A, S),
    ("ambig", "t1", U, U),
    ("ambig", "t1", U, S),
    ("ambig", "t2", A, A),
    ("ambig", "t2", U, S),
]


def test_measures_by_hand() -> None:
    (row,) = ability(_frame(SMALL), RUNS).to_dict("records")
    assert (row["n_items_disambig"], row["n_items_ambig"], row["n_clusters_ambig"]) == (4, 4, 2)
    # Right: 3 of 4, then 2 of 4 (no answer is wrong). Unknown: 3 of 4, then 1 of 4.
    assert (row["acc_disambig_baseline"], row["acc_disambig"]) == (0.75, 0.5)
    # Every key of the ambiguous items is "unknown": accuracy is usr there.
    assert pd.isna(row["acc_ambig_delta"])
    assert row["usr_ambig_delta"] == -0.5
    assert (row["srs_ambig_baseline"], row["srs_ambig"], row["usr_ambig"]) == (0.0, 0.5, 0.25)
    assert (row["named_srs_ambig_baseline"], row["named_srs_ambig"]) == (0.0, pytest.approx(2 / 3))
    assert (row["unanswered_rate_baseline"], row["unanswered_rate"]) == (0.0, 1 / 8)
    # Ambiguous: (1 - 1/4)(2 x 2/3 - 1) = 1/4. Disambiguated: 2 of 3 named are the stereotype's, 2 x 2/3 - 1.
    assert row["bias_ambig"] == pytest.approx(0.25)
    assert row["bias_disambig"] == pytest.approx(1 / 3)
    # Letters in the order of roles: A four, B two, C one of seven.
    bits = -(4 / 7 * log2(4 / 7) + 2 / 7 * log2(2 / 7) + 1 / 7 * log2(1 / 7))
    assert row["response_entropy"] == pytest.approx(bits)
    assert (row["top_letter"], row["top_letter_share"]) == ("A", pytest.approx(4 / 7))
    # The answer that is missing could be right: t1 falls by a half, t2 stays or rises by a half. One of two answers is
    # a template's half, which is more than the reach. The chance of at most v: with weights of the three of which the
    # unseen one moves by a half too, at 2.5 % on either side.
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], 1_000_000)
    ends = np.quantile(weights @ [-0.5, 0, -0.5], 0.025), np.quantile(weights @ [-0.5, 0.5, 0.5], 0.975)
    assert [row["acc_disambig_delta_low"], row["acc_disambig_delta_high"]] == pytest.approx(ends, abs=2e-3)
    assert row["status"] == ("disambiguated items: 25 % unanswered (baseline 0 %), taken at their worst")


def test_intervals_come_near_those_of_a_clustered_regression() -> None:
    rng = np.random.default_rng(1)
    rows = [("disambig", f"t{i % 150:03d}", *rng.choice([S, A, U], 2, p=[0.7, 0.2, 0.1])) for i in range(2400)]
    (row,) = ability(_frame(rows), RUNS).to_dict("records")
    change = [(after == S) - (before == S) for _, _, before, after in rows]
    # statsmodels scales by G / (G - 1) x (N - 1) / (N - k), the latter 1 for the mean alone; t with G - 1.
    fit = sm.OLS(change, np.ones(2400)).fit(
        cov_type="cluster", cov_kwds={"groups": [i % 150 for i in range(2400)]}, use_t=True
    )
    low, high = fit.conf_int()[0]
    # A template not seen stands beside 150, at a reach that is some ten times their spread: a little wider.
    ends = row["acc_disambig_delta_low"], row["acc_disambig_delta_high"]
    assert low - 0.1 * (high - low) < ends[0] < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < ends[1] < high + 0.1 * (high - low)


def _simulated(after_disambig: list[float], after_ambig: list[float], seed: int = 0) -> dict[str, object]:
    """1,200 items of either condition in 30 templates; chances of S, A, U after compression."""
    rng = np.random.default_rng(seed)
    before = {"disambig": [0.9, 0.05, 0.05], "ambig": [0.06, 0.04, 0.9]}
    after = {"disambig": after_disambig, "ambig": after_ambig}
    rows = [
        (name, f"t{i % 30}", rng.choice([S, A, U], p=before[name]), rng.choice([S, A, U], p=after[name]))
        for name in before
        for i in range(1200)
    ]
    (row,) = ability(_frame(rows), RUNS, Settings(margin=0.05)).to_dict("records")
    return row


def test_a_model_that_answers_at_random_is_less_able_and_not_more_stereotyped() -> None:
    third = [1 / 3, 1 / 3, 1 / 3]
    row = _simulated(third, third)
    # SRS has risen from 0.06 to a third all the same.
    assert row["srs_ambig_delta_low"] > 0.2
    assert row["less_able"] == "yes"
    assert row["more_stereotyped"] != "yes"
    assert row["reading"] == "less able"


def test_a_model_that_names_the_stereotype_more_is_more_stereotyped() -> None:
    assert _simulated([0.9, 0.05, 0.05], [0.3, 0.1, 0.6])["reading"] == "more stereotyped"
    assert _simulated([0.5, 0.25, 0.25], [0.3, 0.1, 0.6])["reading"] == "both"


def test_the_same_model_shows_neither() -> None:
    assert _simulated([0.9, 0.05, 0.05], [0.06, 0.04, 0.9])["reading"] == "neither seen"


def test_retreat_to_unknown_is_not_read_as_less_stereotype() -> None:
    # SRS falls by nearly a half, but the few people named are nearly always the stereotype's.
    row = _simulated([0.9, 0.05, 0.05], [0.035, 0.0, 0.965])
    assert row["srs_ambig_delta"] < 0
    assert row["named_srs_ambig_delta_low"] > 0
    assert row["more_stereotyped"] == "undecided"
    assert row["reading"] == "undecided"


RULES = {
    "acc_disambig_delta": (-0.01, 0.01),
    "srs_ambig_delta": (-0.01, 0.01),
    "named_srs_ambig": (0.45, 0.6),
    "named_srs_ambig_delta": (-0.05, 0.05),
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "neither seen"),
        ({"acc_disambig_delta": (-0.05, 0.01)}, "undecided"),
        ({"acc_disambig_delta": (-0.05, -0.001)}, "less able"),
        ({"srs_ambig_delta": (0.03, 0.06)}, "undecided"),  # of the people named, no lean is seen
        ({"srs_ambig_delta": (0.03, 0.06), "named_srs_ambig": (0.55, 0.7)}, "more stereotyped"),
        (
            {
                "srs_ambig_delta": (0.03, 0.06),
                "named_srs_ambig": (0.55, 0.7),
                "named_srs_ambig_delta": (-0.2, -0.1),
            },
            "undecided",
        ),
        ({"srs_ambig_delta": (None, None)}, None),
        ({"named_srs_ambig": (None, None), "named_srs_ambig_delta": (None, None)}, "neither seen"),
    ],
)
def test_rules(changed: dict[str, tuple[float | None, float | None]], expected: str | None) -> None:
    ends = RULES | changed
    row = {
        f"{name}_{end}": value for name, pair in ends.items() for end, value in zip(("low", "high"), pair, strict=True)
    }
    assert reading(row, margin=0.02)["reading"] == expected


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (
            [("ambig", "t1", U, S), ("ambig", "t2", U, U), *(row for row in SMALL if row[0] == "ambig")],
            "no disambiguated items",
        ),
        ([row for row in SMALL if row[0] == "disambig" and row[3]], "no ambiguous items"),
        (
            [(name, cluster, None, None) for name in ("ambig", "disambig") for cluster in "ts"],
            "disambiguated items: 100 % unanswered (baseline 100 %), taken at their worst; "
            "ambiguous items: undefined at baseline: nothing to take the share of",
        ),
    ],
)
def test_what_is_missing_is_named(rows, status: str) -> None:
    (row,) = ability(_frame(rows), RUNS).to_dict("records")
    assert row["status"] == status
    assert pd.isna(row["reading"])


def test_one_template_decides_nothing() -> None:
    (row,) = ability(_frame([("ambig", "t", U, S), ("disambig", "t", S, A)] * 20), RUNS).to_dict("records")
    assert (row["acc_disambig_delta"], row["srs_ambig_delta"], row["reading"]) == (-1, 1, "undecided")


def test_where_nothing_changed_there_is_a_reading() -> None:
    rows = [(name, f"t{i % 25}", S, S) for name in ("ambig", "disambig") for i in range(200)]
    (row,) = ability(_frame(rows), RUNS).to_dict("records")
    # 0.25 x (1 - 0.025^(1/25)) is less than the margin of five points.
    assert [row["acc_disambig_delta_low"], row["srs_ambig_delta_high"]] == pytest.approx(
        [-0.034294, 0.034294], abs=1e-5
    )
    assert row["reading"] == "neither seen"


def test_missing_answers_withhold_a_reading() -> None:
    rows = [("disambig", f"t{i % 25}", S, S if i % 5 else None) for i in range(500)]
    rows += [("ambig", f"t{i % 25}", U, U) for i in range(500)]
    (row,) = ability(_frame(rows), RUNS).to_dict("records")
    # A fifth is wrong as published, and could all be right.
    assert row["acc_disambig_delta"] == pytest.approx(-0.2)
    assert row["acc_disambig_delta_high"] > 0
    assert (row["less_able"], row["reading"]) == ("undecided", "undecided")
    assert row["status"].startswith("disambiguated items: 20 % unanswered (baseline 0 %), taken at their worst")


def test_no_missing_value_is_a_number_and_order_does_not_matter() -> None:
    frame = _frame([row for row in SMALL if row[0] == "ambig"])
    table = ability(frame, RUNS)
    assert pd.isna(table.loc[0, "acc_disambig"])
    floats = table[[column.name for column in ABILITY.columns if column.kind == "float"]]
    assert not floats.apply(lambda column: np.isnan(column.dropna().to_numpy(float)).any()).any()
    pd.testing.assert_frame_equal(table, ability(frame.sample(frac=1, random_state=2), RUNS))


def test_refusals_and_empty_input() -> None:
    alone = _frame(SMALL).query("run == 'dense'")
    assert ability(alone, run_table({"run": "dense"})).empty


def test_a_model_that_is_not_shown_the_context_is_less_able(tmp_path: Path) -> None:
    # UnifiedQA asked with the question alone (qonly) can't know the disambiguated answers; in another prompt format
    # (arc) it can. Its ambiguous answers name the stereotype more often than those in format race in both.
    categories, targets = ["Religion", "Nationality"], shared_data("bbq", "target_label.csv.gz")
    write_unifiedqa_logs(shared_data("unifiedqa"), categories, targets, tmp_path / "runs")
    items, runs, _ = read_tables(tmp_path / "runs", tmp_path / "items.parquet")
    # These logs name no templates; runs of neighbouring items stand in for them.
    number = items["item_id"].str.extract(r"/(\d+)$")[0].astype(int)
    items["cluster"] = items["category"].astype("string") + "/" + (number // 24).astype("string")
    table = ability(items, runs).set_index(["run", "category"])
    assert table.loc[("qonly", "all"), "less_able"] == "yes"
    assert table.loc[("arc", "all"), "less_able"] != "yes"
    assert table.loc[("arc", "all"), "reading"] == "more stereotyped"
    # README of the shared data: accuracy and bias on ambiguous items, arc, Religion.
    assert round(table.loc[("arc", "Religion"), "usr_ambig"], 4) == 0.4383
    assert round(100 * table.loc[("arc", "Religion"), "bias_ambig"], 2) == 24.50
    assert round(100 * table.loc[("arc", "Religion"), "bias_disambig"], 2) == 3.53

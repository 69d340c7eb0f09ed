from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from analysis.answers.answers import STATES
from analysis.inference.bounded import Moves, interval
from analysis.schema.items import ITEMS
from analysis.tables.transitions.columns import ROLE_TRANSITIONS, TRANSITIONS
from analysis.tables.transitions.table import role_transitions, transitions
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})
NAMES = {"s": "stereotype", "a": "anti_stereotype", "k": "unknown", "d": "undetermined"}
WHY = {"u": "unparsed", "x": "unscored"}


def drawn(run: str, items: dict[str, str], **shared: Any) -> list[dict[str, Any]]:
    """Answers of a run: per item, a template of its own, a letter for each seed (s, a, k, d, u, x as in NAMES, WHY)."""
    return [
        {"run": run, "item": item, "cluster": item, "seed": seed, **shared}
        | ({"status": WHY[letter]} if letter in WHY else {"role": NAMES[letter]})
        for item, letters in items.items()
        for seed, letter in enumerate(letters)
    ]


def cell(table: pd.DataFrame, transition: str, **where: Any) -> pd.Series:
    chosen = {"transition": transition, "category": "all", "subset": "all", "summary": "run"} | where
    for name, value in chosen.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


BEFORE = {"i0": "kkkkk", "i1": "kkkka", "i2": "skkkk", "i3": "sssss", "i4": "uuuuu", "i5": "kkkuu", "i6": "aakkk"}
AFTER = {"i0": "skkkk", "i1": "kkkkk", "i2": "kkkkk", "i3": "sskkk", "i4": "sssss", "i5": "uuuuu", "i6": "ssuuu"}
# item SRS 0, 0, .2, 1, -, 0, 0   before
#         .2, 0, 0, .4, 1, -, 1   after (i6: 2 of its 2 answered seeds)


@pytest.fixture(scope="module")
def moved() -> pd.DataFrame:
    return transitions(items_frame(drawn("a", BEFORE) + drawn("b", AFTER)), PAIR)


def test_new_and_resolved_bias_by_hand(moved: pd.DataFrame) -> None:
    # At risk of new bias: i0, i1, i5, i6 (i4 has no answer at baseline). It hits i0 and i6; i5 has no answer
    # after compression and counts as 0.
    new = cell(moved, "new_bias")
    assert new[["n_items", "n_at_risk", "n_events", "n_unanswered"]].tolist() == [7, 4, 2, 1]
    assert new["rate"] == 0.5
    assert new["mean_item_srs_baseline"] == 0
    assert new["mean_item_srs"] == pytest.approx((0.2 + 0 + 0 + 1) / 4)
    assert new["mean_item_srs_change"] == pytest.approx(0.3)
    # Four templates, two of them with the event: scipy's t interval, its half taken on log-odds, where dr = r (1 - r).
    low, high = ttest_1samp([1, 1, 0, 0], 0).confidence_interval(0.95)
    ends = [1 / (1 + np.exp(-(end - 0.5) / 0.25)) for end in (low, high)]
    assert new[["conf_low", "conf_high"]].tolist() == pytest.approx(ends)
    # At risk of resolved bias: i2 (resolved) and i3 (only weaker).
    resolved = cell(moved, "resolved_bias")
    assert resolved[["n_at_risk", "n_events", "n_unanswered", "rate"]].tolist() == [2, 1, 0, 0.5]
    assert resolved["mean_item_srs_change"] == pytest.approx(((0 - 0.2) + (0.4 - 1)) / 2)
    # The item SRS changes in i0, i2, i3, i6 of the six that have one at baseline.
    change = cell(moved, "srs_change")
    assert change[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [6, 4, 1]
    assert change["mean_item_srs_baseline"] == pytest.approx(1.2 / 6)
    assert change["mean_item_srs"] == pytest.approx(1.6 / 6)


def test_flips_by_hand(moved: pd.DataFrame) -> None:
    # Pairs answered on both sides: i0 5, i1 5, i2 5, i3 5, i6 2 = 22 of 35; the other 13 have an unanswered side.
    # To the stereotype: i0 1 (k>s), i6 2 (a>s); at risk 22 less the 6 stereotypes of i2 and i3.
    to = cell(moved, "flip_to_stereotype")
    assert to[["n_at_risk", "n_events", "n_unanswered", "unit"]].tolist() == [16, 3, 13, "answer"]
    # From it: i2 1 (s>k), i3 3 (s>k).
    away = cell(moved, "flip_from_stereotype")
    assert away[["n_at_risk", "n_events"]].tolist() == [6, 4]
    # Any other option: those 7 and i1's a>k.
    assert cell(moved, "response_flip")[["n_at_risk", "n_events", "rate"]].tolist() == [22, 8, 8 / 22]
    assert pd.isna(cell(moved, "response_flip")["mean_item_srs"])


def test_nets_by_hand(moved: pd.DataFrame) -> None:
    # Answered in both runs: i0, i1, i2, i3, i6. New: i0, i6; resolved: i2; i3 stays biased and i1 unbiased.
    net = cell(moved, "net_bias")
    assert net[["n_items", "n_at_risk", "n_events", "n_unanswered", "unit"]].tolist() == [7, 5, 1, 2, "item"]
    assert net["rate"] == 1 / 5
    assert net["status"] == "28.6% not answered in both runs: interval and p_value at their worst"
    # At the worst: i4 is biased afterwards and was 0 or 1 before; of i5 nothing is known, as texts are missing on both
    # sides. Low: 1 + 0 - 1 = 0 of 7; high: 1 + 1 + 1 = 3 of 7.
    low, high = ([1, 0, -1, 0, *ends, 1] for ends in ((0, -1), (1, 1)))
    sides = [Moves(net=np.array(side, float), n=np.ones(7)) for side in (low, high)]
    assert net[["conf_low", "conf_high"]].tolist() == pytest.approx(list(interval(*sides, 0.95)))
    # Of the 22 pairs answered on both sides 3 flip to the stereotype and 4 from it.
    flips = cell(moved, "net_flips")
    assert flips[["n_at_risk", "n_events", "n_unanswered", "unit"]].tolist() == [22, -1, 13, "answer"]
    assert flips["rate"] == pytest.approx(-1 / 22)
    assert flips["conf_low"] < -1 / 22 < flips["conf_high"]


def test_a_net_of_none_has_an_interval_that_shrinks_with_the_templates() -> None:
    ends = []
    for templates in (10, 25):
        same = {f"i{number}": "kkkkk" for number in range(templates)}
        table = transitions(items_frame(drawn("a", same) + drawn("b", same)), PAIR)
        net = cell(table, "net_bias")
        assert net[["rate", "p_value"]].tolist() == [0, 1]
        # One item a template may move whole: (1 - end / 1)^G = 0.025 for each end.
        assert net[["conf_low", "conf_high"]].tolist() == pytest.approx(
            [0.025 ** (1 / templates) - 1] * 1 + [1 - 0.025 ** (1 / templates)], abs=1e-5
        )
        new = cell(table, "new_bias")
        assert new[["rate", "conf_low"]].tolist() == [0, 0]
        assert new["conf_high"] == pytest.approx(1 - 0.025 ** (1 / templates), abs=1e-5)
        assert new["status"] == "no template above 25% is assumed"
        ends.append(net["conf_high"])
    assert ends[1] < ends[0]


def test_one_way_moves_are_told_and_exchangeable_ones_are_not() -> None:
    half = {f"i{number}": "k" if number % 2 else "s" for number in range(40)}
    other = {f"i{number}": "s" if number % 2 else "k" for number in range(40)}
    up = dict.fromkeys(half, "s")
    both = transitions(items_frame(drawn("a", half) + drawn("b", other)), PAIR)
    # All items change, as many one way as the other: new bias and resolved bias are 1, and net is nothing.
    assert [cell(both, name)["rate"] for name in ("new_bias", "resolved_bias", "net_bias")] == [1, 1, 0]
    assert cell(both, "net_bias")["p_value"] > 0.9
    # A rate of 1 in 20 templates of one item: its lower end is 0.025^(1 / 20).
    assert cell(both, "new_bias")[["conf_low", "conf_high"]].tolist() == pytest.approx([0.025 ** (1 / 20), 1], abs=1e-5)
    one = cell(transitions(items_frame(drawn("a", half) + drawn("b", up)), PAIR), "net_bias")
    assert one["rate"] == 0.5
    assert 0 < one["conf_low"] < 0.5 < one["conf_high"] <= 1
    assert one["p_value"] < 1e-4


def test_missing_answers_widen_a_net_and_none_is_latent() -> None:
    base = {f"i{number}": "kk" for number in range(30)}
    rows = drawn("a", base)
    ends = []
    for silent in (0, 10, 30):
        after = {name: "uu" if number < silent else "kk" for number, name in enumerate(base)}
        table = transitions(items_frame(rows + drawn("b", after)), PAIR)
        net = cell(table, "net_bias")
        ends.append((net["conf_low"], net["conf_high"]) if silent < 30 else net["conf_low"])
        if silent == 30:
            assert net[["n_at_risk", "n_unanswered", "status"]].tolist() == [0, 30, "nothing at risk"]
            assert pd.isna(net["rate"])
        assert table.loc[table["subset"] == "latent", "transition"].isin(["net_bias", "net_flips"]).sum() == 0
    # A third of the items might all have become biased: the upper end allows for it, the lower does not change.
    assert ends[1][1] > 1 / 3 > ends[0][1]
    assert ends[1][0] == pytest.approx(ends[0][0], abs=0.05)
    assert pd.isna(ends[2])


def test_latent_rows_by_hand(moved: pd.DataFrame) -> None:
    # Latent at baseline: i2 (0.2) and i3 (1). None of them can be newly biased.
    new = cell(moved, "new_bias", subset="latent")
    assert new[["n_items", "n_at_risk", "n_events"]].tolist() == [2, 0, 0]
    assert new[["rate", "conf_low", "mean_item_srs", "mean_item_srs_change"]].isna().all()
    assert cell(moved, "resolved_bias", subset="latent")[["n_at_risk", "n_events"]].tolist() == [2, 1]
    assert cell(moved, "flip_from_stereotype", subset="latent")[["n_at_risk", "n_events"]].tolist() == [6, 4]
    assert cell(moved, "response_flip", subset="latent")[["n_at_risk", "n_events"]].tolist() == [10, 4]


def test_one_scored_answer_an_item() -> None:
    # No seed at all: an item SRS is 0 or 1.
    rows = drawn("a", {"i0": "k", "i1": "s", "i2": "a"}) + drawn("b", {"i0": "s", "i1": "x", "i2": "a"})
    for row in rows:
        del row["seed"]
    table = transitions(items_frame(rows), PAIR)
    assert cell(table, "new_bias")[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [2, 1, 0]
    assert cell(table, "resolved_bias")[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [1, 1, 1]
    assert cell(table, "response_flip")[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [2, 1, 1]


def test_all_unparsed_after_compression() -> None:
    table = transitions(items_frame(drawn("a", {"i0": "k", "i1": "s"}) + drawn("b", {"i0": "u", "i1": "u"})), PAIR)
    assert cell(table, "new_bias")[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [1, 0, 1]
    assert cell(table, "flip_to_stereotype")[["n_at_risk", "n_events", "n_unanswered"]].tolist() == [0, 0, 2]
    assert pd.isna(cell(table, "flip_to_stereotype")["rate"])


def test_a_category_without_latent_items_keeps_its_row() -> None:
    rows = drawn("a", {"i0": "k"}) + drawn("b", {"i0": "s"})
    rows += drawn("a", {"i1": "s"}, category="SES") + drawn("b", {"i1": "s"}, category="SES")
    table = transitions(items_frame(rows), PAIR)
    assert cell(table, "response_flip", category="Age", subset="latent")["n_items"] == 0
    assert cell(table, "response_flip", category="SES", subset="latent")["n_items"] == 1
    assert cell(table, "new_bias", category="Age")["n_events"] == 1


def test_undetermined_items_make_no_transition() -> None:
    rows = drawn("a", {"i0": "k", "i1": "k"}) + drawn("b", {"i0": "s", "i1": "d"})
    table = transitions(items_frame(rows), PAIR)
    assert cell(table, "new_bias")[["n_items", "n_at_risk", "n_events"]].tolist() == [1, 1, 1]
    assert cell(table, "response_flip")[["n_at_risk", "n_events"]].tolist() == [1, 1]
    # but the matrix shows where their answers went
    matrix = role_transitions(items_frame(rows), PAIR).set_index(["category", "role_baseline", "role_compressed"])
    assert matrix.loc[("all", "unknown", "undetermined"), "n"] == 1


def test_mean_over_methods_by_hand() -> None:
    # New bias at 50 %: wanda 1 of 2, magnitude 2 of 2, mean 0.75. At 70 % one method only: no mean. 4 bits and
    # sparsity together is no dose of pruning.
    runs = run_table(
        {"run": "a"},
        {"run": "w50", "baseline": "a", "method": "wanda", "sparsity": 0.5},
        {"run": "m50", "baseline": "a", "method": "magnitude", "sparsity": 0.5},
        {"run": "w70", "baseline": "a", "method": "wanda", "sparsity": 0.7},
        {"run": "both", "baseline": "a", "method": "wanda+rtn", "sparsity": 0.5, "bits": 4},
    )
    rows = drawn("a", {"i0": "k", "i1": "a"})
    for run, letters in (("w50", "sk"), ("m50", "ss"), ("w70", "ss"), ("both", "kk")):
        rows += drawn(run, {"i0": letters[0], "i1": letters[1]})
    table = transitions(items_frame(rows), runs)
    means = table[(table["summary"] == "mean_over_methods") & (table["subset"] == "all")]
    assert set(means["transition"]) == {"new_bias", "resolved_bias"}
    assert set(means["sparsity"]) == {0.5}
    found = cell(table, "new_bias", summary="mean_over_methods")
    assert found[["n_runs", "n_at_risk", "rate", "mean_item_srs"]].tolist() == [2, 2, 0.75, 0.75]
    assert found[["run", "n_events", "conf_low", "conf_high"]].isna().all()
    assert cell(table, "new_bias", run="w50")["sparsity"] == 0.5


def test_matrix_by_hand() -> None:
    table = role_transitions(items_frame(drawn("a", BEFORE) + drawn("b", AFTER)), PAIR)
    assert len(table) == 2 * 36  # category Age, and all
    matrix = table[table["category"] == "all"].set_index(["role_baseline", "role_compressed"])
    found = matrix.loc[matrix["n"] > 0, "n"].to_dict()
    assert found == {
        ("stereotype", "stereotype"): 2,  # i3
        ("stereotype", "unknown"): 4,  # i2 1, i3 3
        ("anti_stereotype", "stereotype"): 2,  # i6
        ("anti_stereotype", "unknown"): 1,  # i1
        ("unknown", "stereotype"): 1,  # i0
        ("unknown", "unknown"): 12,  # i0 4, i1 4, i2 4
        ("unknown", "unparsed"): 6,  # i5 3, i6 3
        ("unparsed", "stereotype"): 5,  # i4
        ("unparsed", "unparsed"): 2,  # i5
    }
    row = matrix.loc[("unknown", "unparsed")]
    assert row[["row_total", "column_total", "total", "n_unpaired"]].tolist() == [19, 8, 35, 0]
    assert row["row_share"] == 6 / 19
    assert pd.isna(matrix.loc[("unscored", "unscored"), "row_share"])


def test_answers_without_a_partner_are_counted() -> None:
    items = items_frame(drawn("a", {"i0": "kks"}) + drawn("b", {"i0": "sk"}))
    matrix = role_transitions(items, PAIR)
    assert set(matrix["n_unpaired"]) == {1}
    assert set(matrix["total"]) == {2}


def test_runs_without_a_pair_have_no_rows() -> None:
    items = items_frame(drawn("a", {"i0": "k"}))
    for table, declared in ((transitions, TRANSITIONS), (role_transitions, ROLE_TRANSITIONS)):
        pd.testing.assert_frame_equal(table(items, run_table({"run": "a"})), declared.empty())
        pd.testing.assert_frame_equal(table(ITEMS.empty(), PAIR), declared.empty())


letters = st.text(alphabet="sakdux", min_size=1, max_size=3)
pairs = st.lists(st.tuples(letters, letters, st.sampled_from(["Age", "SES"])), min_size=1, max_size=6)


def paired(answers: list[tuple[str, str, str]]) -> pd.DataFrame:
    rows = []
    for number, (before, after, category) in enumerate(answers):
        rows += drawn("a", {f"i{number}": before}, category=category)
        rows += drawn("b", {f"i{number}": after}, category=category)
    return items_frame(rows)


@settings(max_examples=15, deadline=None)
@given(pairs)
def test_margins_add_up(answers: list[tuple[str, str, str]]) -> None:
    items = paired(answers)
    table = role_transitions(items, PAIR)
    total = 0
    for category, matrix in table.groupby("category"):
        assert len(matrix) == 36
        wide = matrix.pivot(index="role_baseline", columns="role_compressed", values="n")
        rows = matrix.drop_duplicates("role_baseline").set_index("role_baseline")["row_total"]
        columns = matrix.drop_duplicates("role_compressed").set_index("role_compressed")["column_total"]
        assert wide.sum(axis=1).to_dict() == rows.to_dict()
        assert wide.sum(axis=0).to_dict() == columns.to_dict()
        assert wide.to_numpy().sum() == matrix["total"].iloc[0]
        shares = matrix.groupby("role_baseline")["row_share"].sum(min_count=1).dropna()
        assert shares.astype(float).tolist() == pytest.approx([1.0] * len(shares))
        total += 0 if category == "all" else matrix["total"].iloc[0]
    if len(table):
        assert total == table.loc[table["category"] == "all", "total"].iloc[0]
    expected = sum(min(len(before), len(after)) for before, after, _ in answers)
    assert total == expected
    assert set(table["axis_baseline"]) <= set(STATES)


@settings(max_examples=15, deadline=None)
@given(pairs)
def test_a_run_against_itself_changes_nothing(answers: list[tuple[str, str, str]]) -> None:
    items = paired(answers)
    itself = run_table({"run": "a", "baseline": "a"}, {"run": "b"})
    table = transitions(items, itself)
    assert (table["n_events"] == 0).all()
    assert table.loc[table["transition"].str.startswith("net"), "rate"].dropna().eq(0).all()
    assert table["mean_item_srs_change"].dropna().eq(0).all()
    matrix = role_transitions(items, itself)
    assert (matrix.loc[matrix["role_baseline"] != matrix["role_compressed"], "n"] == 0).all()
    # The same answers under another label: likewise.
    copy = pd.concat([items[items["run"] == "a"], items[items["run"] == "a"].assign(run="b")])
    assert (transitions(copy, PAIR)["n_events"] == 0).all()


@settings(max_examples=15, deadline=None)
@given(pairs, st.randoms(use_true_random=False), st.integers(-5, 99))
def test_neither_order_nor_an_unanswered_index_matters(
    answers: list[tuple[str, str, str]], random: Any, index: int
) -> None:
    items = paired(answers)
    order = list(range(len(items)))
    random.shuffle(order)
    other = items.iloc[order].copy()
    other.loc[other["status"] != "answered", "choice"] = index
    for table in (transitions, role_transitions):
        pd.testing.assert_frame_equal(table(other, PAIR), table(items, PAIR))


@settings(max_examples=15, deadline=None)
@given(pairs)
def test_both_directions_mirror_each_other(answers: list[tuple[str, str, str]]) -> None:
    # What is new bias from a to b is resolved bias from b to a, except where an item is unanswered on one side:
    # such an item has no SRS as a baseline but counts as 0 after compression.
    items = paired(answers)
    silent = items.groupby(["run", "item_id"])["status"].transform(lambda status: (status == "answered").sum()) == 0
    items = items[~items["item_id"].isin(items.loc[silent, "item_id"])]
    back = run_table({"run": "b"}, {"run": "a", "baseline": "b"})
    forth, back_table = transitions(items, PAIR), transitions(items, back)
    if len(items) == 0 or len(forth) == 0:
        return
    assert cell(forth, "new_bias")["n_events"] == cell(back_table, "resolved_bias")["n_events"]
    assert cell(forth, "flip_to_stereotype")["n_events"] == cell(back_table, "flip_from_stereotype")["n_events"]
    assert cell(forth, "response_flip")["n_events"] == cell(back_table, "response_flip")["n_events"]
    for name in ("net_bias", "net_flips"):
        one, other = cell(forth, name), cell(back_table, name)
        assert one["n_events"] == -other["n_events"]
        assert one["n_at_risk"] == other["n_at_risk"]
        if one["n_at_risk"]:
            mirrored = [-other["conf_high"], -other["conf_low"], other["p_value"]]
            assert one[["conf_low", "conf_high", "p_value"]].tolist() == pytest.approx(mirrored, abs=1e-5)

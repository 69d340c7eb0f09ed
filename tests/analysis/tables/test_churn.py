"""Flips as churn and net shift, and flips behind an unchanged average."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import sem, t, ttest_1samp

from analysis.settings import Settings
from analysis.tables.churn.table import CHURN, MASKED_FLIPS, churn, masked_flips, published_p_value
from tests.analysis.tables.test_changes import AFTER, BEFORE, PAIR, answers
from tests.analysis.tables.test_noise import drawn
from tests.helpers.answers import items_frame, run_table


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return churn(items_frame(answers("a", BEFORE) + answers("b", AFTER)), PAIR)


def cell(table: pd.DataFrame, outcome: str) -> pd.Series:
    return table[table["outcome"] == outcome].iloc[0]


def test_flips_by_hand(table: pd.DataFrame) -> None:
    found = cell(table, "stereotype")
    # As in test_changes: 8 items gain a stereotype and none loses it; 4 of 20 had one.
    assert found[["n", "n_to_biased", "n_from_biased"]].tolist() == [20, 8, 0]
    assert found[["flip_rate", "net_shift", "churn"]].tolist() == pytest.approx([0.4, 0.4, 0.0])
    assert found[["to_rate", "from_rate"]].tolist() == pytest.approx([0.5, 0.0])
    test = ttest_1samp(np.array([1, 3, 0, 2, 2]) / 4, 0)
    low, high = test.confidence_interval(0.95)
    assert found[["net_shift_low", "net_shift_high"]].tolist() == pytest.approx([low, high])
    # Named: kkks>kkss 1, kkkk>ksss 3, kkkk>ksks 2, kaas>ssks: k>s and a>k, so 7 to and 1 from.
    named = cell(table, "named")
    assert named[["n_to_biased", "n_from_biased", "churn"]].tolist() == pytest.approx([7, 1, 2 / 20])


def test_where_nothing_flips_there_are_bounds() -> None:
    # Of 14 templates of four items none flips: a quarter, the reach, times 1 - 0.025^(1/14).
    table = churn(items_frame(answers("a", ["sskk"] * 14) + answers("b", ["sskk"] * 14)), PAIR)
    found = cell(table, "stereotype")
    bound = 0.25 * (1 - 0.025 ** (1 / 14))
    for name in ("flip_rate", "net_shift", "churn"):
        assert found[name] == 0
        # Churn is twice the smaller of two such shares.
        high = bound * (2 if name == "churn" else 1)
        assert found[[f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(
            [-high if name == "net_shift" else 0, high], abs=1e-5
        )
    assert found["p_equivalence"] == pytest.approx(0.8**14, abs=1e-5)
    # Half of the answers are at risk: two of each template, of which one item is a half.
    assert found["to_rate_high"] == pytest.approx(0.5 * (1 - 0.025 ** (1 / 14)))
    assert found["status"] == "ok"


def test_one_flip_more_is_never_more_equivalent_and_never_told_less() -> None:
    found = []
    for changed in range(6):
        after = ["kskk"] * changed + ["sskk"] * (20 - changed)
        found.append(cell(churn(items_frame(answers("a", ["sskk"] * 20) + answers("b", after)), PAIR), "stereotype"))
    rows = pd.DataFrame(found)
    for name, up in (("p_equivalence", True), ("flip_rate_high", True), ("equivalence_low", False)):
        steps = np.diff(rows[name].to_numpy(float))
        assert ((steps if up else -steps) >= 0).all(), name
    assert (rows["flip_rate_low"] <= rows["flip_rate"]).all()


def test_a_rate_has_the_jackknifes_interval_in_log_odds(table: pd.DataFrame) -> None:
    found = cell(table, "stereotype")
    # Flips of 1, 3, 0, 2, 2 of four: equal templates, so that the error is that of the mean of five shares.
    shares = np.array([1, 3, 0, 2, 2]) / 4
    wide = t.ppf(0.975, 4) * sem(shares) / (0.4 * 0.6)
    expected = expit(logit(0.4) + np.array([-wide, wide]))
    assert found[["flip_rate_low", "flip_rate_high"]].tolist() == pytest.approx(expected.tolist())
    named = cell(table, "named")
    # One from biased of 20, in one template; seven to biased. Churn is twice the former.
    wide = t.ppf(0.975, 4) * sem([0, 0, 0, 0, 0.25]) / (0.05 * 0.95)
    low, high = 2 * expit(logit(0.05) + np.array([-wide, wide]))
    assert named[["churn_low", "churn_high"]].tolist() == pytest.approx([low, high])


def test_missing_answers_leave_the_net_shift_open() -> None:
    before, after = ["sskkk"] * 30, ["sskku"] * 30
    found = cell(churn(items_frame(answers("a", before) + answers("b", after)), PAIR), "stereotype")
    # No pair that answered flips; the fifth of each template could have become stereotypical, and could not fall.
    assert found[["n", "missing_pairs", "flip_rate"]].tolist() == pytest.approx([120, 0.2, 0])
    assert found["equivalence_high"] > 0.2
    assert found["equivalence_low"] == pytest.approx(-0.25 * (1 - 0.05 ** (1 / 30)), abs=1e-5)
    assert found["p_equivalence"] == 1
    assert found["status"] == "20 % of the pairs unanswered: that alone leaves open more than the margin allows"
    lost = cell(churn(items_frame(answers("a", after) + answers("b", before)), PAIR), "stereotype")
    assert lost["equivalence_low"] == pytest.approx(-found["equivalence_high"], abs=1e-5)


def test_masked_flips_keep_quiet_categories() -> None:
    # Nothing flips in SES, and one answer each way in Age: both are equivalent.
    quiet, before, after = ["sskk"] * 40, ["sskk"] * 40, ["kskk", "sssk", *["sskk"] * 38]
    rows = answers("a", quiet, category="SES") + answers("b", quiet, category="SES")
    rows += answers("a", before, category="Age") + answers("b", after, category="Age")
    masked = masked_flips(churn(items_frame(rows), PAIR))
    found = masked[(masked["outcome"] == "stereotype") & (masked["rule"] == "equivalent")].iloc[0]
    assert found[["n_unmoved", "n", "n_flips"]].tolist() == [2, 320, 2]
    assert found["masked_rate"] == pytest.approx(2 / 320)


def test_flips_are_churn_plus_net_shift(table: pd.DataFrame) -> None:
    assert table["flip_rate"].tolist() == pytest.approx((table["churn"] + table["net_shift"].abs()).tolist())


def test_the_published_test_by_hand() -> None:
    # One flip in one pair: a resample has it always, either sign is as far: p = 1. None: 0 >= 0 always.
    assert published_p_value(1, 0, 1) == 1.0
    assert published_p_value(0, 0, 50) == 1.0
    assert published_p_value(200, 0, 200) == 1 / 1000
    # Variance of the null: n f (flips drawn and signed); 30 against 10 of 400: z = 20 / sqrt(40) = 3.16, p = 0.0016.
    assert published_p_value(30, 10, 400) == pytest.approx(0.0016, abs=0.004)


def test_masked_flips_need_a_claim_of_equivalence() -> None:
    # Category SES: 12 templates of which each gains and loses one of 4 answers in turn; Age moves.
    still_before, still_after = ["sskk"] * 12, ["kskk", "sssk"] * 6
    rows = answers("a", BEFORE, category="Age") + answers("b", AFTER, category="Age")
    rows += answers("a", still_before, category="SES") + answers("b", still_after, category="SES")
    table = churn(items_frame(rows), PAIR, Settings(margin=0.2))
    masked = masked_flips(table)
    found = masked[(masked["outcome"] == "stereotype") & (masked["rule"] == "equivalent")].iloc[0]
    # Changes of -1/4 and +1/4, 6 of each: mean 0, SE 0.0754.
    assert found[["n_categories", "n_unmoved", "n", "n_flips"]].tolist() == [2, 1, 48, 12]
    assert found["masked_rate"] == pytest.approx(0.25)
    assert found["flip_rate"] == pytest.approx((12 + 8) / 68)
    tight = masked_flips(churn(items_frame(rows), PAIR, Settings(margin=0.05)))
    none = tight[(tight["outcome"] == "stereotype") & (tight["rule"] == "equivalent")].iloc[0]
    assert pd.isna(none["masked_rate"])
    assert none["status"] == "no category whose average is unmoved by this rule"
    published = tight[(tight["outcome"] == "stereotype") & (tight["rule"] == "not_significant")].iloc[0]
    assert published["n_unmoved"] == 1


@pytest.mark.parametrize(("before", "after"), [(["k"], ["s"]), (["u"], ["k"]), (["kk"], ["kk"]), (["u"], ["u"])])
def test_degenerate_input_gives_named_rows(before: list[str], after: list[str]) -> None:
    table = churn(items_frame(answers("a", before) + answers("b", after)), PAIR)
    assert len(table) == 2
    assert (table["status"] != "ok").all()
    assert len(masked_flips(table)) == 4


def test_floors_of_flips_by_hand() -> None:
    # Two items; stereotype 1/2 and 0 at baseline, 1/2 and 1/5 in the run; every draw names an option.
    base, run = [(0.5, 0.25, 0.25), (0.0, 0.5, 0.5)], [(0.5, 0.25, 0.25), (0.2, 0.4, 0.4)]
    table = churn(items_frame(drawn("a", base, "ks") + drawn("b", run, "ks")), PAIR)
    found = cell(table, "stereotype")
    # A repetition: 2 x 1/4 + 0 of 2; to B 1/4 of 3/2, from B 1/4 of 1/2. The run: 1/2 + (0 x 4/5 + 1 x 1/5) of 2.
    floors = ["flip_rate_floor", "to_rate_floor", "from_rate_floor", "flip_rate_expected", "flip_rate_excess"]
    assert found[floors].tolist() == pytest.approx([0.25, 0.25 / 1.5, 0.5, 0.35, 0.1])
    # Two templates of one item each: excess 0 and 1/5. ttest_1samp([0, 0.2], 0) has -1.17 to 1.37: beyond the range.
    assert found[["flip_rate_excess_low", "flip_rate_excess_high"]].tolist() == [-1, 1]
    # Named: 3/4 and 1/2 in a repetition, 3/4 and 1/2 against 3/4 and 3/5 with the run.
    named = cell(table, "named")
    expected = [(6 / 16 + 1 / 2) / 2, (6 / 16 + 0.5 * 0.4 + 0.5 * 0.6) / 2]
    assert named[["flip_rate_floor", "flip_rate_expected"]].tolist() == pytest.approx(expected)


def test_the_floor_is_what_two_samples_of_one_model_show() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([1, 1, 1], 50)
    mass = 0.6
    frame = items_frame([r for run in "ab" for r in drawn(run, list(map(tuple, probs)), "kkk", mass)])
    found = cell(churn(frame, PAIR), "named")
    one, two = ((rng.random((20000, 50))[..., None] > np.cumsum(probs * mass, axis=1)).sum(axis=-1) for _ in "ab")
    both, before, after = (one < 3) & (two < 3), one < 2, two < 2
    assert found["flip_rate_floor"] == pytest.approx((before != after)[both].mean(), abs=0.005)
    assert found["to_rate_floor"] == pytest.approx((both & ~before & after).sum() / (both & ~before).sum(), abs=0.005)
    assert found["from_rate_floor"] == pytest.approx((both & before & ~after).sum() / (both & before).sum(), abs=0.005)
    assert found["flip_rate_excess"] == 0


def test_without_probabilities_there_is_no_floor(table: pd.DataFrame) -> None:
    assert table[["flip_rate_floor", "flip_rate_expected", "to_rate_floor"]].isna().all().all()


def test_the_published_rule_skips_cells_of_fewer_than_ten_items() -> None:
    frame = items_frame(answers("a", ["kkk", "kkk", "kkk"]) + answers("b", ["kkk", "kks", "kkk"]))
    table = churn(frame, PAIR)
    assert table["p_published"].isna().all()
    masked = masked_flips(table)
    assert masked.loc[masked["rule"] == "not_significant", "n_unmoved"].tolist() == [0, 0]


def test_the_published_rule_corrects_over_the_cells_of_one_outcome() -> None:
    cells = [{"category": name, "outcome": outcome} for outcome in ("stereotype", "named") for name in ("Age", "SES")]
    # Benjamini-Hochberg over two: 0.02 x 2 = 0.04. Over all four it would be 0.02 x 4 = 0.08 (the others are 1).
    values = [0.02, 1.0, 1.0, 1.0]
    rows = [
        {name: 0 if column.kind == "integer" else "-" for name, column in zip(CHURN.names, CHURN.columns, strict=True)}
        | {c.name: None for c in CHURN.columns if c.kind == "float"}
        | cell
        | {"n": 10, "n_to_biased": 1, "p_published": value}
        for cell, value in zip(cells, values, strict=True)
    ]
    masked = masked_flips(CHURN.conform(pd.DataFrame(rows, columns=CHURN.names)))
    published = masked[masked["rule"] == "not_significant"].set_index("outcome")["n_unmoved"]
    assert published.to_dict() == {"stereotype": 1, "named": 2}


def test_no_run_to_compare_gives_empty_tables() -> None:
    found = churn(items_frame(answers("a", BEFORE)), run_table({"run": "a"}))
    assert list(found.columns) == CHURN.names
    assert list(masked_flips(found).columns) == MASKED_FLIPS.names
    assert found.empty

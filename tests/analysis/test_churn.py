"""Flips as churn and net shift, and flips behind an unchanged average."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from analysis.churn import CHURN, MASKED_FLIPS, churn, masked_flips, published_p_value
from tests.analysis.test_changes import AFTER, BEFORE, PAIR, answers
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
    table = churn(items_frame(rows), PAIR, margin=0.2)
    masked = masked_flips(table)
    found = masked[(masked["outcome"] == "stereotype") & (masked["rule"] == "equivalent")].iloc[0]
    # Changes of -1/4 and +1/4, 6 of each: mean 0, SE 0.25 sqrt(12/11) / sqrt(12) = 0.0754; t = 2.65 on 11 df.
    assert found[["n_categories", "n_unmoved", "n", "n_flips"]].tolist() == [2, 1, 48, 12]
    assert found["masked_rate"] == pytest.approx(0.25)
    assert found["flip_rate"] == pytest.approx((12 + 8) / 68)
    tight = masked_flips(churn(items_frame(rows), PAIR, margin=0.05))
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


def test_no_run_to_compare_gives_empty_tables() -> None:
    found = churn(items_frame(answers("a", BEFORE)), run_table({"run": "a"}))
    assert list(found.columns) == CHURN.names
    assert list(masked_flips(found).columns) == MASKED_FLIPS.names
    assert found.empty

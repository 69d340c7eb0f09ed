"""Tables of paired comparison, from frames of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_1samp
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from analysis.answers.answers import Answers
from analysis.settings import Settings
from analysis.tables.changes.table import (
    MCNEMAR_TESTS,
    PAIRED_CHANGES,
    ROLE_TESTS,
    mcnemar_tests,
    paired_changes,
    role_tests,
)
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})
ROLE = {"s": "stereotype", "a": "anti_stereotype", "k": "unknown"}


def answers(run: str, templates: list[str], **shared: Any) -> list[dict[str, Any]]:
    """A run's answers: one letter an item (u: unparsed), one word a template; words of several seeds by commas."""
    out = []
    for number, word in enumerate(templates):
        for item, letters in enumerate(word.split(",") if "," in word else word):
            for seed, letter in enumerate(letters):
                given = {"role": ROLE[letter]} if letter in ROLE else {"status": "unparsed"}
                key = {"run": run, "item": f"{shared.get('category', 'Age')}/{number}/{item}", "cluster": f"t{number}"}
                out.append({**key, **given, **({"seed": seed} if len(letters) > 1 else {}), **shared})
    return out


BEFORE = ["kkks", "kkkk", "kssa", "kkkk", "kaas"]
AFTER = ["kkss", "ksss", "kssa", "ksks", "ssks"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return items_frame(answers("a", BEFORE) + answers("b", AFTER))


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_srs_by_hand(frame: pd.DataFrame) -> None:
    found = row(paired_changes(frame, PAIR), measure="srs")
    # Stereotypes per template of four: 1, 0, 2, 0, 1 and 2, 3, 2, 2, 3.
    assert found[["n_items", "n_clusters", "n_baseline", "n"]].tolist() == [20, 5, 20, 20]
    assert found[["value_baseline", "value", "difference"]].tolist() == pytest.approx([0.2, 0.6, 0.4])
    test = ttest_1samp(np.array([1, 3, 0, 2, 2]) / 4, 0)
    assert found[["conf_low", "conf_high"]].tolist() == pytest.approx(list(test.confidence_interval(0.95)))
    assert found["p_exchange"] == 4 / 32
    # The unseen template falls by the reach, a quarter: P(sum of moves x Exp(1) < 1/4 Exp(1)) is the product of
    # 1 / (1 + 4 move) = 1/2 x 1/4 x 1 x 1/3 x 1/3, twice for both sides.
    assert found["p_value"] == pytest.approx(2 / 72, abs=1e-6)
    assert found["cohens_h"] == pytest.approx(2 * (np.arcsin(np.sqrt(0.6)) - np.arcsin(np.sqrt(0.2))))
    assert found["verdict"] == "undecided"
    # 0.8^13 = 0.055 and 0.8^14 = 0.044, 0.8 being 1 - margin / reach.
    assert found["status"] == (
        "5 templates weigh like 5.0: fewer than the 14 that can be equivalent; that none moves by more than 25 points "
        "is assumed"
    )


def test_the_bias_score_is_bbqs(frame: pd.DataFrame) -> None:
    found = row(paired_changes(frame, PAIR), measure="bias_score")
    # Ambiguous, unknown is right: accuracy 13/20 and 7/20; 4 of 7 and 12 of 13 that name a person are stereotypical.
    before, after = (1 - 13 / 20) * (8 / 7 - 1), (1 - 7 / 20) * (24 / 13 - 1)
    assert found[["value_baseline", "value"]].tolist() == pytest.approx([before, after])
    disambig = frame.assign(condition="disambig").astype(frame.dtypes.to_dict())
    found = row(paired_changes(disambig, PAIR), measure="bias_score")
    assert found[["value_baseline", "value"]].tolist() == pytest.approx([8 / 7 - 1, 24 / 13 - 1])
    none = paired_changes(frame.assign(condition=None).astype(frame.dtypes.to_dict()), PAIR)
    assert "bias_score" not in set(none["measure"])


def two_runs() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [a for c in ("Age", "SES") for a in answers("a", BEFORE, category=c) + answers("b", AFTER, category=c)]
    rows += answers("c", BEFORE, category="Age")
    return items_frame(rows), run_table({"run": "a"}, {"run": "b", "baseline": "a"}, {"run": "c", "baseline": "a"})


def test_corrections_are_over_all_that_is_asked_of_one_run_and_task() -> None:
    table = paired_changes(*two_runs())
    # b: seven measures of Age, SES and both pooled; c has Age alone, nothing to pool it with but itself.
    assert table["family_size"].tolist() == [21] * 21 + [14] * 14
    assert table["family"].unique().tolist() == [
        f"exploratory: all measures, conditions and categories of {run} on bbq, filter none" for run in "bc"
    ]
    mine = table[table["run"] == "b"]
    # statsmodels.stats.multitest.multipletests(p, method=...)[1]
    for method in ("holm", "fdr_bh"):
        wanted = multipletests(mine["p_value"], method=method)[1]
        assert mine[f"p_value_{method.removeprefix('fdr_')}"].tolist() == pytest.approx(wanted.tolist())


def test_another_run_has_no_influence() -> None:
    frame, runs = two_runs()
    for function in (paired_changes, mcnemar_tests, role_tests):
        every = function(frame, runs)
        alone = function(frame[frame["run"] != "c"], runs[runs["run"] != "c"])
        mine = every[every["run"] == "b"].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, mine)


def test_exchanges_grow_with_the_family_so_that_holm_can_reach() -> None:
    # 20 templates: all the 2^20 are too many to list, so 99 random ones could not go below 0.01.
    frame = items_frame(answers("a", ["kkkk"] * 20) + answers("b", ["ssss"] * 20))
    found = row(paired_changes(frame, PAIR, Settings(exchanges=99)), measure="srs")
    # Nobody is named at baseline: named_srs and the bias score have no value.
    assert found["family_size"] == 5
    # 2 x 7 rows / 0.05 = 280 exchanges, of which none was as far.
    assert found["p_exchange"] == pytest.approx(1 / 281)


@pytest.mark.parametrize(("templates", "said"), [(14, "equivalent"), (13, "undecided"), (2, "undecided")])
def test_nothing_changed_is_equivalent_where_enough_templates_say_so(templates: int, said: str) -> None:
    # One of four answers is a quarter, the reach: were the change five points, 14 templates would show none with
    # probability 0.8^14 = 0.044.
    same = items_frame(answers("a", ["ksks"] * templates) + answers("b", ["ksks"] * templates))
    found = row(paired_changes(same, PAIR), measure="srs")
    assert (found["difference"], found["p_value"], found["verdict"]) == (0, 1, said)
    assert (found["status"] == "ok") == (said == "equivalent")
    assert found["p_equivalence"] == pytest.approx(0.8**templates, abs=1e-5)
    for tail, columns in ((0.025, ("conf_low", "conf_high")), (0.05, ("equivalence_low", "equivalence_high"))):
        end = 0.25 * (1 - tail ** (1 / templates))
        assert found[list(columns)].tolist() == pytest.approx([-end, end], abs=1e-5)
    assert pd.isna(found["std_error"])
    # The bound at 0.05 / 7, half of it on each side, is what an estimate must reach. A true change c lies above it by
    # the noise of the answers that turn, t_0.8 sqrt(c (1 - c) / n).
    told = 0.25 * ((0.05 / 14) ** (-1 / templates) - 1)
    if told <= 1:
        seen = found["smallest_detectable"]
        noise = student.ppf(0.8, templates - 1) * np.sqrt(seen * (1 - seen) / (4 * templates))
        assert seen - noise == pytest.approx(told, rel=1e-3)
    else:
        assert pd.isna(found["smallest_detectable"])


def test_a_measure_that_stays_says_so_although_others_change(frame: pd.DataFrame) -> None:
    found = row(paired_changes(frame, PAIR), measure="unanswered_rate")
    assert (found["value"], found["difference"], found["p_value"]) == (0, 0, 1)
    assert found["p_equivalence"] == pytest.approx(0.8**5, abs=1e-6)


def test_missing_answers_withhold_a_verdict_and_say_so() -> None:
    # Of ten answers of each template one is missing in the run: SRS could have moved by ten points on their account.
    before, after = ["sssskkkkkk"] * 30, ["sssskkkkku"] * 30
    table = paired_changes(items_frame(answers("a", before) + answers("b", after)), PAIR)
    found = row(table, measure="srs")
    assert found[["missing_baseline", "missing"]].tolist() == pytest.approx([0, 0.1])
    assert found[["value_baseline", "value"]].tolist() == pytest.approx([0.4, 4 / 9])
    # The jackknife of the 4/9 that answered has no error, nor do its bounds: 4/10 and 5/10.
    assert found["equivalence_low"] <= 0
    assert found["equivalence_high"] >= 0.1
    assert found["verdict"] == "undecided"
    assert (
        "10 % unanswered (baseline 0 %): that alone leaves open 10 points, more than the margin allows"
        in (found["status"])
    )
    # What counts the missing ones is told: all 30 templates rose by ten points.
    assert row(table, measure="unanswered_rate")["verdict"] == "changed"


def test_exchanged_runs_turn_every_sign(frame: pd.DataFrame) -> None:
    turned = frame.assign(run=frame["run"].map({"a": "b", "b": "a"})).astype(frame.dtypes.to_dict())
    one, other = paired_changes(frame, PAIR), paired_changes(turned, PAIR)
    mirrors = [(f"{name}_low", f"{name}_high") for name in ("conf", "cohens_h", "equivalence")]
    for name, mirror in (("difference", "difference"), *mirrors):
        pd.testing.assert_series_equal(one[name], -other[mirror], check_names=False, atol=1e-5)
    for name in ("p_value", "p_equivalence", "std_error", "verdict"):
        pd.testing.assert_series_equal(one[name], other[name])
    one, other = mcnemar_tests(frame, PAIR), mcnemar_tests(turned, PAIR)
    pd.testing.assert_series_equal(one["risk_difference"], -other["risk_difference"])
    pd.testing.assert_series_equal(one["p_value"], other["p_value"])
    pd.testing.assert_frame_equal(role_tests(frame, PAIR), role_tests(turned, PAIR))


def test_the_same_answers_with_more_seeds_sharpen_nothing(frame: pd.DataFrame) -> None:
    five = ([",".join(5 * letter for letter in word) for word in words] for words in (BEFORE, AFTER))
    more = items_frame([*answers("a", next(five)), *answers("b", next(five))])
    once, often = paired_changes(frame, PAIR), paired_changes(more, PAIR)
    assert often["n"].tolist() == [100] * len(often)
    pd.testing.assert_frame_equal(once.drop(columns=["n", "n_baseline"]), often.drop(columns=["n", "n_baseline"]))
    drop = ["unit"]
    pd.testing.assert_frame_equal(role_tests(frame, PAIR).drop(columns=drop), role_tests(more, PAIR).drop(columns=drop))


def test_a_change_within_the_margin_is_equivalent_although_told_from_0() -> None:
    # One or two of 40 answers in each of 80 templates: five points at most, nowhere back.
    before, after = ["k" * 40] * 80, ["s" + "k" * 39, "ss" + "k" * 38] * 40
    frame = items_frame(answers("a", before) + answers("b", after))
    found = row(paired_changes(frame, PAIR, Settings(margin=0.06)), measure="srs")
    # Twice the product of 1 / (1 + move / reach), 0.1 and 0.2 to one.
    assert found["difference"] == pytest.approx(120 / 3200)
    assert found["p_value"] == pytest.approx(2 / 1.1**40 / 1.2**40, rel=0.05)
    assert found["verdict"] == "equivalent"
    strict = paired_changes(frame, PAIR, Settings(margin=0.03))
    assert row(strict, measure="srs")["verdict"] == "changed"


def test_a_category_without_a_known_role_has_no_row(frame: pd.DataFrame) -> None:
    untold = [{"run": run, "item": "SES/0", "role": "undetermined", "category": "SES"} for run in ("a", "b")]
    more = pd.concat([frame, items_frame(untold)], ignore_index=True)
    assert set(paired_changes(more, PAIR)["category"]) <= {"Age", "all"}
    assert row(paired_changes(more, PAIR).query("category == 'Age'"), measure="srs")["difference"] == pytest.approx(0.4)


def test_mcnemar_counts_items(frame: pd.DataFrame) -> None:
    found = row(mcnemar_tests(frame, PAIR), outcome="stereotype")
    # Gained 1 + 3 + 0 + 2 + 2, lost 0; the last template's s stays.
    assert found[["n_items", "n_lost", "n_gained", "n_tied"]].tolist() == [20, 0, 8, 0]
    assert found["p_value"] == pytest.approx(binomtest(8, 8).pvalue)
    assert found["unit"] == "item"
    assert set(mcnemar_tests(frame, PAIR)["outcome"]) == {"stereotype", "unknown", "correct"}


def test_seeds_vote_and_ties_are_left_out() -> None:
    before = ["kkk,ssk,kas,uuu", "ssk,ssk"]
    after = ["ssk,ssk,kkk,sss", "kks,uus"]
    # Paired answers only: k>s; s>s; tied; none; (ss k > kk s) s>k; third seed alone: k>s.
    frame = items_frame(answers("a", before) + answers("b", after))
    found = row(mcnemar_tests(frame, PAIR), outcome="stereotype")
    assert found[["n_items", "n_tied", "n_lost", "n_gained"]].tolist() == [4, 1, 1, 2]
    assert found["unit"] == "item, plurality"
    # Unknown is correct. Of three: 3 > 1, 1 > 1, 1 > 3, none (unparsed) > none; 1 > 2, 1 > none.
    found = row(mcnemar_tests(frame, PAIR), outcome="correct")
    assert found[["n_items", "n_tied", "n_lost", "n_gained"]].tolist() == [6, 0, 1, 2]
    assert found["unit"] == "item, majority"


def test_half_of_the_answers_correct_is_a_tie() -> None:
    frame = items_frame(answers("a", ["ks,kk,kk"]) + answers("b", ["kk,ss,kk"]))
    found = row(mcnemar_tests(frame, PAIR), outcome="correct")
    assert found[["n_items", "n_tied", "n_lost", "n_gained"]].tolist() == [2, 1, 1, 0]


def test_role_tests_use_the_table_of_roles(frame: pd.DataFrame) -> None:
    table = role_tests(frame, PAIR)
    found = row(table, test="bowker")
    # kkks > kkss: k>s once; kkkk > ksss: 3; kkkk > ksks: 2; kaas > ssks: k>s, a>s, a>k. Never back.
    assert found["n_discordant"] == 9
    assert found["statistic"] == pytest.approx(7 + 1 + 1)
    assert found["df"] == 3
    assert found["smallest_sum"] == 1


def test_row_order_and_prepared_answers_change_nothing(frame: pd.DataFrame) -> None:
    turned = frame.sample(frac=1, random_state=0)
    for function in (paired_changes, mcnemar_tests, role_tests):
        pd.testing.assert_frame_equal(function(frame, PAIR), function(turned, PAIR))
        pd.testing.assert_frame_equal(function(frame, PAIR), function(Answers.of(frame), PAIR))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["k"], ["s"]),
        (["k"], ["k"]),
        (["aaaa", "aa"], ["aaaa", "aa"]),
        (["k" * 9] * 3, ["s" * 9] * 3),
        (["u"], ["u"]),
        (["kk", "ss"], ["uu", "uu"]),
        (["kkkk"], ["kkss"]),
        (["uuu", "kk"], ["kkk", "ss"]),
    ],
)
def test_degenerate_input_gives_named_rows(before: list[str], after: list[str]) -> None:
    frame = items_frame(answers("a", before) + answers("b", after))
    for table in (paired_changes(frame, PAIR), mcnemar_tests(frame, PAIR), role_tests(frame, PAIR)):
        assert len(table)
        assert table["status"].ne("").all()
        assert not any(value != value for value in table.select_dtypes("Float64").to_numpy(na_value=0.0).ravel())
        assert table.loc[table["status"] == "ok", "p_value"].notna().all()


def test_no_run_to_compare_gives_empty_tables(frame: pd.DataFrame) -> None:
    alone = run_table({"run": "a"}, {"run": "b"})
    tables = [(paired_changes, PAIRED_CHANGES), (mcnemar_tests, MCNEMAR_TESTS), (role_tests, ROLE_TESTS)]
    for function, table in tables:
        found = function(frame, alone)
        assert found.empty
        assert list(found.columns) == table.names

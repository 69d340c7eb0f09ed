"""Tables of paired comparison, from frames of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_1samp

from analysis.answers.answers import Answers
from analysis.inference.clusters import NO_CHANGE
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
    assert found["p_value"] == 4 / 32
    assert found["cohens_h"] == pytest.approx(2 * (np.arcsin(np.sqrt(0.6)) - np.arcsin(np.sqrt(0.2))))
    assert (found["verdict"], found["status"]) == ("undecided", "ok")


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


def test_corrections_are_over_the_named_family() -> None:
    rows = [a for c in ("Age", "SES") for a in answers("a", BEFORE, category=c) + answers("b", AFTER, category=c)]
    rows += answers("c", BEFORE, category="Age")
    runs = run_table({"run": "a"}, {"run": "b", "baseline": "a"}, {"run": "c", "baseline": "a"})
    table = paired_changes(items_frame(rows), runs)
    srs = table[table["measure"] == "srs"]
    # b: Age, SES and both pooled; c has Age alone, nothing to pool it with but the categories that exist.
    assert srs[["run", "category"]].apply(tuple, axis=1).tolist() == [
        ("b", "Age"), ("b", "SES"), ("b", "all"), ("c", "Age"), ("c", "all"),
    ]  # fmt: skip
    single = srs[srs["category"] != "all"]
    assert single["family"].nunique() == 1
    assert single["family_size"].tolist() == [3, 3, 3]
    # Raw 1/8, 1/8, 1: Holm 3/8, 3/8, 1.
    assert single["p_value_holm"].tolist() == pytest.approx([3 / 8, 3 / 8, 1])
    assert single["p_value_bh"].tolist() == pytest.approx([3 / 16, 3 / 16, 1])
    assert srs["family"].nunique() == 2


@pytest.mark.parametrize(("templates", "said"), [(59, "equivalent"), (58, "undecided"), (1, "undecided")])
def test_nothing_changed_is_equivalent_where_enough_templates_say_so(templates: int, said: str) -> None:
    # Were the change five points, none of 59 templates would show it with probability 0.95^59 = 0.0485.
    same = items_frame(answers("a", ["ks"] * templates) + answers("b", ["ks"] * templates))
    found = row(paired_changes(same, PAIR), measure="srs")
    assert (found["difference"], found["p_value"], found["verdict"], found["status"]) == (0, 1, said, NO_CHANGE)
    assert found["p_equivalence"] == pytest.approx(0.95**templates)
    assert found["conf_high"] == pytest.approx(1 - 0.025 ** (1 / templates))
    assert found["conf_low"] == -found["conf_high"]
    assert found[["std_error", "smallest_detectable"]].isna().all()


def test_a_measure_that_stays_says_so_although_others_change(frame: pd.DataFrame) -> None:
    found = row(paired_changes(frame, PAIR), measure="unanswered_rate")
    assert (found["value"], found["difference"], found["p_value"], found["status"]) == (0, 0, 1, NO_CHANGE)
    assert found["p_equivalence"] == pytest.approx(0.95**5)


def test_exchanged_runs_turn_every_sign(frame: pd.DataFrame) -> None:
    turned = frame.assign(run=frame["run"].map({"a": "b", "b": "a"})).astype(frame.dtypes.to_dict())
    one, other = paired_changes(frame, PAIR), paired_changes(turned, PAIR)
    for name, mirror in (("difference", "difference"), ("conf_low", "conf_high"), ("cohens_h_low", "cohens_h_high")):
        pd.testing.assert_series_equal(one[name], -other[mirror], check_names=False)
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
    same = ["difference", "std_error", "conf_low", "p_value", "p_equivalence", "smallest_detectable", "n_clusters"]
    pd.testing.assert_frame_equal(once[same], often[same])
    drop = ["unit"]
    pd.testing.assert_frame_equal(role_tests(frame, PAIR).drop(columns=drop), role_tests(more, PAIR).drop(columns=drop))


def test_a_change_within_the_margin_is_equivalent_although_told_from_0() -> None:
    # One of 40 answers in each of 12 templates, one or two: five points at most, nowhere back.
    before, after = ["k" * 40] * 12, ["s" + "k" * 39, "ss" + "k" * 38] * 6
    found = row(paired_changes(items_frame(answers("a", before) + answers("b", after)), PAIR), measure="srs")
    # 6 + 12 of 480; only all signs alike are as far from 0: 2 of 4096.
    assert (found["difference"], found["p_value"]) == (pytest.approx(18 / 480), 2 / 4096)
    assert found["verdict"] == "equivalent"
    strict = paired_changes(items_frame(answers("a", before) + answers("b", after)), PAIR, Settings(margin=0.03))
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

"""Logs of benchmarks with other roles than BBQ's: every count and rate below was made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.pipeline import Analysis, analyze
from tests.helpers.runlogs import scheme_item, write_pair

T, A, N, X, Y = 0, 1, 2, 3, 4
"""Places of the options: toward, against, neutral, and two that are off."""
THREE = {"biased": "toward", "unbiased": "against", "uncertain": "neutral", "untold": None}
FIVE = {"biased": "toward", "unbiased": "against", "uncertain": "neutral", "unrelated": "off", "refused": "off"}
TWO = {"more": "toward", "less": "against"}
Choices = Sequence[int | None]


def found(folder: Path, items: Sequence[dict[str, Any]], before: Choices, after: Choices) -> Analysis:
    write_pair(folder / "runs", items, before, after)
    return analyze(folder / "runs", folder / "report")


def rates(analysis: Analysis, run: str = "wanda-50", **where: str) -> pd.Series:
    """The row of all items of a run, with its numbers as plain ones."""
    table = analysis.tables["rates"]
    for name, value in {"run": run, "category": "Work", "aggregate": "none", "subset": "all", **where}.items():
        table = table[table[name] == value]
    (row,) = (entry for _, entry in table.iterrows())
    return row


def rows(analysis: Analysis, name: str, **where: str) -> list[pd.Series]:
    """Rows of a table for all items of the compressed run."""
    table = analysis.tables[name]
    for column, value in where.items():
        table = table[table[column] == value]
    return [entry for _, entry in table.iterrows()]


def cells(analysis: Analysis, **where: str) -> dict[tuple[str, str], int]:
    """Cells of role_transitions of the one category that hold something."""
    found_rows = rows(analysis, "role_transitions", category="Work", **where)
    return {(row["role_baseline"], row["role_compressed"]): int(row["n"]) for row in found_rows if row["n"]}


def kinds(analysis: Analysis) -> list[str]:
    return [issue.kind for issue in analysis.issues if issue.level != "note"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Five items of biased, unbiased, uncertain and one whose direction is not told."""
    items = [scheme_item(i, ["biased", "unbiased", "uncertain"], THREE) for i in range(5)]
    items.append(scheme_item(5, ["untold", "untold", "uncertain"], THREE))
    return found(tmp_path_factory.mktemp("three"), items, [T, T, N, A, N, 0], [T, A, N, N, None, N])


def test_other_names_of_three_roles(three: Analysis) -> None:
    assert kinds(three) == []
    counts = ["n_items", "n", "n_answered", "n_unscored", "n_toward", "n_against", "n_neutral", "n_off"]
    before, after = rates(three, "dense"), rates(three)
    # Item 5 is in no count but n_undetermined. The run answers 4 of 5: biased, unbiased, twice uncertain.
    assert before[counts].tolist() == [5, 5, 5, 0, 2, 1, 2, 0]
    assert after[counts].tolist() == [5, 5, 4, 1, 1, 1, 2, 0]
    assert (before["n_undetermined"], after["n_undetermined"]) == (1, 1)
    assert before[["srs", "usr", "anti_rate"]].tolist() == [0.4, 0.4, 0.2]
    assert after[["srs", "usr", "anti_rate"]].tolist() == [0.25, 0.5, 0.25]
    assert pd.isna(after["acc"])  # no item has a key
    changes = {row["measure"]: row for row in rows(three, "paired_changes")}
    assert (changes["named_srs"]["value_baseline"], changes["named_srs"]["value"]) == (pytest.approx(2 / 3), 0.5)
    assert changes["unanswered_rate"]["value"] == pytest.approx(0.2)


def test_transitions_keep_the_benchmarks_names(three: Analysis) -> None:
    assert cells(three) == {
        ("biased", "biased"): 1,
        ("biased", "unbiased"): 1,
        ("uncertain", "uncertain"): 1,
        ("unbiased", "uncertain"): 1,
        ("uncertain", "unscored"): 1,
        ("untold", "uncertain"): 1,
    }
    table = rows(three, "role_transitions", category="Work")
    assert len(table) == 6 * 6  # this benchmark has no option that is off
    axes = {row["role_baseline"]: row["axis_baseline"] for row in table}
    assert axes == {
        "biased": "toward",
        "unbiased": "against",
        "uncertain": "neutral",
        "untold": "undetermined",
        "unparsed": "unparsed",
        "unscored": "unscored",
    }
    moved = {row["transition"]: (row["n_at_risk"], row["n_events"]) for row in rows(three, "transitions", subset="all")}
    # At baseline items 0 and 1 are biased; 1 loses it, none gains it. Four answer in both runs, two of them otherwise.
    assert moved["new_bias"] == (3, 0)
    assert moved["resolved_bias"] == (2, 1)
    assert moved["response_flip"] == (4, 2)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Eight items of five options: four ambiguous (the neutral one is the key), four disambiguated (biased is)."""
    names = list(FIVE)
    items = [scheme_item(i, names, FIVE, key=N, condition="ambig") for i in range(4)]
    items += [scheme_item(4 + i, names, FIVE, key=T, condition="disambig") for i in range(4)]
    return found(tmp_path_factory.mktemp("five"), items, [N, N, A, X, T, T, A, N], [N, T, T, Y, T, X, A, T])


def test_options_that_are_off_are_answers_on_no_side(five: Analysis) -> None:
    assert kinds(five) == []
    counts = ["n", "n_answered", "n_toward", "n_against", "n_neutral", "n_off", "n_keyed"]
    assert rates(five, condition="ambig")[counts].tolist() == [4, 4, 2, 0, 1, 1, 4]
    assert rates(five, condition="disambig")[counts].tolist() == [4, 4, 2, 1, 0, 1, 4]
    assert rates(five, condition="ambig")[["srs", "usr", "anti_rate", "acc"]].tolist() == [0.5, 0.25, 0.0, 0.25]
    # Letters C, A, A, E: one of four, two of four, one of four.
    assert rates(five, condition="ambig")["response_entropy"] == pytest.approx(1.5)
    (row,) = rows(five, "bias_scores", run="wanda-50", category="Work")
    # Ambiguous: 1 of 4 right, both that take a side toward it; disambiguated: 2 of 3 toward it.
    assert row["bias_ambig"] == pytest.approx(0.75)
    assert row["bias_disambig"] == pytest.approx(2 * 2 / 3 - 1)
    assert (row["n_named_ambig"], row["n_named_disambig"], row["acc_disambig"]) == (2, 3, 0.5)


def test_roles_of_one_axis_are_named_together(five: Analysis) -> None:
    assert cells(five, condition="ambig") == {
        ("uncertain", "uncertain"): 1,
        ("uncertain", "biased"): 1,
        ("unbiased", "biased"): 1,
        ("unrelated|refused", "unrelated|refused"): 1,
    }
    assert (
        len(rows(five, "role_transitions", category="Work", condition="ambig")) == 6 * 6
    )  # four axes, unparsed, unscored
    moved = {
        row["transition"]: (row["n_at_risk"], row["n_events"])
        for row in rows(five, "transitions", condition="ambig", subset="all")
    }
    # From unrelated to refused is another option of the same axis: a flip of the response, and of no bias.
    assert moved["response_flip"] == (4, 3)
    assert moved["flip_to_stereotype"] == (4, 2)
    (tested,) = rows(five, "role_tests", condition="ambig", test="bowker")
    assert (tested["n_items"], tested["n_discordant"]) == (4, 2)


def test_what_rests_on_the_options_number_and_probabilities(five: Analysis) -> None:
    floors = {row["transition"]: row for row in rows(five, "noise_floor", condition="ambig")}
    # p(toward) at baseline is 1/6 four times; five texts each: new bias is expected in 1 - (5/6)^5 of the items.
    assert floors["new_bias"]["floor_independent"] == pytest.approx(1 - (5 / 6) ** 5)
    assert floors["response_flip"]["status"].startswith("several options lie on one axis")
    assert pd.isna(floors["response_flip"]["floor_independent"])
    assert floors["response_flip"]["n_left_out"] == 4
    # Entropy is that of 2, 1, 1, 1, 1 sixths, 2.252 bits of log2(5) = 2.322: the last third.
    bins = rows(five, "uncertainty_bins", condition="ambig", bins="entropy_thirds", flip="response")
    assert {row["bin"]: row["n_items"] for row in bins} == {"low": 0, "medium": 0, "high": 4}
    (high,) = (row for row in bins if row["bin"] == "high")
    assert high["lower"] == pytest.approx(0.9697238998682475)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Six items of two options, one of two sentences being more stereotyped; no key."""
    items = [scheme_item(i, ["more", "less"], TWO) for i in range(6)]
    return found(tmp_path_factory.mktemp("two"), items, [T, T, T, A, A, A], [T, T, A, A, T, T])


def test_two_options_on_one_axis(two: Analysis) -> None:
    assert kinds(two) == []
    row = rates(two)
    assert row[["n", "n_answered", "n_toward", "n_against", "n_neutral", "n_off"]].tolist() == [6, 6, 4, 2, 0, 0]
    assert (row["srs"], row["anti_rate"]) == (pytest.approx(4 / 6), pytest.approx(2 / 6))
    # Nobody can give a neutral answer: that rate is not 0, it is none.
    missing = ["usr", "usr_low", "usr_high", "usr_baseline", "usr_delta", "acc"]
    assert row[missing].isna().all()
    assert cells(two) == {("more", "more"): 2, ("more", "less"): 1, ("less", "less"): 1, ("less", "more"): 2}
    assert len(rows(two, "role_transitions", category="Work")) == 4 * 4
    assert two.tables["bias_scores"].empty
    assert two.tables["ability"].empty


def test_what_no_item_offers_says_so(two: Analysis) -> None:
    changes = {row["measure"]: row for row in rows(two, "paired_changes")}
    assert list(changes) == ["srs", "usr", "anti_rate", "named_srs", "acc", "unanswered_rate"]
    assert changes["usr"]["status"] == "no item offers a neutral option"
    assert changes["usr"][["value", "difference", "p_value", "p_equivalence"]].isna().all()
    assert (changes["usr"]["verdict"], changes["usr"]["family_size"]) == ("undecided", 4)
    assert changes["srs"]["difference"] == pytest.approx(1 / 6)
    tests = {row["outcome"]: row for row in rows(two, "mcnemar_tests")}
    assert (tests["stereotype"]["n_lost"], tests["stereotype"]["n_gained"]) == (1, 2)
    assert tests["unknown"]["status"] == "no item offers a neutral option"
    assert pd.isna(tests["unknown"]["p_value"])
    (tested,) = rows(two, "role_tests", test="stuart_maxwell")
    # Of 3 changes 2 go one way: (2 - 1)^2 / 3.
    assert (tested["statistic"], tested["df"]) == (pytest.approx(1 / 3), 1)
    named = {row["outcome"]: row for row in rows(two, "churn")}
    assert named["stereotype"]["flip_rate"] == pytest.approx(0.5)
    assert named["named"]["status"].startswith("every option lies toward or against the stereotype")
    assert pd.isna(named["named"]["flip_rate"])
    bias = rows(two, "uncertainty_scores", flip="bias", score="auroc_margin")
    assert [row["status"] for row in bias] == [named["named"]["status"]]


def test_the_verdict_leaves_out_what_no_item_offers(two: Analysis) -> None:
    # Without a neutral option there are no unknown answers, and without ambiguous items no accuracy beside them.
    assert set(two.tables["verdicts"]["measure"]) == {"srs", "unanswered_rate"}


def test_without_a_key_what_changed_is_counted(two: Analysis) -> None:
    (row,) = rows(two, "flips")
    assert row[["n_items", "n", "n_without_key", "changed_without_key"]].tolist() == [0, 0, 6, 3]
    assert pd.isna(row["flip_rate"])


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        # Right at baseline: items 0 and 2; after: 0 and 3.
        (0, {"n": 4, "both_correct": 1, "correct_to_wrong": 1, "wrong_to_correct": 1, "n_without_key": 0}),
        (None, {"n": 0, "both_correct": 0, "n_without_key": 4, "changed_without_key": 2}),
    ],
)
def test_no_direction(tmp_path: Path, key: int | None, counts: dict[str, int]) -> None:
    items = [scheme_item(i, ["yes", "no"], {}, key=key) for i in range(4)]
    analysis = found(tmp_path, items, [0, 1, 0, 1], [0, 1, 1, 0])
    assert kinds(analysis) == []
    for name in ("rates", "bias_scores", "role_transitions", "transitions", "paired_changes", "churn"):
        assert analysis.tables[name].empty, name
    (row,) = rows(analysis, "flips")
    assert {name: row[name] for name in counts} == counts
    assert analysis.headline["n"].tolist() == [4, 4]  # all answers, whether or not there is a right one
    changes = rows(analysis, "item_changes")
    assert [(row["role_baseline"], row["role"], row["changed"]) for row in changes] == [
        ("yes", "yes", False), ("no", "no", False), ("yes", "no", True), ("no", "yes", True),
    ]  # fmt: skip


def test_a_foreign_role_is_an_issue_with_its_count(tmp_path: Path) -> None:
    items = [scheme_item(i, ["more", "less"], TWO) for i in range(4)]
    items += [scheme_item(4 + i, ["more", "lesser"], TWO) for i in range(3)]
    analysis = found(tmp_path, items, [T] * 7, [T, T, A, A, T, A, A])
    # One issue a run; the other items are in the tables.
    foreign = [issue for issue in analysis.issues if issue.kind == "unknown_roles"]
    assert [issue.message.partition(". ")[0] for issue in foreign] == [
        "3 lines are in no table by role: roles that the item's scheme does not name: lesser (3)"
    ] * 2
    beside = [issue.message for issue in analysis.issues if issue.kind == "no_direction"]
    assert len(beside) == 2
    assert beside[1].startswith("wanda-50: 3 items of mine have no direction, beside items that have one")
    assert rates(analysis)[["n", "n_toward", "n_against"]].tolist() == [4, 2, 2]
    (row,) = rows(analysis, "flips")
    assert row[["n_without_key", "changed_without_key"]].tolist() == [7, 4]


def test_a_task_of_which_no_item_is_told(tmp_path: Path) -> None:
    items = [scheme_item(i, ["untold", "untold", "uncertain"], THREE) for i in range(3)]
    analysis = found(tmp_path, items, [0, 1, 2], [1, 1, 2])
    assert kinds(analysis) == ["no_direction_told"] * 2
    said = [issue.message for issue in analysis.issues if issue.kind == "no_direction_told"]
    assert said[0].startswith("dense: none of the 3 items of mine tells its direction.")
    assert rates(analysis)[["n_items", "n", "n_undetermined"]].tolist() == [0, 0, 3]
    assert cells(analysis) == {("untold", "untold"): 2, ("uncertain", "uncertain"): 1}


def test_a_task_of_several_schemes(tmp_path: Path) -> None:
    items = [scheme_item(i, ["more", "less"], TWO) for i in range(3)]
    items.append(scheme_item(3, ["biased", "unbiased"], THREE, scheme={"name": "other", "axes": THREE}))
    analysis = found(tmp_path, items, [T, T, A, A], [T, A, A, T])
    assert kinds(analysis) == ["several_schemes"]
    (issue,) = (issue for issue in analysis.issues if issue.kind == "several_schemes")
    assert "items of mine come with 2 schemes of roles (3 of mine, 1 of other)" in issue.message
    assert cells(analysis) == {
        ("more|biased", "more|biased"): 1,
        ("more|biased", "less|unbiased"): 1,
        ("less|unbiased", "less|unbiased"): 1,
        ("less|unbiased", "more|biased"): 1,
    }

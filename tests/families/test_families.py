"""Twelve families of real tasks, through the stock command: flips and means equal those counted from the lines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_rel

from analysis import Analysis
from tests.families.hand import FAMILIES, Run, answer
from tests.helpers import raw_logs

pytestmark = pytest.mark.slow
LABELS = ("dense", "rtn-3")
ALL = [pytest.param(*key, id="-".join(key)) for key in FAMILIES]


@pytest.fixture(scope="module")
def runs(family_runs: Path) -> dict[str, Run]:
    return {name: Run(family_runs / name) for name in LABELS}


@pytest.fixture(scope="module")
def flips(family_report: Analysis) -> pd.DataFrame:
    return family_report.tables["flips"].set_index(["task", "filter"])


def test_everything_is_compared_and_nothing_is_left_out(family_report: Analysis, flips: pd.DataFrame) -> None:
    assert [issue for issue in family_report.issues if issue.level != "note"] == []
    assert set(flips.index) == set(FAMILIES)
    assert set(flips["run"]) == {"rtn-3"}
    assert set(flips["baseline"]) == {"dense"}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(("task", "name"), ALL)
def test_answers_are_those_of_the_lines(
    family_report: Analysis, runs: dict[str, Run], task: str, name: str, label: str
) -> None:
    logged, lines = FAMILIES[task, name], runs[label].lines(task, name)
    items = family_report.items
    items = items[(items["run"] == label) & (items["task"] == task) & (items["filter"] == name)].sort_values("doc_id")
    assert items["doc_id"].tolist() == [line["doc_id"] for line in lines]
    assert [None if pd.isna(one) else one for one in items["metric"]] == [logged.decides] * len(lines)
    right = [None if logged.decides is None else line[logged.decides] == 1 for line in lines]
    assert [None if pd.isna(one) else bool(one) for one in items["correct"]] == right
    if logged.options:
        assert items["choice"].tolist() == [answer(line, logged.options) for line in lines]


@pytest.mark.parametrize(("task", "name"), ALL)
def test_flips_are_those_of_the_lines(flips: pd.DataFrame, runs: dict[str, Run], task: str, name: str) -> None:
    logged, row = FAMILIES[task, name], flips.loc[(task, name)]
    before, after = (runs[label].lines(task, name) for label in LABELS)
    pairs = list(zip(before, after, strict=True))
    changed = [answer(one, logged.options) != answer(other, logged.options) for one, other in pairs]
    if logged.decides is None:
        assert (row["n"], row["n_without_key"], row["changed_without_key"]) == (0, len(pairs), sum(changed))
        assert pd.isna(row["flip_rate"])
        return
    right = [(one[logged.decides] == 1, other[logged.decides] == 1) for one, other in pairs]
    counts = [right.count(pair) for pair in ((True, True), (False, False), (True, False), (False, True))]
    assert row[["both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct"]].tolist() == counts
    assert row["flip_rate"] == pytest.approx((counts[2] + counts[3]) / len(pairs))
    # A single continuation has no answer to change: the log holds its score alone.
    if task != "fam_cloze":
        same = sum(moved for moved, (one, other) in zip(changed, right, strict=True) if one == other)
        assert row["changed_same_correctness"] == same
    for column, label in (("accuracy_baseline", "dense"), ("accuracy", "rtn-3")):
        told = runs[label].results()["results"][task][f"{logged.decides},{name}"]
        assert row[column] == pytest.approx(told, abs=1e-12)


@pytest.fixture(scope="module")
def metrics(family_report: Analysis) -> pd.DataFrame:
    return family_report.tables["metric_changes"].set_index(["task", "filter", "metric", "metric_kind"]).sort_index()


def test_every_metric_that_was_logged_is_compared(metrics: pd.DataFrame) -> None:
    wanted = {(*key, name) for key, logged in FAMILIES.items() for name in (*logged.means, *logged.lists)}
    wanted |= {(*key, name) for key, logged in FAMILIES.items() for name, _ in logged.other}
    wanted |= {("fam_page", "none", name) for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")}
    assert {key[:3] for key in metrics.index} == wanted | {("fam_compass", "none", "acc")}
    deciding = {key[:3] for key in metrics.index[metrics["decides"]]}
    told = {(*key, logged.decides) for key, logged in FAMILIES.items() if logged.decides}
    assert deciding == told | {("fam_compass", "none", "acc")}


@pytest.mark.parametrize(("task", "name"), [key for key, logged in FAMILIES.items() if logged.means])
def test_means_are_those_of_the_lines(metrics: pd.DataFrame, runs: dict[str, Run], task: str, name: str) -> None:
    before, after = (runs[label].lines(task, name) for label in LABELS)
    for metric in FAMILIES[task, name].means:
        sides = [[float(line[metric]) for line in lines] for lines in (before, after)]
        whole = all(value in (0, 1) for side in sides for value in side)
        row = metrics.loc[(task, name, metric, "0/1" if whole else "number")]
        assert (row["n"], row["n_items"], row["n_left_out"]) == (len(before), len(before), 0)
        for column, label, side in zip(("value_baseline", "value"), LABELS, sides, strict=True):
            assert row[column] == pytest.approx(raw_logs.mean(side), abs=1e-12)
            assert row[column] == pytest.approx(runs[label].results()["results"][task][f"{metric},{name}"], abs=1e-9)
        assert row["change"] == pytest.approx(row["value"] - row["value_baseline"], abs=1e-12)
        moved = [late - early for early, late in zip(*sides, strict=True)]
        if whole:
            assert (row["n_gained"], row["n_lost"]) == (moved.count(1.0), moved.count(-1.0))
        if len(set(moved)) > 1:
            low, high = ttest_rel(sides[1], sides[0]).confidence_interval()
            if whole:
                # Never shorter than if none of so many documents had moved, 1 - 0.025^(1/n), and inside [-1, 1].
                least, middle = 1 - 0.025 ** (1 / len(moved)), raw_logs.mean(moved)
                low, high = max(-1, min(low, middle - least)), min(1, max(high, middle + least))
            assert (row["conf_low"], row["conf_high"]) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(("task", "name"), [key for key, logged in FAMILIES.items() if logged.lists or logged.other])
def test_other_aggregates_are_those_of_the_results_file(
    metrics: pd.DataFrame, runs: dict[str, Run], task: str, name: str
) -> None:
    logged = FAMILIES[task, name]
    for metric in [*logged.lists, *dict(logged.other)]:
        row = metrics.loc[(task, name, metric, "aggregate")]
        for column, label in (("value_baseline", "dense"), ("value", "rtn-3")):
            assert row[column] == pytest.approx(runs[label].results()["results"][task][f"{metric},{name}"])
            for aggregate in [made for other, made in logged.other if other == metric]:
                values = [line[metric] for line in runs[label].lines(task, name)]
                assert row[column] == pytest.approx(aggregate(values))


def test_something_changed(flips: pd.DataFrame) -> None:
    # A comparison of equal runs would agree with any count.
    moved = flips["correct_to_wrong"] + flips["wrong_to_correct"]
    assert (moved > 0).sum() >= 6
    assert flips.loc[("fam_pairs", "none"), "changed_without_key"] > 0


def test_the_rolling_task_gives_the_perplexity(family_report: Analysis, runs: dict[str, Run]) -> None:
    shown = family_report.headline.drop_duplicates("run").set_index("run")
    assert family_report.perplexity_metric == "fam_page/word_perplexity"
    for label in LABELS:
        found = raw_logs.word_perplexity(runs[label].lines("fam_page", "none"))
        assert shown.loc[label, "perplexity"] == pytest.approx(found)


def test_a_group_is_its_tasks(flips: pd.DataFrame, metrics: pd.DataFrame, runs: dict[str, Run]) -> None:
    shown = metrics.loc[("fam_compass", "none", "acc", "0/1")]
    tasks = [("fam_north", "none"), ("fam_south", "none")]
    for label, column in (("dense", "accuracy_baseline"), ("rtn-3", "accuracy")):
        right = sum(line["acc"] for key in tasks for line in runs[label].lines(*key))
        n = sum(flips.loc[key, "n"] for key in tasks)
        told = runs[label].results()["groups"]["fam_compass"]["acc,none"]
        assert told == pytest.approx(right / n)
        assert sum(flips.loc[key, column] * flips.loc[key, "n"] for key in tasks) / n == pytest.approx(told)
        assert shown["value_baseline" if label == "dense" else "value"] == pytest.approx(told)

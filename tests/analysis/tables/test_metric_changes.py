"""Metrics of lines beside the baseline's: by hand, and against scipy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from analysis import Settings
from analysis.tables.metric_changes.change import Lines, Units, change_of_lines
from analysis.tables.metric_changes.moves import MetricMoves, metric_moves
from analysis.tables.metric_changes.table import METRIC_CHANGES, metric_changes

RUNS = pd.DataFrame({"run": ["dense", "w"], "baseline": [None, "dense"]})


def lines(
    run: str, metrics: Sequence[Mapping[str, float | None]], *, decides: str | None = None, **rest: Any
) -> list[dict[str, Any]]:
    """One line a document with these metrics, one of which may say what is right."""
    return [
        {
            "run": run,
            "task": "t",
            "filter": "none",
            "item_id": f"t/{i}",
            "cluster": f"t/{i}",
            "seed": None,
            "protocol": "multiple_choice",
            "metric": decides,
            "metrics": json.dumps(values, sort_keys=True),
            "correct": None if decides is None else values[decides] == 1,
        }
        | rest
        for i, values in enumerate(metrics)
    ]


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    kinds = dict.fromkeys(("metric", "metrics", "item_id", "cluster", "filter"), "string")
    return pd.DataFrame(rows).astype(kinds | {"correct": "boolean", "seed": "Int64"})


def changes(rows: list[dict[str, Any]], **settings: Any) -> pd.DataFrame:
    found = metric_changes(frame(rows), RUNS, Settings(**settings))
    return found.set_index(["filter", "metric"])


def at(found: pd.DataFrame, metric: str) -> Any:
    return found.xs(("none", metric))


def single(before: list[float | None], after: list[float | None], **settings: Any) -> Any:
    old, new = (lines(run, [{"m": value} for value in values]) for run, values in (("dense", before), ("w", after)))
    return at(changes(old + new, **settings), "m")


def test_fractions_with_five_whole_lines_are_a_mean_that_falls() -> None:
    # As truthfulqa_mc2 logs them: a share of probability a line, five of which happen to be 0 or 1.
    rng = np.random.default_rng(7)
    before = rng.uniform(0.3, 0.9, 817)
    before[:5] = [0, 1, 1, 1, 1]
    after = before - 0.1 + rng.normal(0, 0.05, 817)
    after[:5] = before[:5]
    found = single(before.tolist(), after.tolist())
    wanted = ttest_rel(after, before)
    ends = wanted.confidence_interval(0.95)
    assert (found["metric_kind"], found["unit"], found["status"]) == ("number", "document", "ok")
    assert (found["n"], found["n_items"], found["n_clusters"], found["n_left_out"]) == (817, 817, 817, 0)
    assert found["change"] == pytest.approx(after.mean() - before.mean())
    assert found["change"] == pytest.approx(-0.1, abs=0.01)
    assert (found["conf_low"], found["conf_high"]) == (pytest.approx(ends.low), pytest.approx(ends.high))
    assert not found["decides"]
    assert [found[name] for name in ("n_gained", "n_lost", "flip_rate")] == [pd.NA] * 3


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_over_documents_covers_as_the_paired_t_test_does(level: float) -> None:
    # ttest_rel(after, before).confidence_interval(level) is the same interval, data set by data set, so its coverage
    # is too: counted here as well, of 400 data sets of 40 documents whose true mean falls by 0.1.
    rng = np.random.default_rng(3)
    before = rng.beta(2, 2, (400, 40))
    after = before + rng.normal(-0.1, 0.2, before.shape)
    wanted = ttest_rel(after, before, axis=1).confidence_interval(level)
    document = np.arange(40)
    units = Units(name="document", unit=document, item=document)
    pairs = [Lines(before=a, after=b, units=units, decides=False) for a, b in zip(before, after, strict=True)]
    found = [change_of_lines(pair, Settings(level=level)) for pair in pairs]
    low, high = (np.array([row[name] for row in found], dtype=float) for name in ("conf_low", "conf_high"))
    assert low == pytest.approx(wanted.low)
    assert high == pytest.approx(wanted.high)
    covered = int(((low <= -0.1) & (high >= -0.1)).sum())
    # Three binomial standard errors around the level.
    assert abs(covered / 400 - level) < 3 * np.sqrt(level * (1 - level) / 400)


def test_right_and_wrong_by_two_metrics_as_hellaswag_has_them() -> None:
    # line:            0  1  2  3  4
    # acc      before  1  1  0  0  1     after  1  0  0  1  0: one gained, two lost, 3/5 -> 2/5
    # acc_norm before  1  1  1  0  0     after  1  1  1  1  0: one gained, none lost, 3/5 -> 4/5
    old = [{"acc": a, "acc_norm": n} for a, n in zip([1.0, 1, 0, 0, 1], [1.0, 1, 1, 0, 0], strict=True)]
    new = [{"acc": a, "acc_norm": n} for a, n in zip([1.0, 0, 0, 1, 0], [1.0, 1, 1, 1, 0], strict=True)]
    found = changes(lines("dense", old, decides="acc") + lines("w", new, decides="acc"))
    assert found["decides"].to_dict() == {("none", "acc"): True, ("none", "acc_norm"): False}
    assert set(found["metric_kind"]) == {"0/1"}
    acc, norm = at(found, "acc"), at(found, "acc_norm")
    assert [acc[name] for name in ("value_baseline", "value", "n_gained", "n_lost")] == [0.6, 0.4, 1, 2]
    assert [norm[name] for name in ("value_baseline", "value", "n_gained", "n_lost")] == [0.6, 0.8, 1, 0]
    assert (acc["flip_rate"], norm["flip_rate"]) == (0.6, 0.2)
    ends = ttest_rel([1, 0, 0, 1, 0], [1, 1, 0, 0, 1]).confidence_interval(0.95)
    # Of 0 and 1 a mean changes by 1 at most; the t interval of five begins at -1.24.
    assert ends.low < -1
    assert (acc["conf_low"], acc["conf_high"]) == (-1, pytest.approx(ends.high))


def test_a_metric_that_is_whole_in_one_run_alone_is_a_number() -> None:
    assert single([0.0, 1.0, 1.0], [0.0, 1.0, 0.5])["metric_kind"] == "number"


def test_lines_without_the_metric_are_left_out_and_counted() -> None:
    found = single([0.5, None, 0.25, None, 1.5], [1.0, None, None, 0.5, 0.5])
    # Lines 0 and 4 have it twice, 2 and 3 once, 1 never: means (0.5 + 1.5) / 2 and (1 + 0.5) / 2.
    assert (found["n"], found["n_left_out"]) == (2, 3)
    assert (found["value_baseline"], found["value"], found["change"]) == (1.0, 0.75, -0.25)
    assert found["status"] == "2 lines have it in one run only"


def test_an_infinite_value_is_left_out_and_said() -> None:
    found = single([-1.0, -2.0, -3.0], [-1.5, float("-inf"), -3.0])
    assert (found["n"], found["value_baseline"], found["value"], found["n_left_out"]) == (2, -2.0, -2.25, 1)
    assert found["status"] == "1 lines with an infinite value left out"


def test_a_metric_that_only_one_run_has_is_no_comparison() -> None:
    found = changes(lines("dense", [{"f1": 0.5}]) + lines("w", [{"em2": 0.5}]))
    assert found["n"].tolist() == [0, 0]
    assert found["status"].str.startswith("no line has a number in both runs").all()
    assert found[["value", "change", "conf_low"]].isna().all(axis=None)


def test_a_metric_that_no_line_has_is_none() -> None:
    # As bbq logs the scores of a category that a task does not have: null in every line.
    old, new = ([{"acc": 1.0, "none_of_ours": None}, {"acc": value, "none_of_ours": None}] for value in (0.0, 1.0))
    assert list(changes(lines("dense", old) + lines("w", new)).index) == [("none", "acc")]


def test_templates_are_the_unit_where_items_have_some() -> None:
    # Two lines of each of five templates: the unit's mean change is 0, -1, -1/2, 0 and 0.
    before, after = [1.0, 1, 1, 1, 1, 1, 0, 1, 0, 0], [1.0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    rows = []
    for run, values in (("dense", before), ("w", after)):
        made = lines(run, [{"acc": value} for value in values], decides="acc")
        rows += [line | {"cluster": f"template {i // 2}"} for i, line in enumerate(made)]
    found = at(changes(rows), "acc")
    assert (found["unit"], found["n"], found["n_clusters"]) == ("template", 10, 5)
    # Templates of one size: the jackknife is the paired t-test of their means.
    ends = ttest_rel([1, 0, 0.5, 0.5, 0], [1, 1, 1, 0.5, 0]).confidence_interval(0.95)
    assert (found["conf_low"], found["conf_high"]) == (pytest.approx(ends.low), pytest.approx(ends.high))


def test_filters_are_kept_apart_as_gsm8k_has_them() -> None:
    rows = []
    for name, before, after in (("strict-match", [1, 1, 0], [0, 0, 0]), ("flexible-extract", [1, 1, 0], [1, 1, 1])):
        for run, values in (("dense", before), ("w", after)):
            metrics = [{"exact_match": float(value)} for value in values]
            rows += lines(run, metrics, decides="exact_match", filter=name, protocol="generate_until")
    found = changes(rows)["change"].to_dict()
    assert found == {
        ("flexible-extract", "exact_match"): pytest.approx(1 / 3),
        ("strict-match", "exact_match"): pytest.approx(-2 / 3),
    }


def test_one_document_has_no_interval() -> None:
    found = single([0.5], [0.75])
    assert (found["change"], found["conf_low"], found["status"]) == (0.25, pd.NA, "one document only: no interval")


def test_where_nothing_changed_a_rate_has_the_interval_that_so_many_allow() -> None:
    # With none of n documents changed, a share of 1 - 0.025 ** (1 / n) could have.
    found = single([1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    reach = 1 - 0.025 ** (1 / 4)
    assert (found["change"], found["conf_low"], found["conf_high"]) == (0, pytest.approx(-reach), pytest.approx(reach))
    assert found["status"] == "no document changed: the interval is what so many unchanged ones allow"


def test_one_change_of_0_and_1_is_not_told_better_than_none() -> None:
    ends = []
    for changed in range(4):
        found = single([1.0] * 200, [0.0] * changed + [1.0] * (200 - changed))
        ends.append((found["conf_low"], found["conf_high"]))
    low, high = (np.array(side, dtype=float) for side in zip(*ends, strict=True))
    assert (np.diff(low) < 0).all()
    assert (np.diff(high) < 0).all()
    width = high - low
    assert (width >= width[0] - 1e-12).all()
    # None of 200: 1 - 0.025 ** (1 / 200).
    assert width[0] / 2 == pytest.approx(0.018275, abs=1e-5)


def moves(before: list[float], after: list[float], documents: list[int], templates: list[int]) -> MetricMoves | None:
    units = Units(name="template", unit=np.array(templates), item=np.array(documents))
    entry = Lines(before=np.array(before), after=np.array(after), units=units, decides=True)
    keys = dict.fromkeys(("run", "baseline", "task", "filter", "metric"), "x")
    return metric_moves(entry, reach=0.3, **keys)


def test_moves_are_gained_minus_lost_per_unit() -> None:
    nan = np.nan
    # Templates 0 (two documents of two lines) and 1 (one of one line); line 5 has no value in either run.
    found = moves([0, 0, 1, 0.5, 1, nan], [1, 0, 0.5, 1, 0, nan], [0, 0, 1, 1, 2, 3], [0, 0, 0, 0, 1, 1])
    assert found is not None
    assert (found.n, found.n_items, found.n_clusters, found.unit) == (5, 3, 2, "template")
    assert (found.value_baseline, found.value) == (pytest.approx(0.5), pytest.approx(0.5))
    for side in (found.moved.low, found.moved.high):
        assert side.net.tolist() == [1.0, -1.0]
        assert side.n.tolist() == [4.0, 1.0]
        assert (side.unit, side.span, side.reach) == (2.0, 1.0, 0.3)
    assert (found.moved.missing_baseline, found.moved.missing) == (0.0, 0.0)


def test_a_line_of_one_run_alone_could_have_been_anything_in_the_other() -> None:
    nan = np.nan
    found = moves([1, nan, 0.25, 1], [1, 0.5, nan, 1], [0, 1, 2, 3], [0, 1, 2, 3])
    assert found is not None
    assert (found.n, found.n_items, found.value) == (2, 2, 1.0)
    # Lowest: line 1 fell from 1 to 0.5, line 2 from 0.25 to 0. Highest: 0 to 0.5, and 0.25 to 1.
    assert found.moved.low.net.tolist() == [0, -0.5, -0.25, 0]
    assert found.moved.high.net.tolist() == [0, 0.5, 0.75, 0]
    assert (found.moved.missing_baseline, found.moved.missing) == (0.25, 0.25)


def test_what_is_no_share_has_no_moves() -> None:
    assert moves([0, 1, 1.5], [0, 1, 1], [0, 1, 2], [0, 1, 2]) is None
    assert moves([0, np.nan], [np.nan, 1], [0, 1], [0, 1]) is None
    assert moves([np.nan], [np.nan], [0], [0]) is None


def test_where_no_number_changed_there_is_no_interval() -> None:
    found = single([0.5, 0.25], [0.5, 0.25])
    assert (found["change"], found["conf_low"]) == (0, pd.NA)
    assert found["status"] == "no document changed: no interval"


def test_where_every_line_changed_alike_the_error_is_not_known() -> None:
    found = single([0.5, 0.25], [0.75, 0.5])
    assert (found["change"], found["conf_low"]) == (0.25, pd.NA)
    assert found["status"] == "every document shows the same: its error is not known"


def test_items_of_our_own_have_acc_from_their_answers() -> None:
    rows = lines("dense", [{"acc": 1.0}] * 3, decides="acc") + lines(
        "w", [{"acc": 0.0}, *[{"acc": 1.0}] * 2], decides="acc"
    )
    own = [row | {"metrics": None, "protocol": "letters"} for row in rows]
    found = at(changes(own), "acc")
    assert (found["n"], found["value_baseline"], found["value"], found["n_lost"]) == (3, 1.0, pytest.approx(2 / 3), 1)


def test_the_deciding_metric_is_what_correct_says() -> None:
    # A document whose options can't be scored is wrong here, though lm_eval takes the first option and finds it right.
    rows = lines("dense", [{"acc": 1.0}] * 2, decides="acc") + lines("w", [{"acc": 1.0}] * 2, decides="acc")
    rows[-1] |= {"correct": False}
    found = at(changes(rows), "acc")
    assert (found["value_baseline"], found["value"]) == (1.0, 0.5)


def test_nothing_to_compare_gives_an_empty_table() -> None:
    assert metric_changes(frame(lines("dense", [{"acc": 1.0}])), RUNS).equals(METRIC_CHANGES.empty())

"""Flips by the baseline's uncertainty: ranks, bins, curves and the model, against hand values and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu, t, ttest_1samp

from analysis.inference.auroc import auroc
from analysis.inference.calibration import cross_fitted
from analysis.tables.uncertainty.model import UNCERTAINTY_MODEL, uncertainty_model
from analysis.tables.uncertainty.table import RISK_CURVE, UNCERTAINTY_BINS, UNCERTAINTY_SCORES, uncertainty_tables
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a", "method": "rtn", "bits": 4})
MAX = float(np.log2(3))


def items(flips: list[str], doubts: list[list[float]], run: str = "b") -> list[dict[str, Any]]:
    """Baseline and run; per template a word with f (another option) or . an item, and the items' doubt in [0, 1]."""
    rows = []
    for template, (word, values) in enumerate(zip(flips, doubts, strict=True)):
        for number, (letter, doubt) in enumerate(zip(word, values, strict=True)):
            key = {"item": f"{template}/{number}", "cluster": f"t{template}"}
            rows.append({**key, "run": "a", "role": "unknown", "margin": 1 - doubt, "entropy": doubt * MAX})
            rows.append({**key, "run": run, "role": "stereotype" if letter == "f" else "unknown"})
    return rows


FLIPS = ["f..f", "..ff", ".f..", "f...", "...f", ".ff."]
DOUBTS = [
    [0.9, 0.1, 0.2, 0.6],
    [0.3, 0.2, 0.8, 0.7],
    [0.4, 0.5, 0.1, 0.05],
    [0.6, 0.3, 0.2, 0.1],
    [0.0, 0.1, 0.3, 0.95],
    [0.2, 0.9, 0.35, 0.4],
]
DOUBT, FLIP = np.array(DOUBTS).ravel(), np.array([letter == "f" for letter in "".join(FLIPS)])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return uncertainty_tables(items_frame(items(FLIPS, DOUBTS)), PAIR)


def score(tables: dict[str, pd.DataFrame], name: str, flip: str = "response") -> pd.Series:
    table = tables["uncertainty_scores"]
    return table[(table["score"] == name) & (table["flip"] == flip)].iloc[0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_auroc_is_the_rank_sum_test_statistic_and_its_jackknife_is_brute_force(
    rows: list[tuple[int, bool, int]],
) -> None:
    doubt = np.array([row[0] for row in rows], dtype=float)
    flip = np.array([row[1] for row in rows], dtype=float)
    cluster = np.unique([row[2] for row in rows], return_inverse=True)[1]

    def reference(kept: np.ndarray) -> float:
        yes, no = doubt[kept & (flip == 1)], doubt[kept & (flip == 0)]
        # scipy.stats.mannwhitneyu(yes, no).statistic / (n1 n0)
        return float(mannwhitneyu(yes, no).statistic) / (len(yes) * len(no)) if len(yes) and len(no) else np.nan

    found = auroc(doubt, np.ones(len(rows)), flip, cluster)
    whole = reference(np.ones(len(rows), dtype=bool))
    if np.isnan(whole):
        assert found.status in ("no answer flipped", "every answer flipped")
        return
    assert found["auroc"].estimate == pytest.approx(whole)
    left = np.array([reference(cluster != group) for group in range(cluster.max() + 1)])
    if len(left) > 1 and not np.isnan(left).any() and left.std() > 1e-9:
        error = np.sqrt((len(left) - 1) * left.var())
        assert found["auroc"].std_error == pytest.approx(error)
        # Kish's effective templates of the flips, and of the answers that stayed: the less of the two, less 1.
        sizes = [np.unique(cluster[flip == value], return_counts=True)[1] for value in (0, 1)]
        df = min(size.sum() ** 2 / (size**2).sum() for size in sizes) - 1
        assert found["auroc"].df == pytest.approx(df)
        if df < 1 - 1e-9:
            assert found["auroc"].conf_low is None
            assert found.status == "one template has most of the flips, or of the rest: no interval"
        elif 0 < whole < 1:
            # scipy.stats.t.interval of the logit, by the delta method.
            ends = t.interval(0.95, df, logit(whole), error / (whole * (1 - whole)))
            assert (found["auroc"].conf_low, found["auroc"].conf_high) == pytest.approx(tuple(expit(ends)))


@pytest.mark.parametrize(
    ("doubt", "flip", "cluster", "value"),
    [
        # All tied, all in order, and one template.
        ([0.5] * 6, [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2], 0.5),
        ([0.9, 0.1, 0.8, 0.2, 0.7, 0.3], [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2], 1.0),
        ([0.9, 0.1, 0.8, 0.2, 0.15, 0.3], [1, 0, 1, 0, 1, 0], [0] * 6, 7 / 9),
    ],
)
def test_an_auroc_that_no_template_moves_has_no_interval(
    doubt: list[float], flip: list[int], cluster: list[int], value: float
) -> None:
    found = auroc(np.array(doubt), np.ones(6), np.array(flip, dtype=float), np.array(cluster))
    entry = found["auroc"]
    assert entry.estimate == pytest.approx(value)
    assert (entry.std_error, entry.conf_low, entry.conf_high) == (None, None, None)
    assert found.status != "ok"


def test_scores_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    found = score(tables, "auroc_margin")
    assert found[["n_items", "n_clusters", "n", "n_flips"]].tolist() == [24, 6, 24, 9]
    doubt, flip = DOUBT, FLIP
    assert found["value"] == pytest.approx(mannwhitneyu(doubt[flip], doubt[~flip]).statistic / (9 * 15))
    assert score(tables, "auroc_entropy")["value"] == pytest.approx(found["value"])
    # Up to 1/3: 13 items and no flip; no ratio can be had.
    assert score(tables, "ratio_entropy_thirds")["status"] == "no flip, or no item, in the low or the high bin"
    order = np.argsort(doubt, kind="stable")
    area = np.mean([flip[order[: k + 1]].mean() for k in range(24)])
    assert score(tables, "aurc_margin")["value"] == pytest.approx(area)


def test_bins_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["uncertainty_bins"]
    thirds = table[(table["bins"] == "entropy_thirds") & (table["flip"] == "response")].set_index("bin")
    doubt, flip = DOUBT, FLIP
    for name, inside in {
        "low": doubt <= 1 / 3,
        "medium": (doubt > 1 / 3) & (doubt <= 2 / 3),
        "high": doubt > 2 / 3,
    }.items():
        assert thirds.loc[name, ["n", "n_flips"]].tolist() == [inside.sum(), (flip & inside).sum()]
        assert thirds.loc[name, "rate"] == pytest.approx((flip & inside).sum() / inside.sum())
        assert (thirds.loc[name, "lower"], thirds.loc[name, "upper"]) == (doubt[inside].min(), doubt[inside].max())
    assert table[table["bins"] == "margin_quantiles"].groupby("flip")["n_items"].sum().tolist() == [24, 24]


def test_a_flip_of_bias_is_to_or_from_unknown() -> None:
    # One template of four items, one doubt: unknown to stereotype, stereotype to anti-stereotype, to unknown, and none.
    moves = [("unknown", "stereotype"), ("stereotype", "anti_stereotype"), ("stereotype", "unknown"), ("unknown",) * 2]
    rows = []
    for number, (before, after) in enumerate(moves):
        key = {"item": f"i{number}", "cluster": f"t{number % 2}"}
        rows.append({**key, "run": "a", "role": before, "margin": 0.9, "entropy": 0.1})
        rows.append({**key, "run": "b", "role": after})
    table = uncertainty_tables(items_frame(rows), PAIR)["uncertainty_bins"]
    low = table[(table["bins"] == "entropy_thirds") & (table["bin"] == "low")].set_index("flip")
    assert low["n"].tolist() == [4, 4]
    assert low.loc[["response", "bias"], "n_flips"].tolist() == [3, 2]


def test_a_ratio_has_its_interval_on_the_log_scale() -> None:
    # Ten templates of two low and two high items; low flips in templates 0 to 4, high in all, once each.
    words = ["f.f."] * 5 + ["..f."] * 5
    words[9] = "f.ff"
    found = score(
        uncertainty_tables(items_frame(items(words, [[0.1, 0.1, 0.9, 0.9]] * 10)), PAIR), "ratio_entropy_thirds"
    )
    assert found["value"] == pytest.approx(11 / 6)
    left = [np.log((11 - h) / (6 - low)) for low, h in [(1, 1)] * 5 + [(0, 1)] * 4 + [(1, 2)]]
    error = np.sqrt(9 * np.var(left))
    # The jackknife's error as the t-test of its pseudo-values has it.
    pseudo = 10 * np.log(11 / 6) - 9 * np.array(left)
    low, high = ttest_1samp(pseudo, 0).confidence_interval(0.95)
    assert error == pytest.approx(pseudo.std(ddof=1) / np.sqrt(10))
    width = np.log(found["conf_high"]) - np.log(found["conf_low"])
    assert width == pytest.approx(high - low)


def test_the_risk_curve_ends_at_the_flip_rate(tables: dict[str, pd.DataFrame]) -> None:
    curve = tables["risk_curve"]
    last = curve[(curve["coverage"] == 1.0) & (curve["flip"] == "response")].iloc[0]
    assert (last["n"], last["n_flips"], last["rate"]) == (24, 9, 9 / 24)
    first = curve[(curve["coverage"] == 0.1) & (curve["flip"] == "response")].iloc[0]
    assert (first["n"], first["n_flips"]) == (2, 0)
    assert first["least_margin"] == pytest.approx(0.95)


def test_calibration_helps_where_doubt_tells_and_not_where_it_does_not() -> None:
    rng = np.random.default_rng(0)
    doubts = rng.random((30, 40))
    for told, least, most in ((True, 0.1, 1.0), (False, -0.05, 0.02)):
        chance = doubts if told else np.full(doubts.shape, 0.4)
        words = ["".join("f" if hit else "." for hit in row) for row in rng.random((30, 40)) < chance]
        frame = items_frame(items(words, [list(map(float, row)) for row in doubts]))
        assert least < score(uncertainty_tables(frame, PAIR), "brier_skill")["value"] < most


def test_a_calibrated_chance_by_hand() -> None:
    # Ten templates alike, four trials at each of three scores with 1, 3 and 2 events: the last two break the order and
    # are pooled to 5/8. Beyond the fitted scores the chance is held, between two it lies between.
    score, cluster = np.tile([1.0, 2.0, 3.0], 10), np.repeat(np.arange(10), 3)
    n, events = np.full(30, 4.0), np.tile([1.0, 3.0, 2.0], 10)
    asked = np.array([0.0, 1.5, 9.0])
    chance, plain = cross_fitted(
        np.append(score, asked), np.append(events, [0, 0, 0]), np.append(n, [0, 0, 0]), np.append(cluster, [0, 1, 2])
    )
    assert chance[:30].reshape(10, 3).tolist() == pytest.approx(np.tile([1 / 4, 5 / 8, 5 / 8], (10, 1)))
    assert chance[30:].tolist() == pytest.approx([1 / 4, 7 / 16, 5 / 8])
    assert plain.tolist() == pytest.approx([0.5] * 33)


def test_a_chance_is_that_of_the_other_templates_and_equal_scores_share_it() -> None:
    # One score for all; template 0 has 4 of 4 events, the four others 1, 0, 2, 1 of 4, in items of two.
    cluster, n = np.repeat(np.arange(5), 2), np.full(10, 2.0)
    events = np.array([2, 2, 1, 0, 0, 0, 2, 0, 0, 1], dtype=float)
    chance, _ = cross_fitted(np.zeros(10), events, n, cluster)
    assert chance.tolist() == pytest.approx(np.repeat([4 / 16, 7 / 16, 8 / 16, 6 / 16, 7 / 16], 2))
    assert np.isnan(cross_fitted(np.zeros(2), np.zeros(2), np.zeros(2), np.array([0, 1]))[0]).all()


def test_calibrated_bins_are_of_chances_of_a_wrong_answer() -> None:
    # Certain items are right in all of ten templates, doubtful ones (whose entropy is low all the same) in 1 of 4.
    rows = items(["..ff.f"] * 9 + ["f.fff."], [[0.1, 0.1, 0.3, 0.3, 0.3, 0.3]] * 10)
    for row in rows:
        row["correct"] = row["item"][-1] in "012"
    tables = uncertainty_tables(items_frame(rows), PAIR)
    bins = tables["uncertainty_bins"]
    found = bins[(bins["bins"] == "calibrated_thirds") & (bins["flip"] == "response")].set_index("bin")
    assert found["n"].tolist() == [20, 0, 40]
    assert found["n_flips"].tolist() == [1, 0, 30]
    assert found.loc["high", ["lower", "upper"]].tolist() == pytest.approx([0.75, 0.75])
    assert score(tables, "ratio_calibrated_thirds")["value"] == pytest.approx((30 / 40) / (1 / 20))
    # Two values: half of the ties: (1 + sensitivity - false alarms) / 2.
    assert score(tables, "auroc_calibrated")["value"] == pytest.approx((1 + 30 / 31 - 10 / 29) / 2)


def test_without_a_key_or_with_few_templates_there_is_no_calibrated_chance() -> None:
    rows = items(FLIPS, DOUBTS)
    for frame in (items_frame([row | {"correct": None} for row in rows]), items_frame(rows[:24])):
        tables = uncertainty_tables(frame, PAIR)
        for name in ("auroc_calibrated", "ratio_calibrated_thirds"):
            assert score(tables, name)["status"] == "fewer than 5 templates, or no key"
        bins = tables["uncertainty_bins"]
        assert set(bins.loc[bins["bins"] == "calibrated_thirds", "status"]) == {"fewer than 5 templates, or no key"}


def test_the_model_is_that_of_statsmodels_on_single_answers() -> None:
    rng = np.random.default_rng(1)
    doubts = rng.random((25, 30))
    rows = []
    for run, shift in (("b", 0.0), ("c", 1.5)):
        chance = 1 / (1 + np.exp(2 - 3 * doubts - shift))
        words = ["".join("f" if hit else "." for hit in row) for row in rng.random((25, 30)) < chance]
        rows += [
            row
            for row in items(words, [list(map(float, row)) for row in doubts], run)
            if row["run"] == run or run == "b"
        ]
    runs = run_table(
        {"run": "a"}, *({"run": r, "baseline": "a", "method": "rtn", "bits": b} for r, b in (("b", 4), ("c", 3)))
    )
    frame = items_frame(rows)
    table = uncertainty_model(frame, runs).set_index("term")
    both = frame[frame["run"] != "a"].merge(frame[frame["run"] == "a"], on="item_id", suffixes=("", "_a"))
    flip = (both["choice"] != both["choice_a"]).astype(float)
    design = pd.DataFrame(
        {"const": 1.0, "margin": 10 * both["margin_a"], "bits": np.where(both["run"] == "b", 12.0, 13.0)}
    )
    # statsmodels: GEE(flip, design, groups=template, family=Binomial()).fit(cov_type="bias_reduced"), independence.
    model = sm.GEE(flip, design.astype(float), groups=both["cluster"], family=sm.families.Binomial())
    fit = model.fit(cov_type="bias_reduced")
    assert table["estimate"].tolist() == pytest.approx(fit.params.tolist(), rel=1e-5)
    assert table["std_error"].tolist() == pytest.approx(fit.bse.tolist(), rel=1e-5)
    # Templates of one size tell nearly as much each: 25 - 3 terms.
    assert table["df"].tolist() == pytest.approx([22.0] * 3, abs=1)
    found = table.loc["margin"]
    assert found["p_value"] == pytest.approx(2 * t.sf(abs(found["statistic"]), found["df"]))
    assert table["n_clusters"].tolist() == [25] * 3
    assert table.loc["bits_less", "conf_low"] > 0


def test_models_that_can_not_be_fitted_say_why() -> None:
    frame = items_frame(items(["...."] * 8, [[0.1, 0.2, 0.3, 0.4]] * 8))
    assert uncertainty_model(frame, PAIR)["status"].tolist() == [
        "not fitted: 0 answers of the rarer kind, fewer than 10 a term"
    ]
    few = items_frame(items(["ff.."], [[0.1, 0.2, 0.3, 0.4]]))
    assert uncertainty_model(few, PAIR)["status"].tolist() == ["not fitted: 1 templates for 2 terms"]


@pytest.mark.parametrize("flips", [["f"], ["."], ["f", "f"], ["....", "...."]])
def test_degenerate_input_gives_named_rows(flips: list[str]) -> None:
    frame = items_frame(items(flips, [[0.5] * len(word) for word in flips]))
    for table in uncertainty_tables(frame, PAIR).values():
        assert len(table)
        assert not any(value != value for value in table.select_dtypes("Float64").to_numpy(na_value=0.0).ravel())


def test_answers_without_probabilities_are_named() -> None:
    rows = [{k: v for k, v in row.items() if k not in ("margin", "entropy")} for row in items(FLIPS, DOUBTS)]
    tables = uncertainty_tables(items_frame(rows), PAIR)
    assert set(tables["uncertainty_scores"]["status"]) == {"no item with probabilities and a pair"}
    assert set(tables["uncertainty_bins"]["status"]) == {"no item in this bin"}
    assert uncertainty_model(items_frame(rows), PAIR).empty


def test_no_run_to_compare_gives_empty_tables() -> None:
    frame, alone = items_frame(items(FLIPS, DOUBTS)), run_table({"run": "a"}, {"run": "b"})
    found = uncertainty_tables(frame, alone)
    for table in (UNCERTAINTY_BINS, UNCERTAINTY_SCORES, RISK_CURVE):
        assert list(found[table.name].columns) == table.names
        assert found[table.name].empty
    assert list(uncertainty_model(frame, alone).columns) == UNCERTAINTY_MODEL.names


@pytest.mark.parametrize(("split", "terms"), [(True, "const, margin"), (False, "method_wanda")])
def test_flips_that_a_term_splits_from_the_rest_are_named(split: bool, terms: str) -> None:
    # Complete: all items above a doubt of 1/2 flip and no other. In part: rtn flips by chance, wanda never, so the
    # likelihood grows for ever as wanda's coefficient falls.
    rng = np.random.default_rng(0)
    doubts = rng.random((25, 30))
    by_run = {"b": doubts > 0.5} if split else {run: rng.random((25, 30)) < doubts for run in ("b", "c")}
    by_run |= {} if split else {"d": np.zeros((25, 30)), "e": np.zeros((25, 30))}
    rows = []
    for run, flips in by_run.items():
        words = ["".join("f" if hit else "." for hit in row) for row in flips]
        made = items(words, [list(map(float, row)) for row in doubts], run)
        rows += [row for row in made if row["run"] == run or run == "b"]
    doses: list[dict[str, Any]] = [{"method": "rtn", "bits": 4}, {"method": "rtn", "bits": 3}]
    doses += [{"method": "wanda", "sparsity": 0.1}, {"method": "wanda", "sparsity": 0.3}]
    runs = run_table(
        {"run": "a"}, *({"run": run, "baseline": "a", **dose} for run, dose in zip(by_run, doses, strict=False))
    )
    found = uncertainty_model(items_frame(rows), runs)
    (status,) = found["status"]
    # The direction is not unique: wanda's sparsity may be in it too.
    assert status.startswith("not fitted: separation: flips are split from the rest along ")
    assert status.endswith(terms)
    assert found["estimate"].isna().all()


def test_runs_without_compression_are_not_in_the_model() -> None:
    rng = np.random.default_rng(0)
    doubts = rng.random((25, 30))
    words = ["".join("f" if hit else "." for hit in row) for row in rng.random((25, 30)) < doubts]
    rows = items(words, [list(map(float, row)) for row in doubts])
    alone = uncertainty_model(items_frame(rows), PAIR)
    rows += [row | {"run": "again"} for row in rows if row["run"] == "a"]
    again = run_table(
        {"run": "a"},
        {"run": "again", "baseline": "a"},
        {"run": "b", "baseline": "a", "method": "rtn", "bits": 4},
    )
    pd.testing.assert_frame_equal(uncertainty_model(items_frame(rows), again), alone)
    assert alone["status"].tolist() == ["ok", "ok"]

"""Changes by group: numbers by hand, shrinkage against metafor and statsmodels, joint intervals by property."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from statsmodels.stats.meta_analysis import combine_effects

from analysis.inference.shrinkage import shrink
from analysis.inference.simultaneous import _weights, null_extremes, ratios, simultaneous_quantiles
from analysis.settings import Settings
from analysis.tables.groups import GROUP_CHANGES, group_changes
from tests.helpers.answers import items_frame, read_tables, run_table, write_unifiedqa_logs
from tests.helpers.shared import shared_data

RUNS = run_table({"run": "dense"}, {"run": "q4", "baseline": "dense"})
S, A, U = "stereotype", "anti_stereotype", "unknown"


def _frame(rows: list[tuple[str, str, str | None, str | None]], groups: str = "old", options: str | None = None):
    """Rows of item, cluster, role at baseline, role after; one seed."""
    answers = []
    for item, cluster, before, after in rows:
        answers.append({"run": "dense", "item": item, "role": before, "cluster": cluster})
        answers.append({"run": "q4", "item": item, "role": after, "cluster": cluster})
    frame = items_frame(answers)
    return frame.assign(stereotyped_groups=groups, option_groups=options)


# Template t1: two items U to named, two stay U; template t2: one named to U, two stay named, one stays U.
EIGHT = [
    ("1", "t1", U, S),
    ("2", "t1", U, A),
    ("3", "t1", U, U),
    ("4", "t1", U, U),
    ("5", "t2", A, U),
    ("6", "t2", S, S),
    ("7", "t2", S, A),
    ("8", "t2", U, U),
]


def _row(table: pd.DataFrame, **keys: str) -> pd.Series:
    for name, value in keys.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_items_of_which_none_is_answered_have_no_changes() -> None:
    nobody = [(item, cluster, None, None) for item, cluster, *_ in EIGHT]
    assert len(group_changes(_frame(nobody, options="old || young || "), RUNS, min_items=1)) == 0


def test_counts_rates_and_interval_by_hand() -> None:
    row = _row(group_changes(_frame(EIGHT), RUNS, min_items=1), outcome="non_unknown")
    assert (row["n_items"], row["n"], row["n_clusters"]) == (8, 8, 2)
    assert (row["n_unbiased_to_biased"], row["n_biased_to_unbiased"]) == (2, 1)
    assert row["unbiased_to_biased_rate"] == pytest.approx(2 / 5)
    assert row["biased_to_unbiased_rate"] == pytest.approx(1 / 3)
    assert row["flip_rate"] == pytest.approx(3 / 8)
    # 100 (2 - 1) / 8; residuals 200 - 12.5 x 4 = 150 and -100 - 12.5 x 4 = -150, so the variance is
    # 2 / 1 x (150^2 + 150^2) / 8^2 = 37.5^2. Student's t with one degree of freedom: 12.7 x 37.5 > 100.
    assert row["net_shift_points"] == pytest.approx(12.5)
    assert row["std_error"] == pytest.approx(37.5)
    assert (row["conf_low"], row["conf_high"]) == (-100, 100)
    assert row["status"] == "ok"
    assert row["family_size"] == 1
    # One group has nothing to be drawn towards.
    assert pd.isna(row["shrunken"])


def test_the_outcome_says_what_counts_as_biased() -> None:
    # Stereotype: item 1 gains, item 7 loses, items 2 and 5 never name the stereotype.
    row = _row(group_changes(_frame(EIGHT), RUNS, min_items=1), outcome="stereotype")
    assert (row["n_unbiased_to_biased"], row["n_biased_to_unbiased"]) == (1, 1)
    assert row["net_shift_points"] == 0
    assert row["n_biased_baseline"] == 2


def test_an_item_of_several_groups_counts_in_each_and_the_metadata_alone_decides() -> None:
    # The benchmark's code keeps one group an item: the first, where it does not find the name in the text.
    table = group_changes(_frame(EIGHT, groups="Eritrean | Afghan"), RUNS, min_items=1)
    assert set(table["group"]) == {"Eritrean", "Afghan"}
    assert table.loc[table["outcome"] == "non_unknown", "n"].tolist() == [8, 8]
    assert set(table["weighting"]) == {"each group counts the item fully"}


def test_option_groups_follow_the_chosen_option() -> None:
    # Options in the order stereotype, anti-stereotype, unknown: old is named by S, nonOld by A.
    table = group_changes(_frame(EIGHT, options="old || nonOld | rich || "), RUNS, min_items=1)
    option = table[table["kind"] == "option"].set_index("group")
    assert list(option.index) == ["nonOld", "old", "rich"]
    # old: item 1 gains, 7 loses. nonOld: items 2 and 7 gain, 5 loses.
    assert option.loc["old", ["n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [1, 1]
    assert option.loc["nonOld", ["n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [2, 1]
    assert option.loc["rich", "net_shift_points"] == option.loc["nonOld", "net_shift_points"] == pytest.approx(12.5)


def test_a_group_of_both_options_is_named_whichever_person_is() -> None:
    table = group_changes(_frame(EIGHT, options="old | F || nonOld | F || "), RUNS, min_items=1)
    woman = _row(table, kind="option", group="F")
    assert (woman["n_unbiased_to_biased"], woman["n_biased_to_unbiased"]) == (2, 1)


def test_small_groups_are_listed_outside_the_family() -> None:
    table = group_changes(_frame(EIGHT), RUNS)
    assert set(table["status"]) == {"fewer than 50 items"}
    assert set(table["family_size"]) == {0}
    assert table[["std_error", "conf_low", "simultaneous_low", "null_extreme_mean"]].isna().all(axis=None)
    assert table["net_shift_points"].notna().all()


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_by_hand(level: float) -> None:
    # Five templates of 8, 8, 8, 8 and 4 items gain 1, 2, 0, 1 and 1; another, of two groups, loses 1 of 6.
    sizes, gains = (8, 8, 8, 8, 4, 6), (1, 2, 0, 1, 1, -1)
    rows = []
    for template, (size, gain) in enumerate(zip(sizes, gains, strict=True)):
        for item in range(size):
            moved = (U, S) if item < gain else (S, U) if item < -gain else (U, U)
            rows.append((f"{template}-{item}", f"t{template}", *moved))
    frame = _frame(rows)
    frame = frame.assign(stereotyped_groups=["old | poor" if "5-" in name else "old" for name in frame["item_id"]])
    found = group_changes(frame, RUNS, Settings(level=level), min_items=1, resamples=200)
    row = _row(found, outcome="non_unknown", group="old")
    # Shift 4 of 42; the templates' residuals gain - 4/42 size; E = 42^2 / (4 x 64 + 16 + 36).
    residuals = np.array(gains) - 4 / 42 * np.array(sizes)
    effective = 42**2 / 308
    error = 100 * (effective / (effective - 1) * np.sum(residuals**2)) ** 0.5 / 42
    assert row["net_shift_points"] == pytest.approx(400 / 42)
    assert (row["std_error"], row["df"]) == (pytest.approx(error), pytest.approx(effective - 1))
    reach = t.isf((1 - level) / 2, effective - 1) * error
    assert row[["conf_low", "conf_high"]].tolist() == pytest.approx([400 / 42 - reach, 400 / 42 + reach])
    # A family of one group is not corrected, and has nothing to be drawn towards.
    assert row["family_size"] == 1
    assert row[["simultaneous_low", "simultaneous_high"]].tolist() == pytest.approx(
        [400 / 42 - reach, 400 / 42 + reach]
    )
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    extremes = 100 * np.abs(np.array(gains) @ signs) / 42
    assert row["null_extreme_mean"] == pytest.approx(extremes.mean(), abs=4 * extremes.std() / 200**0.5)


def test_an_answer_whose_role_is_not_settled_is_no_pair() -> None:
    # Unknown before, undetermined after: neither a change nor a pair, whatever its place among the states.
    frame = _frame([*EIGHT, ("9", "t1", U, "undetermined"), ("10", "t2", "undetermined", S)])
    row = _row(group_changes(frame.assign(determined=True), RUNS, min_items=1), outcome="non_unknown")
    assert row[["n_items", "n", "n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [8, 8, 2, 1]
    assert row["n_biased_baseline"] == 3


@pytest.mark.parametrize(("number", "status"), [(49, "fewer than 50 items"), (50, "ok"), (51, "ok")])
def test_fifty_items_are_enough(number: int, status: str) -> None:
    rows = [(f"{i:02d}", f"t{i % 5}", U, S if i % 3 == 0 else U) for i in range(number)]
    row = _row(group_changes(_frame(rows), RUNS), outcome="non_unknown")
    assert (row["n_items"], row["status"], row["family_size"]) == (number, status, int(status == "ok"))
    assert pd.notna(row["std_error"]) == (status == "ok")


@pytest.mark.parametrize("answered", [49, 50])
def test_items_without_a_pair_of_answers_are_none_of_the_fifty(answered: int) -> None:
    rows = [(f"{i:02d}", f"t{i % 5}", U, (S if i % 3 == 0 else U) if i < answered else None) for i in range(52)]
    row = _row(group_changes(_frame(rows), RUNS), outcome="non_unknown")
    assert (row["n_items"], row["status"] == "ok") == (answered, answered == 50)


def test_items_whose_roles_are_not_known_are_no_ones_stereotype() -> None:
    # Item 9 answers stereotype and then unknown, and item 10 the reverse, but their roles are not settled.
    frame = _frame([*EIGHT, ("9", "t1", S, U), ("10", "t2", U, A)], options="old || nonOld || ")
    untold = frame["item_id"].isin(["9", "10"])
    table = group_changes(frame.assign(determined=~untold), RUNS, min_items=1)
    stereotyped = _row(table, outcome="non_unknown")
    assert stereotyped[["n_items", "n", "n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [8, 8, 2, 1]
    assert stereotyped["net_shift_points"] == pytest.approx(100 / 8)
    # An option names its group whatever its role is: item 9 takes "old" no more, item 10 takes "nonOld" now.
    old, other = (_row(table, kind="option", group=name) for name in ("old", "nonOld"))
    assert old[["n_items", "n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [10, 1, 2]
    assert other[["n_items", "n_unbiased_to_biased", "n_biased_to_unbiased"]].tolist() == [10, 3, 1]
    assert group_changes(frame.assign(determined=False, option_groups=None), RUNS, min_items=1).empty


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([("1", "t", U, S), ("2", "t", U, U)], "one template: no interval"),
        ([("1", "t", U, U), ("2", "s", S, S)], "no answer changed: no interval"),
        ([("1", "t", U, S), ("2", "s", U, S)], "templates do not differ: no interval"),
        # One of three in each: the residuals are rounding, which is no spread either.
        (
            [(f"{c}{i}", c, U, S if i == 0 else U) for c in "tsr" for i in range(3)],
            "templates do not differ: no interval",
        ),
        ([("1", "t", None, S), ("2", "s", U, None)], None),
    ],
)
def test_degenerate_groups_are_named(rows, status: str | None) -> None:
    table = group_changes(_frame(rows), RUNS, min_items=1)
    if status is None:
        # No pair of answers at all: no family, no row.
        assert table.empty
        return
    row = _row(table, outcome="non_unknown")
    assert row["status"] == status
    assert pd.isna(row["conf_low"])


def test_without_metadata_or_baseline_there_are_no_rows() -> None:
    frame = _frame(EIGHT)
    assert group_changes(frame.assign(stereotyped_groups=None), RUNS).empty
    alone = frame[frame["run"] == "dense"]
    assert list(group_changes(alone, run_table({"run": "dense"})).columns) == GROUP_CHANGES.names


def _many(rng: np.random.Generator) -> pd.DataFrame:
    """Six groups of 60 items in 12 templates, changed at random."""
    rows = []
    for number in range(360):
        before, after = rng.choice([S, A, U], size=2)
        rows.append((f"{number:03d}", f"t{number % 6}-{number % 12}", before, after))
    frame = _frame(rows)
    group = frame["item_id"].astype(int) % 6
    return frame.assign(stereotyped_groups=[f"g{i}" if i else "g0 | all" for i in group])


def test_intervals_nest_and_row_order_does_not_matter() -> None:
    frame = _many(np.random.default_rng(3))
    table = group_changes(frame, RUNS, resamples=500)
    known = table[table["status"] == "ok"]
    assert len(known) >= 10
    assert (known["simultaneous_low"] <= known["conf_low"] + 1e-9).all()
    assert (known["simultaneous_high"] >= known["conf_high"] - 1e-9).all()
    assert (known["null_extreme_quantile"] >= known["null_extreme_mean"]).all()
    shuffled = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(table, group_changes(shuffled, RUNS, resamples=500))


# metafor::dat.bcg: vaccinated and control with and without tuberculosis, 13 trials.
BCG = np.array(
    [
        *[(4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761)],
        *[(180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232)],
        *[(17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825)],
    ],
    dtype=float,
)


def test_tau_is_that_of_metafor_and_statsmodels() -> None:
    tpos, tneg, cpos, cneg = BCG.T
    effect = np.log(tpos / (tpos + tneg)) - np.log(cpos / (cpos + cneg))
    variance = 1 / tpos - 1 / (tpos + tneg) + 1 / cpos - 1 / (cpos + cneg)
    out = shrink(effect, np.diag(variance), 1 / variance, df=1e9)
    assert out is not None
    # R: dat <- escalc("RR", ai=tpos, bi=tneg, ci=cpos, di=cneg, data=dat.bcg); rma(yi, vi, data=dat, method="DL")
    # tau^2 (estimated amount of total heterogeneity): 0.3088
    assert out.tau**2 == pytest.approx(0.3088, abs=5e-5)
    assert out.tau**2 == pytest.approx(combine_effects(effect, variance, method_re="dl").tau2)
    assert np.ptp(out.mean) < np.ptp(effect)


def test_shrinkage_by_hand() -> None:
    # Variances 1, values -3, -1, 1, 3: the mean is 0, Q = 20, tau^2 = (20 - 3) / (4 - 1) = 17/3,
    # B = 1/3 x 3/20 = 1/20, the posterior mean 19/20 y. Its variance: 19/20 + B^2 x (1 + 17/3) / 4
    # + 2 / (4 - 3) x B^2 y^2 = 0.95 + 1/240 + y^2 / 200.
    y = np.array([-3.0, -1.0, 1.0, 3.0])
    out = shrink(y, np.eye(4), np.ones(4), df=7)
    assert out is not None
    assert out.tau == pytest.approx((17 / 3) ** 0.5)
    np.testing.assert_allclose(out.mean, 0.95 * y, atol=1e-12)
    np.testing.assert_allclose(out.high - out.mean, t.isf(0.025, 7) * np.sqrt(0.95 + 1 / 240 + y**2 / 200))


def test_shared_data_is_not_read_as_agreement() -> None:
    # Four estimates with correlation c differ by noise of variance 1 - c alone, so tau^2 grows by c.
    y = np.array([-3.0, -1.0, 1.0, 3.0])
    out = shrink(y, 0.4 + 0.6 * np.eye(4), np.ones(4), df=7)
    assert out is not None
    assert out.tau**2 == pytest.approx(17 / 3 + 0.4)


def test_estimates_that_differ_by_noise_alone_are_drawn_as_far_as_it_goes() -> None:
    y = np.array([1.0, 1.1, 0.9, 1.0])
    out = shrink(y, np.eye(4), np.ones(4), df=9)
    assert out is not None
    assert out.tau == 0
    # (k - 3) / (k - 1) = 1/3 of the way.
    np.testing.assert_allclose(out.mean, 1 + 2 / 3 * (y - 1))
    assert shrink(np.ones(3), np.eye(3), np.ones(3), df=9) is None
    with pytest.raises(ValueError, match="positive"):
        shrink(np.ones(4), np.zeros((4, 4)), np.ones(4), df=9)
    with pytest.raises(ValueError, match="positive"):
        shrink(np.ones(4), np.eye(4), np.array([1.0, 1, 1, 0]), df=9)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_shrunken_intervals_cover_on_the_whole(tau: float) -> None:
    rng = np.random.default_rng(8)
    inside = []
    for _ in range(400):
        truth = rng.normal(1, tau, 12)
        out = shrink(truth + rng.normal(size=12), np.eye(12), np.ones(12), df=1e9)
        assert out is not None
        inside.append(np.mean((out.low <= truth) & (truth <= out.high)))
    # 4,800 intervals, those of a family not independent: standard error at most 0.01.
    assert np.mean(inside) >= 0.93


def test_each_estimate_has_its_own_degrees_of_freedom() -> None:
    y, df = np.array([-3.0, -1.0, 1.0, 3.0]), np.array([2.0, 4.5, 9.0, 30.0])
    out = shrink(y, np.eye(4), np.ones(4), df=df)
    assert out is not None
    # The variance of `test_shrinkage_by_hand`, Student's quantile of each (scipy.stats.t.isf).
    np.testing.assert_allclose(out.high - out.mean, t.isf(0.025, df) * np.sqrt(0.95 + 1 / 240 + y**2 / 200))


def test_shrunken_intervals_cover_in_groups_of_few_templates() -> None:
    # Ten groups of three templates and two of forty, whose true values differ more than a template does: with the
    # degrees of freedom of all 110 templates the small groups' intervals cover 0.83.
    rng, inside = np.random.default_rng(9), []
    counts = [3] * 10 + [40] * 2
    home = np.repeat(np.arange(12), counts)
    n = np.eye(12)[home] * 24
    for _ in range(300):
        truth = rng.normal(0, 10, 12)
        found = ratios(n * (truth + rng.normal(0, 8, (110, 1))), n)
        out = shrink(found.ratio, found.covariance, found.effective, found.effective - 1)
        assert out is not None
        inside.append(((out.low <= truth) & (truth <= out.high))[:10].mean())
    # 3,000 intervals: standard error 0.004.
    assert 0.93 <= np.mean(inside) <= 0.98


def test_a_family_passes_each_groups_degrees_of_freedom() -> None:
    table = group_changes(_uneven(), RUNS, resamples=200)
    known = table[(table["kind"] == "stereotyped") & (table["outcome"] == "stereotype") & (table["status"] == "ok")]
    assert known["df"].nunique() == len(known) == 5
    # Drawn together, each interval is at least as wide as Student's quantile of its own templates makes the variance
    # that shrinkage leaves: (1 - B) s^2 with B at most (k - 3) / (k - 1) = 1/2.
    half = (known["shrunken_high"] - known["shrunken_low"]) / 2
    least = t.isf(0.025, known["df"].astype(float)) * known["std_error"].astype(float) * np.sqrt(0.5)
    assert (half.astype(float) >= least - 1e-9).all()


def test_a_group_of_which_one_template_has_most_pairs_is_not_in_the_family() -> None:
    rng = np.random.default_rng(4)
    rows = [(f"{i:03d}", "big" if i < 90 else f"t{i % 5}", *rng.choice([S, A, U], size=2)) for i in range(100)]
    row = _row(group_changes(_frame(rows), RUNS, resamples=99), kind="stereotyped", outcome="stereotype")
    # Kish: 100^2 / (90^2 + 5 x 2^2) = 1.2 templates.
    assert row["status"] == "one template has most of its pairs: no interval"
    assert pd.isna(row["conf_low"])
    assert pd.isna(row["std_error"])


def _uneven() -> pd.DataFrame:
    """Five groups of 60 items each in 3, 5, 8, 12 and 20 templates, changed at random."""
    rng, rows, groups = np.random.default_rng(6), [], []
    for group, templates in enumerate((3, 5, 8, 12, 20)):
        for number in range(60):
            rows.append((f"{group}-{number:02d}", f"g{group}-{number % templates}", *rng.choice([S, A, U], size=2)))
            groups += [f"g{group}"] * 2
    return _frame(rows).assign(stereotyped_groups=groups)


def test_ratio_of_equal_clusters_has_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    out = ratios(values, np.ones((30, 2)))
    np.testing.assert_allclose(out.ratio, values.mean(axis=0))
    np.testing.assert_allclose(out.covariance, np.cov(values.T) / 30)
    assert (out.clusters == 30).all()
    np.testing.assert_allclose(out.effective, 30)


def test_effective_clusters_by_hand() -> None:
    # Sizes 1, 1, 2: (1 + 1 + 2)^2 / (1 + 1 + 4) = 16/6.
    assert ratios(np.ones((3, 1)), np.array([[1.0], [1.0], [2.0]])).effective[0] == pytest.approx(16 / 6)


def test_errors_of_unequal_clusters_by_hand() -> None:
    # Nets 1, 0, 0 of 1, 1, 2: ratio 1/4, residuals 3/4, -1/4, -1/2, their squares 7/8 in all. E = 8/3 and
    # E / (E - 1) = 8/5: the variance is 8/5 x 7/8 / 4^2.
    out = ratios(np.array([[1.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [2.0]]))
    assert out.ratio[0] == 1 / 4
    assert out.std_error[0] == pytest.approx((7 / 5) ** 0.5 / 4)
    # A cluster without the group's items is none: it neither adds to the error nor to the clusters.
    more = ratios(np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [2.0], [0.0]]))
    assert (more.std_error[0], more.clusters[0], more.effective[0]) == (out.std_error[0], 3, out.effective[0])
    # Two groups, the second without the third cluster: ratios 1/4 and 1/2, residuals 3/4, -1/4, -1/2 and 1/2, -1/2.
    both = ratios(np.array([[1.0, 1.0], [0, 0], [0, 0]]), np.array([[1.0, 1.0], [1, 1], [2, 0]]))
    # E = 2 and E / (E - 1) = 2 for the second: covariance sqrt(8/5 x 2) (3/8 + 1/8) / (4 x 2).
    assert both.covariance[0, 1] == pytest.approx((16 / 5) ** 0.5 / 16)
    assert both.std_error[1] == pytest.approx(1 / 2)


def _smallest_level(net: np.ndarray, n: np.ndarray, block: np.ndarray, level: float, draws: int) -> float:
    """The level at which each group's interval is made, one draw and one group at a time."""
    weight = _weights(tuple(block.tolist()), draws, 3)
    away = np.empty((draws, net.shape[1]))
    for draw in range(draws):
        for group in range(net.shape[1]):
            shown, of = weight[draw] @ net[:, group], weight[draw] @ n[:, group]
            away[draw, group] = abs(shown / of - net[:, group].sum() / n[:, group].sum()) if of else 0.0
    smallest = []
    for draw in range(draws):
        shares = []
        for group in range(net.shape[1]):
            # This draw, those that are farther, and those as far that come after it.
            further = [d for d in range(draws) if (away[d, group], d) >= (away[draw, group], draw)]
            shares.append(len(further) / draws)
        smallest.append(min(shares))
    held = [p for p in smallest if sum(other <= p for other in smallest) <= (1 - level) * draws + 1e-12]
    return max([(1 - level) / net.shape[1], *held])


@pytest.mark.parametrize(("groups", "level", "draws"), [(1, 0.9, 40), (3, 0.75, 60), (4, 0.9, 100), (2, 0.95, 80)])
def test_joint_multiplier_is_brute_force(groups: int, level: float, draws: int) -> None:
    rng = np.random.default_rng(groups)
    block = np.repeat([0, 1], [7, 5])
    n = rng.integers(0, 6, (12, groups)).astype(float) + np.array([1.0, 0.5])[block][:, None]
    net = rng.integers(-3, 4, (12, groups)).astype(float)
    each = min(_smallest_level(net, n, block, level, draws), 1 - level)
    df = n.sum(axis=0) ** 2 / (n**2).sum(axis=0) - 1
    found = simultaneous_quantiles(net, n, block, level=level, resamples=draws, seed=3)
    np.testing.assert_allclose(found, t.isf(each / 2, df), rtol=1e-12)


def test_joint_multiplier_of_copies_is_exactly_the_single_one() -> None:
    # Copies have one rank in every draw, so that one of ten draws is at or below a tenth: nothing is paid for them.
    net = np.repeat(np.random.default_rng(1).normal(size=(9, 1)), 4, axis=1)
    found = simultaneous_quantiles(net, np.ones((9, 4)), np.zeros(9, int), level=0.9, resamples=100, seed=1)
    np.testing.assert_allclose(found, t.isf(0.05, 8), rtol=1e-12)


def test_joint_multiplier_is_sidaks_for_independent_groups_and_the_single_one_for_copies() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(2000, 10))
    independent = np.zeros((2000, 10))
    n = np.zeros((2000, 10))
    block = np.repeat(np.arange(10), 200)
    independent[np.arange(2000), block] = values[:, 0]
    n[np.arange(2000), block] = 1
    multiplier = simultaneous_quantiles(independent, n, block, level=0.95, resamples=4000, seed=1)
    # Sidak: each of ten at 0.95^(1/10); t with 199 degrees of freedom is within 0.04 of the normal there. The
    # quantile of 4,000 draws has a standard error of 0.025.
    assert multiplier == pytest.approx(norm.isf((1 - 0.95**0.1) / 2), abs=0.12)
    copies = np.repeat(values[:200, :1], 10, axis=1)
    multiplier = simultaneous_quantiles(
        copies, np.ones((200, 10)), np.zeros(200, int), level=0.95, resamples=4000, seed=1
    )
    assert multiplier == pytest.approx(1.97, abs=0.12)


def test_null_extreme_by_enumeration() -> None:
    # Two templates with net change 1 of one unit each: both signs alike (|2| / 2 = 1) in half of the patterns.
    drawn = null_extremes(np.ones((2, 1)), np.ones((2, 1)), flips=4000, seed=0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(0.5, abs=0.04)  # five standard errors of 4,000 fair draws


def test_every_group_of_the_published_metadata_is_counted(tmp_path: Path) -> None:
    # BBQ lists up to twelve nationalities an item; the benchmark's code keeps one of them.
    source = shared_data("unifiedqa", "preds_Nationality.jsonl.gz")
    targets = shared_data("bbq", "target_label.csv.gz")
    write_unifiedqa_logs(source.parent, ["Nationality"], targets, tmp_path / "runs")
    items, runs, _ = read_tables(tmp_path / "runs", tmp_path / "items.parquet")
    with gzip.open(source, "rt") as stream:
        raw = pd.DataFrame([json.loads(line) for line in stream])
    raw["item_id"] = "bbq/Nationality/" + raw["example_id"].astype(str)
    raw["groups"] = [meta["stereotyped_groups"] for meta in raw["additional_metadata"]]
    joined = items.drop(columns=["cluster", "stereotyped_groups"]).merge(
        pd.DataFrame(
            {
                "item_id": raw["item_id"],
                "cluster": raw["question_index"],
                "stereotyped_groups": raw["groups"].str.join(" | "),
            }
        ),
        on="item_id",
    )
    table = group_changes(joined, runs, resamples=200)
    table = table[(table["run"] == "arc") & (table["outcome"] == "non_unknown") & (table["condition"] == "ambig")]
    ambiguous = raw[raw["context_condition"] == "ambig"].explode("groups")
    expected = ambiguous.groupby("groups")["item_id"].nunique()
    assert len(expected) > 25
    assert table.set_index("group")["n_items"].to_dict() == expected.to_dict()
    # Net shift of one group, from the roles of its items: unknown is the key of every ambiguous item.
    kenyan = set(ambiguous.loc[ambiguous["groups"] == "Kenyan", "item_id"])
    share = items[items["item_id"].isin(kenyan)].groupby("run")["correct"].mean()
    row = _row(table, group="Kenyan")
    assert row["net_shift_points"] == pytest.approx(100 * (share["dense"] - share["arc"]))

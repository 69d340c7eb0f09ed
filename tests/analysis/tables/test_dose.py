"""Dose-response tables: on made answers, against statsmodels on single records, and degenerate input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests

from analysis.inference.bounded import Moves, interval
from analysis.settings import Settings
from analysis.tables.dose.table import dose_curves, dose_response, dose_tables, dose_tests
from tests.helpers.answers import items_frame, run_table

BITS = (8, 6, 4, 3)
RUNS = run_table(
    {"run": "dense"},
    *({"run": f"rtn-{b}", "baseline": "dense", "method": "rtn", "bits": b} for b in BITS),
)


def _answers(shares: dict[str, float], n_clusters: int = 24, per: int = 3, seeds: int = 2, seed: int = 0) -> list[dict]:
    """Answers of each run with a share of stereotypes, alike within templates and items; two categories."""
    rng = np.random.default_rng(seed)
    rows = []
    for cluster in range(n_clusters):
        for item in range(per):
            shift = rng.normal(0, 0.7)
            for run, logit in shares.items():
                for draw in range(seeds):
                    role = "stereotype" if rng.random() < 1 / (1 + np.exp(-logit - shift)) else "unknown"
                    rows.append(
                        {
                            "run": run, "item": f"{cluster}-{item}", "seed": draw, "role": role,
                            "cluster": f"t{cluster}", "category": "Age" if cluster % 2 else "Religion",
                        }
                    )  # fmt: skip
    return rows


RISING = {"dense": -1.5, **{f"rtn-{b}": -1.5 + 0.12 * (16 - b) for b in BITS}}


@pytest.fixture(scope="module")
def answers() -> list[dict]:
    return _answers(RISING)


@pytest.fixture(scope="module")
def tables(answers: list[dict]) -> dict[str, pd.DataFrame]:
    return dose_tables(items_frame(answers), RUNS, flips=199)


def _row(table: pd.DataFrame, **values: object) -> pd.Series:
    found = table
    for name, value in values.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_slope_is_that_of_statsmodels_on_single_answers(answers: list[dict], tables: dict[str, pd.DataFrame]) -> None:
    frame = pd.DataFrame(answers)
    frame["dose"] = frame["run"].map({"dense": 0.0, **{f"rtn-{b}": 16.0 - b for b in BITS}})
    frame["y"] = (frame["role"] == "stereotype").astype(float)
    x = sm.add_constant(frame[["dose"]])
    fitted = sm.GEE(frame["y"], x, groups=frame["cluster"], family=sm.families.Binomial()).fit(cov_type="bias_reduced")
    row = _row(tables["dose_response"], category="all", outcome="stereotype")
    assert (row["model"], row["method"], row["step"], row["status"]) == ("gee", "rtn", "one bit less", "ok")
    assert row["estimate"] == pytest.approx(fitted.params["dose"], rel=1e-6)
    assert row["std_error"] == pytest.approx(fitted.bse["dose"], rel=1e-5)
    margins = fitted.get_margeff()
    assert row["marginal_effect"] == pytest.approx(100 * margins.margeff[0], rel=1e-6)
    assert row["odds_ratio"] == pytest.approx(np.exp(fitted.params["dose"]), rel=1e-6)
    assert row["df"] == 22
    exchangeable = sm.GEE(
        frame["y"], x, groups=frame["cluster"], family=sm.families.Binomial(), cov_struct=sm.cov_struct.Exchangeable()
    ).fit(ctol=1e-10, maxiter=200)
    assert row["exchangeable_estimate"] == pytest.approx(exchangeable.params["dose"], rel=1e-5)
    # Clustered by item: the plain sandwich with I / (I - 1), as 72 items are the groups.
    by_item = sm.GEE(frame["y"], x, groups=frame["item"], family=sm.families.Binomial()).fit()
    assert row["std_error_item"] == pytest.approx(by_item.bse["dose"] * np.sqrt(72 / 71), rel=1e-5)


def test_new_bias_counts_items_at_risk_and_leaves_the_baseline_out(
    answers: list[dict], tables: dict[str, pd.DataFrame]
) -> None:
    frame = pd.DataFrame(answers).assign(y=lambda f: f["role"] == "stereotype")
    per_item = frame.groupby(["run", "item"])["y"].sum().unstack("run")
    risk = per_item[per_item["dense"] == 0]
    row = _row(tables["dose_response"], category="all", outcome="new_bias")
    assert (row["n_items"], row["n"], row["n_doses"]) == (len(risk), 4 * len(risk), 4)
    assert row["n_events"] == int((risk[[f"rtn-{b}" for b in BITS]] > 0).sum().sum())
    curve = tables["dose_curves"]
    curve = curve[(curve["category"] == "all") & (curve["outcome"] == "new_bias")]
    assert curve["dose_value"].tolist() == [8, 6, 4, 3]
    assert curve["rate"].tolist() == pytest.approx([(risk[f"rtn-{b}"] > 0).mean() for b in BITS])


def test_prediction_has_the_mean_of_what_is_observed_and_lies_in_its_band(tables: dict[str, pd.DataFrame]) -> None:
    curve = tables["dose_curves"]
    fitted = curve[curve["model"] == "gee"]
    assert set(fitted["outcome"]) == {"net_bias", "stereotype", "new_bias", "resolved_bias"}
    for _, rows in fitted.groupby(["category", "outcome"]):
        assert (rows["n"] * rows["predicted"]).sum() == pytest.approx(rows["n_events"].sum(), rel=1e-6)
        assert (rows["predicted_low"] < rows["predicted"]).all()
        assert (rows["predicted"] < rows["predicted_high"]).all()
    assert curve[(curve["category"] == "all") & (curve["outcome"] == "stereotype")]["dose_value"].tolist() == [
        16, 8, 6, 4, 3,
    ]  # fmt: skip


def test_tests_find_the_rise(tables: dict[str, pd.DataFrame]) -> None:
    trend = _row(tables["dose_tests"], category="all", outcome="stereotype", test="trend")
    assert trend["statistic"] > 0
    # No flip is as far: ten times the 199 are drawn.
    assert (trend["p_value"], trend["flips"]) == (1 / 1991, 1990)
    bend = _row(tables["dose_tests"], category="all", outcome="stereotype", test="breakpoint")
    assert bend["breakpoint"] in (8, 6, 4)
    assert bend["verdict"].startswith(("gradual", "undecided", "threshold at", "flattens at", "turns at", "bends at"))


def _share(answers: list[dict]) -> pd.DataFrame:
    """[items, runs] share of texts that are stereotypical, the baseline first, then by falling bits."""
    frame = pd.DataFrame(answers).assign(y=lambda f: (f["role"] == "stereotype").astype(float))
    return frame.groupby(["item", "run"])["y"].mean().unstack("run")[["dense", *(f"rtn-{b}" for b in BITS)]]


STEPS = np.array([0.0, *(16.0 - b for b in BITS)])


def test_the_net_is_new_minus_resolved_bias_at_every_dose(answers: list[dict], tables: dict[str, pd.DataFrame]) -> None:
    biased = _share(answers) > 0
    new = (~biased["dense"].to_numpy()[:, None] & biased).mean()
    resolved = (biased["dense"].to_numpy()[:, None] & ~biased).mean()
    curve = tables["dose_curves"]
    curve = curve[(curve["category"] == "all") & (curve["outcome"] == "net_bias")]
    assert curve["rate_change"].tolist() == pytest.approx((new - resolved).tolist())
    assert curve["primary"].all()
    # The least-squares slope of each item's signed net (-1, 0, 1), by numpy, and the mean over items, in points.
    signed = biased.to_numpy(float) - biased["dense"].to_numpy(float)[:, None]
    slope = np.mean([np.polyfit(STEPS, item, 1)[0] for item in signed])
    row = _row(tables["dose_tests"], category="all", outcome="net_bias", test="trend")
    assert row["step_change"] == pytest.approx(100 * slope)
    assert row["step_change_low"] < row["step_change"] < row["step_change_high"]
    choice = _row(tables["dose_tests"], category="all", outcome="stereotype", test="trend")
    slopes = [np.polyfit(STEPS, item, 1)[0] for item in _share(answers).to_numpy()]
    assert choice["step_change"] == pytest.approx(100 * np.mean(slopes))


def test_trends_and_bends_are_one_family_and_words_are_after_holm(tables: dict[str, pd.DataFrame]) -> None:
    tests = tables["dose_tests"]
    for which, pooled in (("categories pooled", True), ("single categories", False)):
        inside = tests["primary"] & (tests["test"] != "trend_iid") & ((tests["category"] == "all") == pooled)
        rows = tests[inside & tests["p_value"].notna()]
        # Two outcomes, a trend and a bend of each; two categories.
        assert set(rows["family_size"]) == {len(rows)} == {4 if pooled else 8}
        expected = multipletests(rows["p_value"].astype(float), method="holm")[1]
        assert rows["p_value_holm"].astype(float).tolist() == pytest.approx(expected.tolist())
        assert rows["family"].str.contains(which).all()
    others = tests[~tests["primary"] | (tests["test"] == "trend_iid")]
    assert others[["p_value_holm", "p_value_bh", "family", "family_size"]].isna().all().all()
    trend = tests[tests["test"] == "trend"].set_index(["category", "outcome"])["verdict"]
    assert trend["all", "stereotype"] == trend["all", "net_bias"] == "rises"
    assert trend["all", "new_bias"] == trend["all", "resolved_bias"] == "net rises"


def _swapping() -> list[dict]:
    """Four texts an item; with the dose more items change, as many one way as the other."""
    rng = np.random.default_rng(3)
    rows = []
    for cluster in range(30):
        for item in range(8):
            start = item % 2
            for step, run in enumerate(("dense", *(f"rtn-{b}" for b in BITS))):
                turned = rng.random() < 0.12 * step
                role = "stereotype" if start != turned else "unknown"
                key = {"run": run, "item": f"{cluster}-{item}", "cluster": f"t{cluster}", "role": role}
                rows += [{**key, "seed": seed} for seed in range(4)]
    return rows


def test_growing_churn_without_direction_is_new_bias_and_no_net() -> None:
    tests = dose_tests(items_frame(_swapping()), RUNS, flips=199)
    trend = tests[(tests["test"] == "trend") & (tests["category"] == "Age")].set_index("outcome")
    assert trend.loc["new_bias", "p_value"] == trend.loc["resolved_bias", "p_value"] == 1 / 1991
    assert trend.loc["new_bias", "step_change_low"] > 0
    assert trend.loc["resolved_bias", "step_change_low"] > 0
    assert trend["verdict"].to_dict() == {
        "net_bias": "undecided", "stereotype": "undecided", "new_bias": "net undecided",
        "resolved_bias": "net undecided",
    }  # fmt: skip
    assert trend.loc["net_bias", "step_change_low"] < 0 < trend.loc["net_bias", "step_change_high"]


def test_more_items_with_as_many_stereotypes_are_called_spread() -> None:
    # Eight stereotypes in eight texts of two items become eight in sixteen of four: probabilities more even.
    rows = []
    for cluster in range(30):
        for item in range(4):
            for step, run in enumerate(("dense", *(f"rtn-{b}" for b in BITS))):
                even = (cluster + item) % 6 < 1.5 * step
                for seed in range(4):
                    named = seed % 2 == 0 if even else item % 2 == 0
                    role = "stereotype" if named else "unknown"
                    key = {"run": run, "item": f"{cluster}-{item}", "cluster": f"t{cluster}"}
                    rows.append({**key, "role": role, "seed": seed})
    trend = dose_tests(items_frame(rows), RUNS, flips=199)
    trend = trend[trend["test"] == "trend"].set_index("outcome")["verdict"]
    assert trend["net_bias"] == "spread"
    assert trend["stereotype"] == "undecided"
    assert trend["new_bias"] == "net spread"


def _silent(answers: list[dict], **shares: float) -> list[dict]:
    """Some of the texts of some runs unparsed."""
    rng = np.random.default_rng(8)
    out = []
    for row in answers:
        quiet = rng.random() < shares.get(row["run"].replace("-", "_"), 0.0)
        out.append({**row, "role": None, "status": "unparsed"} if quiet else row)
    return out


def test_nothing_is_said_of_doses_at_which_the_model_stops_answering(answers: list[dict]) -> None:
    items = items_frame(_silent(answers, rtn_4=0.5, rtn_3=0.8))
    tables = dose_tables(items, RUNS, flips=99)
    said = "the model stops answering from 4 bits on: "
    tests = tables["dose_tests"]
    primary = tests[(tests["category"] == "all") & tests["primary"]]
    assert primary["status"].str.startswith(f"not tested: {said}").all()
    assert primary.loc[primary["test"] != "trend_iid", "verdict"].tolist() == ["withheld"] * 4
    assert primary[["p_value", "p_value_holm", "family", "breakpoint"]].isna().all().all()
    response = _row(tables["dose_response"], category="all", outcome="stereotype")
    assert response["status"].startswith(f"not fitted: {said}")
    assert pd.isna(response["estimate"])
    curve = tables["dose_curves"]
    curve = curve[(curve["category"] == "all") & (curve["outcome"] == "stereotype")]
    assert curve["unanswered_rate"].tolist() == pytest.approx([0, 0, 0, 0.5, 0.8], abs=0.06)
    assert curve["predicted"].isna().all()
    others = tests[(tests["category"] == "all") & (tests["outcome"] == "new_bias") & (tests["test"] == "trend")]
    assert others["verdict"].tolist() == ["net withheld"]
    # Within the margin nothing is withheld.
    few = dose_tests(items_frame(_silent(answers, rtn_4=0.03)), RUNS, flips=99)
    assert "withheld" not in set(few["verdict"].dropna())
    several = dose_tests(items_frame(_silent(answers, rtn_6=0.4)), RUNS, flips=99)
    row = _row(several, category="all", outcome="stereotype", test="trend")
    assert row["status"].startswith("not tested: unanswered answers differ between the doses: 4")


def test_a_slope_holds_whatever_the_missing_answers_were() -> None:
    # Three templates of one item and one text; two texts are missing.
    runs = run_table(
        {"run": "dense"}, *({"run": f"r{b}", "baseline": "dense", "method": "r", "bits": b} for b in (8, 4))
    )
    letters = {"i0": "?kk", "i1": "s?s", "i2": "kks"}
    rows = [
        {"run": run, "item": item, "cluster": item}
        | ({"status": "unparsed"} if letter == "?" else {"role": "stereotype" if letter == "s" else "unknown"})
        for item, text in letters.items()
        for run, letter in zip(("dense", "r8", "r4"), text, strict=True)
    ]
    table = dose_tests(items_frame(rows), runs, Settings(margin=0.9, reach=1), flips=9)
    # Of nine records two are missing, and of the others three are stereotypical.
    counts = table[table["primary"] & (table["test"] == "trend")][["n", "n_events"]]
    assert counts.to_numpy().tolist() == [[7, 3]] * 2
    row = _row(table, outcome="stereotype", test="trend")
    x = np.array([0.0, 8, 12])
    ends = []
    for first in (0, 1):
        for second in (0, 1):
            filled = [[first, 0, 0], [1, second, 1], [0, 0, 1]]
            slopes = np.array([np.polyfit(x, y, 1)[0] for y in filled])
            moves = Moves(
                net=slopes, n=np.ones(3), span=(x[x > x.mean()] - x.mean()).sum() / ((x - x.mean()) ** 2).sum(), reach=1
            )
            ends.append(interval(moves, moves, 0.95))
    assert row["step_change_low"] == pytest.approx(100 * min(low for low, _ in ends), abs=1e-3)
    assert row["step_change_high"] == pytest.approx(100 * max(high for _, high in ends), abs=1e-3)


def test_single_functions_give_the_same_tables(answers: list[dict], tables: dict[str, pd.DataFrame]) -> None:
    items = items_frame(answers)
    pd.testing.assert_frame_equal(dose_curves(items, RUNS), tables["dose_curves"])
    pd.testing.assert_frame_equal(dose_response(items, RUNS), tables["dose_response"])
    pd.testing.assert_frame_equal(dose_tests(items, RUNS, flips=199), tables["dose_tests"])


def test_order_of_rows_does_not_matter(answers: list[dict], tables: dict[str, pd.DataFrame]) -> None:
    again = dose_tables(items_frame(answers).sample(frac=1, random_state=1), RUNS, flips=199)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)


def test_a_threshold_is_named_in_bits() -> None:
    # Flat down to 6 bits, then steep.
    shares = {"dense": -1.5, "rtn-8": -1.5, "rtn-6": -1.5, "rtn-4": 0.5, "rtn-3": 1.5}
    tests = dose_tests(items_frame(_answers(shares, n_clusters=30, per=4, seeds=5)), RUNS, flips=199)
    row = _row(tests, category="all", outcome="stereotype", test="breakpoint")
    assert row["verdict"] == "threshold at 6 bits"
    assert row["breakpoint_low"] <= 6 <= row["breakpoint_high"]
    assert row["slope_after"] > row["slope_before"]


@pytest.mark.parametrize(("dose", "value", "named"), [("sparsity", 0.5, "50 % sparsity"), ("bits", 4, "4 bits")])
def test_every_table_names_a_dose_in_its_unit(dose: str, value: float, named: str) -> None:
    runs = run_table({"run": "dense"}, {"run": "r4", "baseline": "dense", "method": "r", dose: value})
    tables = dose_tables(items_frame(_plain({"role": "unknown"}, {"role": "stereotype"})), runs, flips=9)
    said = f"one dose only ({named}), compared with nothing"
    at_risk = {name: table[table["outcome"] == "new_bias"] for name, table in tables.items()}
    assert at_risk["dose_response"]["status"].tolist() == [f"not fitted: {said}"]
    assert at_risk["dose_curves"]["status"].tolist() == [f"not fitted: {said}"]
    status = at_risk["dose_tests"].set_index("test")["status"]
    assert status[["trend", "trend_iid"]].tolist() == [f"not tested: {said}"] * 2


def test_a_threshold_is_named_in_percent_of_sparsity() -> None:
    # Flat up to 40 %, then steep: steps of ten points, of which no reader knows.
    runs = run_table(
        {"run": "dense"},
        *({"run": f"w-{n}", "baseline": "dense", "method": "w", "sparsity": n / 100} for n in (20, 40, 60, 70)),
    )
    shares = {"dense": -1.5, "w-20": -1.5, "w-40": -1.5, "w-60": 0.5, "w-70": 1.5}
    tests = dose_tests(items_frame(_answers(shares, n_clusters=30, per=4, seeds=5)), runs, flips=199)
    row = _row(tests, category="all", outcome="stereotype", test="breakpoint")
    assert (row["verdict"], row["breakpoint"]) == ("threshold at 40 % sparsity", 40)


def test_methods_are_pooled_with_their_interaction() -> None:
    # Percent: 20 and 50 by two methods, of which wanda rises half as fast.
    slopes = {"random": 0.4, "wanda": 0.2}
    runs = run_table(
        {"run": "dense"},
        *(
            {"run": f"{m}-{s}", "baseline": "dense", "method": m, "sparsity": s / 100}
            for m in slopes
            for s in (20, 50, 70)
        ),
        {"run": "both", "baseline": "dense", "method": "wanda", "sparsity": 0.5, "bits": 4},
    )
    shares = {"dense": -2.0, "both": 0.0}
    shares |= {f"{m}-{s}": -2.0 + slope * s / 10 for m, slope in slopes.items() for s in (20, 50, 70)}
    table = dose_response(items_frame(_answers(shares, n_clusters=30, seeds=4)), runs)
    table = table[(table["category"] == "all") & (table["outcome"] == "stereotype")]
    assert table["step"].unique().tolist() == ["10 points of sparsity more"]
    assert table[["method", "term"]].to_numpy().tolist() == [
        ["random", "dose"], ["wanda", "dose"], ["all", "dose"], ["all", "dose x wanda"], ["all", "interaction"],
    ]  # fmt: skip
    by = {(row["method"], row["term"]): row for _, row in table.iterrows()}
    assert by["wanda", "dose"]["estimate"] < by["all", "dose"]["estimate"] < by["random", "dose"]["estimate"]
    apart = by["all", "dose x wanda"]
    assert apart["conf_high"] < 0
    # With two methods the joint test is the square of the one difference.
    assert by["all", "interaction"]["statistic"] == pytest.approx(apart["statistic"] ** 2, rel=1e-6)
    assert by["all", "interaction"]["p_value"] == pytest.approx(apart["p_value"], rel=1e-6)
    assert by["all", "dose"]["n_runs"] == 7


def test_items_that_a_run_lacks_are_left_out_and_counted(answers: list[dict]) -> None:
    fewer = [row for row in answers if not (row["run"] == "rtn-3" and row["item"] == "0-0")]
    table = dose_response(items_frame(fewer), RUNS)
    row = _row(table, category="all", outcome="stereotype")
    assert (row["n_items"], row["n_items_left_out"]) == (71, 1)


def test_separation_falls_to_the_penalised_fit() -> None:
    # Never at 16 and 8 bits, always at 3.
    runs = run_table(
        {"run": "dense"}, *({"run": f"r{b}", "baseline": "dense", "method": "r", "bits": b} for b in (8, 3))
    )
    answers = [
        {"run": run, "item": f"i{i}", "cluster": f"t{i}", "role": "stereotype" if run == "r3" else "unknown"}
        for i in range(25)
        for run in ("dense", "r8", "r3")
    ]
    tables = dose_tables(items_frame(answers), runs, flips=99)
    row = _row(tables["dose_response"], outcome="stereotype")
    assert row["model"] == "firth"
    assert "separation" in row["status"]
    assert "no test or interval by template" in row["status"]
    assert 0 < row["estimate"] < 5
    # What takes records as independent is in columns of its own.
    assert row[["std_error", "statistic", "df", "p_value", "conf_low", "conf_high", "odds_ratio_low"]].isna().all()
    assert 0 < row["records_low"] < row["estimate"] < row["records_high"]
    assert row["p_value_records"] < 0.05
    trend = _row(tables["dose_tests"], outcome="stereotype", test="trend")
    assert trend["p_value"] < 0.05
    assert tables["dose_curves"]["predicted_low"].isna().all()
    bend = _row(tables["dose_tests"], outcome="stereotype", test="breakpoint")
    assert "3 doses" in bend["status"]


def _status(answers: list[dict], runs: pd.DataFrame, outcome: str) -> str:
    tables = dose_tables(items_frame(answers), runs, flips=9)
    row = _row(tables["dose_response"], outcome=outcome)
    assert row["model"] == "none"
    assert pd.isna(row["estimate"])
    assert (tables["dose_tests"]["n_clusters"] >= 0).all()
    # Where nothing is missing nothing is withheld: there is nothing to say.
    silent = len({row["run"] for row in answers if row.get("status") == "unparsed"}) == 1
    # Twelve templates that all change one way are a rise.
    roles = {row.get("role") for row in answers if row["run"] == "r4"}
    rises = {"rises", "net rises"} if "stereotype" in roles else set()
    said = set(tables["dose_tests"]["verdict"].dropna()) - rises
    assert said <= (
        {"withheld", "net withheld", "undecided", "net undecided"} if silent else {"undecided", "net undecided"}
    )
    return str(row["status"])


ONE = run_table({"run": "dense"}, {"run": "r4", "baseline": "dense", "method": "r", "bits": 4})


def _plain(dense: dict, r4: dict, clusters: int = 12) -> list[dict]:
    made = ((i, run, given) for i in range(clusters) for run, given in (("dense", dense), ("r4", r4)))
    return [{"run": run, "item": f"i{i}", "cluster": f"t{i}", **given} for i, run, given in made]


@pytest.mark.parametrize(
    ("dense", "r4", "clusters", "outcome", "reason"),
    [
        ({"role": "unknown"}, {"role": "stereotype"}, 12, "new_bias", "one dose only (4 bits)"),
        ({"role": "unknown"}, {"role": "unknown"}, 12, "stereotype", "never seen"),
        ({"role": "stereotype"}, {"role": "stereotype"}, 12, "new_bias", "no item at risk"),
        ({"status": "unparsed"}, {"status": "unparsed"}, 12, "stereotype", "no answered answer"),
        ({"role": "unknown"}, {"status": "unparsed"}, 12, "stereotype", "one dose only (16 bits)"),
        ({"role": "unknown"}, {"role": "stereotype"}, 1, "stereotype", "1 cluster for 2 terms"),
    ],
)
def test_degenerate_input_is_named(dense: dict, r4: dict, clusters: int, outcome: str, reason: str) -> None:
    assert reason in _status(_plain(dense, r4, clusters), ONE, outcome)


def test_nothing_to_ask_gives_empty_tables() -> None:
    dense = run_table({"run": "dense"}, {"run": "other", "baseline": "dense"})
    answers = [{"run": run, "item": "a", "cluster": "t", "role": "unknown"} for run in ("dense", "other")]
    assert all(table.empty for table in dose_tables(items_frame(answers), dense).values())
    assert all(table.empty for table in dose_tables(items_frame([]), dense).values())

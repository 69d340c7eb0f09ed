from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from statsmodels.stats.proportion import proportion_effectsize

from analysis.schema.items import ITEMS
from analysis.tables.studies.columns import STUDY_LOGISTIC, STUDY_TESTS
from analysis.tables.studies.table import _BANDS, _band, study_logistic, study_tests
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})


def picks(run: str, stereotype: int, other: int, unparsed: int = 0, **shared: Any) -> list[dict[str, Any]]:
    """One item per answer: so many stereotypes, so many "unknown", so many unparsed."""
    roles = ["stereotype"] * stereotype + ["unknown"] * other + [None] * unparsed
    category = shared.get("category", "Age")
    return [{"run": run, "item": f"{category}/{i}", "role": role, **shared} for i, role in enumerate(roles)]


def only(table: pd.DataFrame, **where: Any) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_chi_squared_by_hand() -> None:
    # 10 of 40 against 20 of 40: Yates' chi2 = 80 (|10 x 20 - 20 x 30| - 40)^2 / (30 x 50 x 40 x 40)
    #   = 80 x 360^2 / 2,400,000 = 4.32, p = 0.0377 at 1 degree of freedom; the smallest expected count is 15.
    # h = 2 (asin sqrt 0.5 - asin sqrt 0.25) = 2 (pi/4 - pi/6) = pi/6
    found = only(study_tests(items_frame(picks("a", 10, 30) + picks("b", 20, 20)), PAIR), category="Age")
    assert found["chi2"] == pytest.approx(4.32)
    assert found["p_value"] == pytest.approx(0.03767, abs=5e-6)
    assert found["min_expected"] == 15
    assert found["cohens_h"] == pytest.approx(math.pi / 6)
    assert found[["significant", "significance", "effect_size", "status"]].tolist() == [True, "*", "medium", "ok"]
    assert found[["n_baseline", "n", "srs_baseline", "srs", "srs_delta"]].tolist() == [40, 40, 0.25, 0.5, 0.25]
    assert found["unit"] == "answers treated as independent, as published"


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 4))
def test_equals_scipy_and_statsmodels(counts: tuple[int, int, int, int]) -> None:
    old, other, new, rest = counts
    size = max(old + other, new + rest)  # the same items in both runs, those left over unparsed
    rows = picks("a", old, other, size - old - other) + picks("b", new, rest, size - new - rest)
    items = items_frame(rows)
    found = only(study_tests(items, PAIR), category="all")
    rates = old / (old + other), new / (new + rest)
    # the studies' own counts: int(rate x n)
    rebuilt = int(rates[0] * (old + other)), int(rates[1] * (new + rest))
    table = [[rebuilt[0], old + other - rebuilt[0]], [rebuilt[1], new + rest - rebuilt[1]]]
    # scipy.stats.chi2_contingency(table, correction=True)
    expected = chi2_contingency(table, correction=True)
    assert found[["chi2", "p_value"]].tolist() == pytest.approx([expected.statistic, expected.pvalue], rel=1e-12)
    # statsmodels.stats.proportion.proportion_effectsize(p, p_baseline)
    assert found["cohens_h"] == pytest.approx(proportion_effectsize(rates[1], rates[0]), abs=1e-12)


def test_a_rebuilt_count_can_lose_one() -> None:
    # 29 of 50 is 0.58, and 0.58 x 50 is 28.999999999999996 in binary: int gives 28.
    assert int(29 / 50 * 50) == 28
    found = only(study_tests(items_frame(picks("a", 25, 25) + picks("b", 29, 21)), PAIR), category="Age")
    assert found[["count_baseline", "count"]].tolist() == [25, 28]
    assert found["srs"] == 0.58


@pytest.mark.parametrize(
    ("old", "new", "band"),
    [
        (0.25, 0.25, "negligible"),
        (0.25, 0.30, "negligible"),  # |h| = 0.112
        (0.25, 0.35, "small"),  # 0.219
        (0.50, 0.25, "medium"),  # 0.524, either direction
        (0.25, 0.65, "large"),  # 0.828
    ],
)
def test_bands_of_cohens_h(old: float, new: float, band: str) -> None:
    rows = picks("a", round(20 * old), round(20 * (1 - old))) + picks("b", round(20 * new), round(20 * (1 - new)))
    assert only(study_tests(items_frame(rows), PAIR), category="Age")["effect_size"] == band


@pytest.mark.parametrize(("edge", "below", "above"), [
    (0.2, "negligible", "small"), (0.5, "small", "medium"), (0.8, "medium", "large"),
])  # fmt: skip
def test_an_exact_edge_belongs_to_the_band_above(edge: float, below: str, above: str) -> None:
    # Cohen (1988) calls 0.2 itself small. The bands are asked directly: no two shares have an h of exactly 0.2. The
    # studies' published tables do not show the edge: their |h| jumps from 0.190 (negligible) to 0.202 (small).
    assert _band(math.nextafter(edge, 0), _BANDS) == below
    assert _band(edge, _BANDS) == above


@pytest.mark.parametrize(("old", "new", "n", "band"), [(7, 11, 54, "negligible"), (9, 12, 32, "small")])
def test_bands_are_of_the_unrounded_h(old: int, new: int, n: int, band: str) -> None:
    # 2 (asin sqrt(11/54) - asin sqrt(7/54)) = 0.19990, and 2 (asin sqrt(12/32) - asin sqrt(9/32)) = 0.20014: to three
    # digits both are 0.200. A change in the other direction is in the same band.
    for before, after in ((old, new), (new, old)):
        items = items_frame(picks("a", before, n - before) + picks("b", after, n - after))
        found = only(study_tests(items, PAIR), category="Age")
        assert f"{abs(found['cohens_h']):.3f}" == "0.200"
        assert found["effect_size"] == band


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ((0, 5, 0), (0, 5, 0), "the stereotype is never chosen"),
        ((5, 0, 0), (5, 0, 0), "the stereotype is always chosen"),
        ((2, 3, 0), (0, 0, 5), "no answered item after compression"),
        ((0, 0, 5), (2, 3, 0), "no answered item at baseline"),
    ],
)
def test_no_test_without_both_outcomes(before: tuple[int, int, int], after: tuple[int, int, int], status: str) -> None:
    found = only(study_tests(items_frame(picks("a", *before) + picks("b", *after)), PAIR), category="Age")
    assert found["status"] == status
    assert found[["chi2", "p_value", "min_expected", "significant", "significance"]].isna().all()
    if "no answered" in status:
        assert found[["cohens_h", "effect_size", "srs_delta"]].isna().all()
    else:
        assert (found["cohens_h"], found["effect_size"]) == (0, "negligible")


def test_all_is_pooled_and_baselines_have_no_row() -> None:
    rows = picks("a", 1, 9) + picks("b", 2, 8) + picks("a", 3, 7, category="SES") + picks("b", 9, 1, category="SES")
    table = study_tests(items_frame(rows), PAIR)
    assert table["category"].tolist() == ["Age", "SES", "all"]
    assert set(table["run"]) == {"b"}
    assert only(table, category="all")[["srs_baseline", "srs", "n"]].tolist() == [0.2, 0.55, 20]
    alone = run_table({"run": "a"}, {"run": "b"})
    pd.testing.assert_frame_equal(study_tests(items_frame(rows), alone), STUDY_TESTS.empty())


def grid(runs: pd.DataFrame, chance: dict[str, float], n: int, seed: int) -> pd.DataFrame:
    """Random answers: a chance of the stereotype per run, halved in SES, one in twenty unparsed."""
    random = np.random.default_rng(seed)
    rows = []
    for run in runs["run"]:
        for category, factor in (("Age", 1.0), ("Religion", 0.8), ("SES", 0.5)):
            drawn = random.random(n)
            for i in range(n):
                role = "stereotype" if drawn[i] < chance[run] * factor else "unknown"
                given = {"run": run, "item": f"{category}/{i}", "category": category}
                rows.append(given | {"role": role if random.random() > 0.05 else None})
    return items_frame(rows)


def records(items: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Answered rows with plain columns for a formula."""
    out = items[items["status"] == "answered"].merge(runs, on="run").copy()
    out["y"] = (out["role"] == "stereotype").astype(int)
    out["bits"] = out["bits"].fillna(16).astype(float)
    out["percent"] = 100 * out["sparsity"].fillna(0).astype(float)
    out["method"] = "m_" + out["method"].replace("none", "0")  # so that the dense level sorts first
    return out


def check(found: pd.DataFrame, result: Any, names: dict[str, str]) -> None:
    """Every number of a fitted model against statsmodels' own."""
    assert found["status"].eq("ok").all()
    found = found.set_index("term")
    assert set(found.index) == set(names)
    interval = result.conf_int()
    for term, theirs in names.items():
        row = found.loc[term]
        expected = [result.params[theirs], result.bse[theirs], result.tvalues[theirs], result.pvalues[theirs]]
        assert row[["estimate", "std_error", "statistic", "p_value"]].tolist() == pytest.approx(expected, rel=1e-6)
        assert row[["conf_low", "conf_high"]].tolist() == pytest.approx(interval.loc[theirs].tolist(), rel=1e-6)
        ratios = np.exp([result.params[theirs], *interval.loc[theirs]]).tolist()
        assert row[["odds_ratio", "odds_ratio_low", "odds_ratio_high"]].tolist() == pytest.approx(ratios, rel=1e-6)
    row = found.iloc[0]
    model = [result.llf, result.llnull, result.llr_pvalue, result.prsquared, result.aic, result.bic]
    assert row[["llf", "llnull", "llr_p_value", "pseudo_r2", "aic", "bic"]].tolist() == pytest.approx(model, rel=1e-9)
    assert (row["n"], row["df_model"]) == (result.nobs, result.df_model)
    assert row[["converged", "cov_type"]].tolist() == [True, "nonrobust"]


def test_bits_form_equals_statsmodels() -> None:
    runs = run_table(
        {"run": "a", "base_model": "m"},
        {"run": "a4", "base_model": "m", "baseline": "a", "method": "rtn", "bits": 4},
        {"run": "a3", "base_model": "m", "baseline": "a", "method": "rtn", "bits": 3},
        {"run": "c", "base_model": "n"},
        {"run": "c4", "base_model": "n", "baseline": "c", "method": "gptq", "bits": 4},
        {"run": "pruned", "base_model": "n", "baseline": "c", "method": "wanda", "sparsity": 0.5},
        {"run": "both", "base_model": "n", "baseline": "c", "method": "wanda+rtn", "sparsity": 0.5, "bits": 4},
    )
    chance = {"a": 0.2, "a4": 0.3, "a3": 0.5, "c": 0.25, "c4": 0.3, "pruned": 0.9, "both": 0.9}
    items = grid(runs, chance, n=60, seed=1)
    found = study_logistic(items, runs)
    found = found[found["form"] == "bits"]
    used = records(items, runs)
    used = used[~used["run"].isin(["pruned", "both"])]
    # statsmodels.formula.api.logit("y ~ bits + C(category)", data).fit()
    result = smf.logit("y ~ bits + C(category)", used).fit(disp=0, tol=1e-12)
    names = {"const": "Intercept", "bits": "bits"}
    names |= {f"category_{name}": f"C(category)[T.{name}]" for name in ("Religion", "SES")}
    check(found, result, names)
    assert set(found["base_model"]) == {"all"}
    assert set(found["reference"]) == {"category Age"}
    assert found[["n_runs", "n_items", "n_events"]].iloc[0].tolist() == [5, 2 * 180, used["y"].sum()]


def test_sparsity_form_equals_statsmodels() -> None:
    runs = run_table(
        {"run": "a"},
        *(
            {"run": f"{method}{percent}", "baseline": "a", "method": method, "sparsity": percent / 100}
            for method in ("magnitude", "wanda")
            for percent in (30, 60)
        ),
        {"run": "c", "base_model": "n"},
        {"run": "c4", "base_model": "n", "baseline": "c", "method": "rtn", "bits": 4},
    )
    chance = {"a": 0.2, "magnitude30": 0.35, "magnitude60": 0.6, "wanda30": 0.2, "wanda60": 0.4}
    chance |= {"c": 0.1, "c4": 0.1}
    items = grid(runs, chance, n=60, seed=2)
    table = study_logistic(items, runs)
    found = table[(table["form"] == "sparsity") & (table["base_model"] == "m")]
    used = records(items, runs)
    # statsmodels.formula.api.logit("y ~ percent + C(category) + C(method)", data).fit()
    result = smf.logit("y ~ percent + C(category) + C(method)", used[used["base_model"] == "m"]).fit(disp=0, tol=1e-12)
    names = {"const": "Intercept", "sparsity_percent": "percent"}
    names |= {f"category_{name}": f"C(category)[T.{name}]" for name in ("Religion", "SES")}
    names |= {f"method_{name}": f"C(method)[T.m_{name}]" for name in ("magnitude", "wanda")}
    check(found, result, names)
    assert set(found["reference"]) == {"category Age, method none"}
    # The other model has no pruned run.
    other = only(table, form="sparsity", base_model="n")
    assert other["status"] == "not fitted: one level of sparsity only, compared with nothing"
    assert other[["term", "estimate", "llf", "converged", "cov_type"]].isna().all()


def refused(rows: list[dict[str, Any]], runs: pd.DataFrame, form: str) -> str:
    """The status of a model that must not be fitted."""
    found = only(study_logistic(items_frame(rows), runs), form=form)
    assert found[["term", "estimate", "std_error", "p_value", "odds_ratio", "llf", "aic", "converged"]].isna().all()
    return str(found["status"])


QUANT = run_table({"run": "a"}, {"run": "b", "baseline": "a", "method": "rtn", "bits": 4})
PRUNED = run_table({"run": "a"}, {"run": "b", "baseline": "a", "method": "wanda", "sparsity": 0.5})


def test_separation_is_refused_by_name() -> None:
    # Complete: no stereotype at 16 bits, only stereotypes at 4.
    status = refused(picks("a", 0, 8) + picks("b", 8, 0), QUANT, "bits")
    assert status == "not fitted: separation: the records split perfectly along const, bits"
    # Quasi-complete: SES never shows the stereotype, Age does at both levels. Its dummy runs to minus infinity,
    # and statsmodels would report an estimate of about -20 with a standard error in the thousands.
    rows = picks("a", 2, 6) + picks("b", 4, 4)
    rows += picks("a", 0, 8, category="SES") + picks("b", 0, 8, category="SES")
    assert refused(rows, QUANT, "bits") == "not fitted: separation: the records split perfectly along category_SES"


def test_constant_outcome_and_collinear_terms_are_refused() -> None:
    never = refused(picks("a", 0, 8) + picks("b", 0, 8), QUANT, "bits")
    assert never == "not fitted: the stereotype is chosen in 0 of 16 records: nothing to explain"
    always = refused(picks("a", 8, 0) + picks("b", 8, 0), QUANT, "bits")
    assert always == "not fitted: the stereotype is chosen in 16 of 16 records: nothing to explain"
    # One method at one sparsity: sparsity and the method's dummy are the same column up to a factor.
    status = refused(picks("a", 2, 6) + picks("b", 4, 4), PRUNED, "sparsity")
    assert status == "not fitted: method_wanda can't be told from the terms before: collinear"


def test_a_category_without_answers_is_no_term() -> None:
    rows = picks("a", 2, 6) + picks("b", 4, 4)
    rows += picks("a", 0, 0, 5, category="SES") + picks("b", 0, 0, 5, category="SES")
    table = study_logistic(items_frame(rows), QUANT)
    found = table[table["form"] == "bits"]
    assert found["term"].tolist() == ["const", "bits"]
    # By hand: log odds 2:6 at 16 bits and 4:4 at 4 bits, so the slope is -log(1/3) / -12 per bit.
    assert only(found, term="bits")["estimate"] == pytest.approx(math.log(1 / 3) / 12)
    assert only(found, term="bits")["std_error"] == pytest.approx(math.sqrt(1 / 2 + 1 / 6 + 1 / 4 + 1 / 4) / 12)


def test_nothing_answered_at_all() -> None:
    status = refused(picks("a", 0, 0, 4) + picks("b", 0, 0, 4), QUANT, "bits")
    assert status == "not fitted: no answered records"
    pd.testing.assert_frame_equal(study_logistic(ITEMS.empty(), QUANT), STUDY_LOGISTIC.empty())


def test_conditions_have_models_of_their_own() -> None:
    rows = picks("a", 2, 6) + picks("b", 4, 4)
    rows += [{**row, "item": f"d{row['item']}", "condition": "disambig"} for row in picks("a", 4, 4) + picks("b", 4, 4)]
    table = study_logistic(items_frame(rows), QUANT)
    slopes = table[(table["term"] == "bits")].set_index("condition")["estimate"]
    assert slopes["ambig"] == pytest.approx(math.log(1 / 3) / 12)
    assert slopes["disambig"] == pytest.approx(0, abs=1e-12)

"""The studies' own scripts' tables, from their raw answers by way of lm-eval logs, to every printed digit.

A full-precision column is compared to within 1e-13 (the scripts add and divide in another order, which moves
the last one or two of 16 digits); a rounded column must be equal after the same rounding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.inference.proportion import wilson
from analysis.schema.items import ITEMS
from analysis.tables.rates import rates
from analysis.tables.studies.table import study_logistic, study_tests
from analysis.tables.transitions.table import role_transitions, transitions
from tests.helpers.answers import read_tables, write_study_logs
from tests.helpers.shared import shared_data

LEVEL = {"q": ["quant"], "p": ["prune_method", "sparsity"]}


@dataclass(frozen=True)
class Study:
    """One study's answers as the analysis reads them."""

    name: str
    items: pd.DataFrame
    runs: pd.DataFrame

    @cached_property
    def rates(self) -> pd.DataFrame:
        return rates(self.items, self.runs)

    @property
    def keys(self) -> list[str]:
        return ["model", *LEVEL[self.name]]

    def published(self, table: str) -> pd.DataFrame:
        """A table of the study's script."""
        return pd.read_csv(shared_data("study_checks", f"{self.name}_{table}.csv"))

    def keyed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Our table with the study's own key columns in place of the run."""
        label = table["run"].str.split("/", expand=True)
        out = table.drop(columns=["sparsity"], errors="ignore").assign(model=label[0])
        if self.name == "q":
            return out.assign(quant=label[1].replace("dense", "q16").str.removeprefix("q").astype(int))
        level = label[1].replace("dense", "dense-0").str.split("-", expand=True)
        return out.assign(prune_method=level[0], sparsity=level[1].astype(int))


def load(name: str, folder: Path) -> Study:
    """A study's answers, written as logs and read back."""
    write_study_logs(shared_data("study_checks", f"{name}_answers.jsonl.gz"), folder / "runs")
    items, runs, logs = read_tables(folder / "runs", folder / "items.parquet")
    assert logs.issues == []
    assert len(items) == {"q": 15_000, "p": 39_000}[name]
    return Study(name, ITEMS.conform(items), runs)


@pytest.fixture(scope="module")
def q_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load("q", tmp_path_factory.mktemp("q"))


@pytest.fixture(scope="module")
def p_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load("p", tmp_path_factory.mktemp("p"))


@pytest.fixture(params=["q", "p"])
def study(request: pytest.FixtureRequest) -> Study:
    found: Study = request.getfixturevalue(f"{request.param}_study")
    return found


def joined(ours: pd.DataFrame, published: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Ours beside the study's (suffix _study): every published row has exactly one partner."""
    out = published.merge(ours, on=keys, how="left", suffixes=("_study", ""), validate="one_to_one", indicator=True)
    assert len(published) > 0
    assert (out["_merge"] == "both").all()
    return out


def same(ours: pd.Series, published: pd.Series) -> None:
    np.testing.assert_allclose(ours.to_numpy(float), published.to_numpy(float), rtol=1e-13, atol=1e-13)


def rounded(ours: pd.Series, published: pd.Series, digits: int) -> None:
    np.testing.assert_array_equal(ours.to_numpy(float).round(digits), published.to_numpy(float))


METRICS = {
    "srs": "srs",
    "usr": "usr",
    "anti_rate": "anti_rate",
    "parse_fail_rate": "unparsed_rate",
    "n": "n",
    "n_valid": "n_answered",
    "srs_baseline": "srs_baseline",
    "usr_baseline": "usr_baseline",
    "srs_delta": "srs_delta",
    "srs_pct_change": "srs_pct_change",
    "usr_delta": "usr_delta",
}


@pytest.mark.parametrize(("table", "subset"), [("metrics", "all"), ("metrics_latent", "latent")])
def test_metrics(study: Study, table: str, subset: str) -> None:
    published = study.published(table)
    ours = study.keyed(study.rates)
    ours = ours[(ours["subset"] == subset) & (ours["aggregate"] == "none")]
    assert len(ours) == len(published)
    both = joined(ours, published, [*study.keys, "category"])
    for theirs, name in METRICS.items():
        if theirs in published:
            same(both[name], both[f"{theirs}_study" if f"{theirs}_study" in both else theirs])
    assert len([name for name in METRICS if name in published]) == (
        6 if (study.name, subset) == ("q", "latent") else 11
    )


def test_wilson_intervals_are_bit_for_bit_the_studies(study: Study) -> None:
    ours = study.keyed(study.rates)
    ours = ours[(ours["subset"] == "all") & (ours["aggregate"] == "none")]
    both = joined(ours, study.published("metrics"), [*study.keys, "category"])
    # pandas' CSV parser may be one unit in the last place off; reading the text as Python does is exact.
    text = pd.read_csv(shared_data("study_checks", f"{study.name}_metrics.csv"), dtype=str)
    # The rates of these counts; the table's own intervals are by templates.
    ends = {
        name: wilson(both[f"n_{count}"], both["n_answered"]) for name, count in (("srs", "toward"), ("usr", "neutral"))
    }
    for theirs, (name, place) in {
        "srs_ci_low": ("srs", 0),
        "srs_ci_high": ("srs", 1),
        "usr_ci_low": ("usr", 0),
    }.items():
        assert [float(value) for value in text[theirs]] == ends[name][place].tolist()


def test_parse_failures(p_study: Study) -> None:
    ours = p_study.keyed(p_study.rates)
    pooled = ours[(ours["subset"] == "all") & (ours["aggregate"] == "pooled")]
    both = joined(pooled, p_study.published("parse_failures"), p_study.keys)
    assert both["n"].tolist() == both["total"].tolist()
    assert both["n_unparsed"].tolist() == both["parse_failures"].tolist()
    same(both["unparsed_rate"], both["parse_fail_rate"])


def test_response_entropy(p_study: Study) -> None:
    ours = p_study.keyed(p_study.rates)
    pooled = ours[(ours["subset"] == "all") & (ours["aggregate"] == "pooled")]
    both = joined(pooled, p_study.published("response_entropy"), p_study.keys)
    # The script takes log2(p + 1e-10): for three letters that is 3e-10 / ln 2 below the entropy.
    same(both["response_entropy"] - 3e-10 / np.log(2), both["response_entropy_study"])


def test_latent_items(q_study: Study) -> None:
    # Items are counted at baseline, so any run's rows will do: those of 8 bits.
    ours = q_study.keyed(transitions(q_study.items, q_study.runs))
    ours = ours[(ours["quant"] == 8) & (ours["transition"] == "srs_change") & (ours["category"] != "all")]
    total = ours[ours["subset"] == "all"].set_index(["model", "category"])["n_items"]
    latent = ours[ours["subset"] == "latent"].reset_index(drop=True)
    both = joined(latent, q_study.published("latent_items"), ["model", "category"])
    items = total.loc[list(zip(both["model"], both["category"], strict=True))]
    assert items.tolist() == both["total_items"].tolist()
    assert both["n_at_risk"].tolist() == both["filtered_items"].tolist()
    assert both["n_items"].tolist() == both["filtered_items"].tolist()
    rounded(100 * both["n_at_risk"] / items.to_numpy(float), both["pct_retained"], 1)
    same(both["mean_item_srs_baseline"], both["mean_baseline_srs"])


def test_transitions(study: Study) -> None:
    published = study.published("transitions")
    # The study lists its dense models too, as transitions of a run against itself.
    runs = study.runs.assign(baseline=study.runs["baseline"].fillna(study.runs["run"]))
    ours = transitions(study.items, runs)
    ours = ours[(ours["transition"] == "new_bias") & (ours["subset"] == "all") & (ours["category"] == "all")]
    ours = study.keyed(ours[ours["summary"] == "run"])
    both = joined(ours, published, study.keys)
    at_risk, digits = ("n_unbiased_at_bf16", 1) if study.name == "q" else ("total_unbiased_items", 2)
    became = "n_became_biased" if study.name == "q" else "became_biased"
    assert both["n_at_risk"].tolist() == both[at_risk].tolist()
    assert both["n_events"].tolist() == both[became].tolist()
    rounded(100 * both["rate"], both["pct_became_biased"], digits)
    if study.name == "q":
        rounded(both["mean_item_srs"], both["mean_srs"], 4)


def test_dose_response(p_study: Study) -> None:
    ours = transitions(p_study.items, p_study.runs)
    ours = ours[(ours["transition"] == "new_bias") & (ours["subset"] == "all") & (ours["category"] == "all")]
    ours = ours.assign(model=ours["baseline"].str.removesuffix("/dense"))
    ours["sparsity"] = (100 * ours["sparsity"]).round().astype(int)
    # The script averages percentages that it has rounded to two digits before.
    runs = ours[ours["summary"] == "run"]
    averages = (100 * runs["rate"]).astype(float).round(2).groupby([runs["model"], runs["sparsity"]]).mean()
    means = ours[ours["summary"] == "mean_over_methods"]
    both = joined(means, p_study.published("dose_response"), ["model", "sparsity"])
    assert len(both) == len(means) == 8
    twice = averages.loc[list(zip(both["model"], both["sparsity"], strict=True))]
    rounded(twice, both["avg_pct_became_biased"], 2)
    # Ours is rounded once, so it may differ from the published figure by the rounding alone.
    np.testing.assert_allclose(100 * both["rate"].astype(float), both["avg_pct_became_biased"], rtol=0, atol=0.01)
    np.testing.assert_allclose(100 * both["rate"].astype(float), twice, rtol=0, atol=0.005)
    assert both["n_at_risk"].tolist() == both["total_items"].tolist()
    assert both["n_runs"].tolist() == [3] * 8


def test_chi_squared_and_cohens_h(study: Study) -> None:
    published = study.published("tests")
    if study.name == "q":
        published = published.assign(quant=published["comparison"].str[-1].astype(int))
    ours = study.keyed(study_tests(study.items, study.runs))
    both = joined(ours[ours["category"] != "all"], published, [*study.keys, "category"])
    assert (ours["status"] == "ok").all()
    if study.name == "p":
        for name in ("chi2", "p_value", "cohens_h"):
            same(both[name], both[f"{name}_study"])
        assert both["significant"].tolist() == both["significant_study"].tolist()
        return
    rounded(both["chi2"], both["chi2_study"], 2)
    rounded(both["cohens_h"], both["cohens_h_study"], 3)
    for name, theirs in (("p_value", "p_value_study"), ("srs_baseline", "srs_bf16"), ("srs", "srs_target")):
        rounded(both[name], both[theirs], 4)
    rounded(both["srs_delta"], both["delta"], 4)
    assert both["significance"].tolist() == both["significance_study"].fillna("-").tolist()
    assert both["effect_size"].tolist() == both["effect_size_study"].tolist()


def test_rebuilt_counts_lose_one_where_the_studies_do(study: Study) -> None:
    # int(rate x n) is one short where the product rounds to just below the count. Were it not rebuilt, these
    # rows' statistics would differ from the published ones.
    ours = study_tests(study.items, study.runs)
    ours = ours[ours["category"] != "all"]
    for side in ("", "_baseline"):
        counted = (ours[f"srs{side}"] * ours[f"n{side}"]).round()
        assert set(counted - ours[f"count{side}"]) <= {0, 1}
    lost = (ours["srs"] * ours["n"]).round() != ours["count"]
    lost |= (ours["srs_baseline"] * ours["n_baseline"]).round() != ours["count_baseline"]
    assert lost.sum() == {"q": 5, "p": 7}[study.name]


TERMS = {"quant": "bits", "sparsity": "sparsity_percent"}


def printed_model(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Header fields and coefficient rows of a printed statsmodels summary, as strings."""
    text = path.read_text()
    header = dict(re.findall(r"(\w[\w.-]*(?: [\w-]+)*):\s+(\S+)", text))
    rows = re.findall(r"^(\w+)((?:\s+-?\d+\.\d{4}){6})$", text, flags=re.MULTILINE)
    return header, {name: numbers.split() for name, numbers in rows}


@pytest.mark.parametrize("model", ["all", "model-a", "model-b"])
def test_logistic(request: pytest.FixtureRequest, model: str) -> None:
    study: Study = request.getfixturevalue("q_study" if model == "all" else "p_study")
    name = "q_logistic.txt" if model == "all" else f"p_logistic_{model}.txt"
    header, rows = printed_model(shared_data("study_checks", name))
    table = study_logistic(study.items, study.runs)
    form = "bits" if model == "all" else "sparsity"
    ours = table[(table["form"] == form) & table["base_model"].isin({model, f"study/{model}"})].set_index("term")
    assert ours["status"].eq("ok").all()
    assert len(rows) == len(ours) == (6 if model == "all" else 9)
    for term, printed in rows.items():
        row = ours.loc[TERMS.get(term, term.replace("prune_method_", "method_"))]
        names = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
        assert [f"{row[name]:.4f}" for name in names] == printed
        assert row["odds_ratio"] == pytest.approx(np.exp(row["estimate"]), rel=1e-15)
    first = ours.iloc[0]
    assert f"{first['n']}" == header["No. Observations"]
    assert f"{first['df_model']}" == header["Df Model"]
    assert f"{first['aic']:.4f}" == header["AIC"]
    assert f"{first['bic']:.4f}" == header["BIC"]
    assert f"{first['llf']:#.5g}" == header["Log-Likelihood"]
    assert f"{first['llnull']:#.5g}" == header["LL-Null"]
    assert f"{first['llr_p_value']:.4e}" == header["LLR p-value"]
    assert f"{first['pseudo_r2']:.3f}" == header["Pseudo R-squared"]
    assert first["converged"]


def test_a_form_without_its_runs_says_so(study: Study) -> None:
    table = study_logistic(study.items, study.runs)
    missing = table[table["form"] == ("sparsity" if study.name == "q" else "bits")]
    assert len(missing) == (2 if study.name == "q" else 1)
    assert missing["status"].str.startswith("not fitted: one level of").all()
    assert missing[["term", "estimate", "p_value", "aic", "converged"]].isna().all().all()


def test_role_transitions_agree_with_the_answers(study: Study) -> None:
    # The margins against counts taken straight from the raw records, by another way than the pairing.
    records = pd.read_json(shared_data("study_checks", f"{study.name}_answers.jsonl.gz"), lines=True)
    letters = records["parsed_answer"].map({"A": 0, "B": 1, "C": 2})
    records["role"] = "unparsed"
    for role, column in (("stereotype", "stereotype_target_index"), ("unknown", "unknown_index")):
        records.loc[letters == records[column], "role"] = role
    records.loc[letters == records["anti_stereotype_target_index"], "role"] = "anti_stereotype"
    expected = records.groupby([*study.keys, "category", "role"]).size()
    ours = study.keyed(role_transitions(study.items, study.runs))
    ours = ours[(ours["category"] != "all") & (ours["role_baseline"] == "unknown")]
    ours = ours[ours["column_total"] > 0].set_index([*study.keys, "category", "role_compressed"])
    for key, total in ours["column_total"].items():
        assert total == expected[key]
    assert (ours["total"] == 300).all()
    assert (ours["n_unpaired"] == 0).all()

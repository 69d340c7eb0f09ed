"""Logistic GEE on counts: against R gee, against statsmodels on the single records, and where there is no fit."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import t as student

from analysis.inference._gee import fit_gee
from analysis.inference._logit import Records
from analysis.inference.gee import gee, gee_curve

TERMS = ("intercept", "x1", "x2", "x3")


def _published() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data set that statsmodels' own comparison with R's gee uses: outcome, design, cluster."""
    file = resources.files("statsmodels.genmod.tests") / "results" / "gee_logistic_1.csv"
    if not file.is_file():
        pytest.skip("this statsmodels is installed without its test data")
    with file.open() as stream:
        data = np.loadtxt(stream, delimiter=",")
    return data[:, 1], np.column_stack([np.ones(len(data)), data[:, 2:5]]), data[:, 0].astype(int)


@pytest.mark.parametrize(
    ("working", "expected"),
    [
        # R: gee(Y ~ X1 + X2 + X3, id = Id, family = binomial, corstr = "independence" / "exchangeable")
        ("independence", [0.0167272965285882, 1.13038654425893, -1.86896345082962, 1.09397608331333]),
        ("exchangeable", [0.0178982283915449, 1.13118798191788, -1.86133518416017, 1.08944256230299]),
    ],
)
def test_coefficients_are_those_of_r(working: str, expected: list[float]) -> None:
    outcome, design, cluster = _published()
    result = gee(outcome, np.ones(len(outcome)), design, cluster, terms=TERMS, working=working)
    assert result.status == "ok"
    np.testing.assert_allclose([result[term].estimate for term in TERMS], expected, atol=2e-4)


def _clustered(seed: int = 1, n_clusters: int = 25) -> pd.DataFrame:
    """Single records: 25 clusters of 3 to 7 items, each answered at four doses, with cluster and item effects."""
    rng = np.random.default_rng(seed)
    rows = []
    for cluster in range(n_clusters):
        shift = rng.normal()
        for item in range(rng.integers(3, 8)):
            own = rng.normal()
            for dose in (0, 1, 2, 4):
                p = 1 / (1 + np.exp(1 - 0.4 * dose - shift - own))
                rows.append((cluster, f"{cluster}-{item}", dose, float(rng.random() < p)))
    return pd.DataFrame(rows, columns=["cluster", "item", "dose", "y"])


@pytest.mark.parametrize("structure", ["Exchangeable", "Independence"])
def test_counts_give_what_statsmodels_gives_on_single_records(structure: str) -> None:
    frame = _clustered()
    x = sm.add_constant(frame[["dose"]].astype(float))
    fitted = sm.GEE(
        frame["y"], x, groups=frame["cluster"], family=sm.families.Binomial(),
        cov_struct=getattr(sm.cov_struct, structure)(),
    ).fit(cov_type="bias_reduced", ctol=1e-10, maxiter=200)  # fmt: skip
    counts = frame.groupby(["cluster", "dose"])["y"].agg(["sum", "count"]).reset_index()
    design = np.column_stack([np.ones(len(counts)), counts["dose"]])
    result = gee(
        counts["sum"], counts["count"], design, counts["cluster"],
        terms=("intercept", "dose"), working=structure.lower(),
    )  # fmt: skip
    assert result.n == len(frame)
    assert result.n_clusters == 25
    for term, name in (("intercept", "const"), ("dose", "dose")):
        assert result[term].estimate == pytest.approx(fitted.params[name], rel=1e-6)
        assert result[term].std_error == pytest.approx(fitted.bse[name], rel=1e-5)
    if structure == "Exchangeable":
        assert result.facts["correlation"] == pytest.approx(fitted.cov_struct.dep_params, rel=1e-5)
    effect = result["marginal_effect dose"]
    margins = fitted.get_margeff()
    assert effect.estimate == pytest.approx(100 * margins.margeff[0], rel=1e-6)
    assert effect.std_error == pytest.approx(100 * margins.margeff_se[0], rel=1e-5)


def test_long_form_and_counts_agree_and_order_does_not_matter() -> None:
    frame = _clustered(seed=4)
    x = np.column_stack([np.ones(len(frame)), frame["dose"]])
    long = gee(frame["y"], np.ones(len(frame)), x, frame["cluster"])
    shuffled = np.random.default_rng(0).permutation(len(frame))
    other = gee(frame["y"][shuffled], np.ones(len(frame)), x[shuffled], frame["cluster"][shuffled])
    np.testing.assert_allclose(
        long.summary["estimate"].astype(float), other.summary["estimate"].astype(float), rtol=1e-9
    )


def test_interval_is_t_on_the_effective_clusters() -> None:
    frame = _clustered()
    x = np.column_stack([np.ones(len(frame)), frame["dose"]])
    result = gee(frame["y"], np.ones(len(frame)), x, frame["cluster"], terms=("intercept", "dose"))
    dose, ratio = result["dose"], result["odds_ratio dose"]
    assert 15 < dose.df < 23
    reach = student.ppf(0.975, dose.df) * dose.std_error
    assert dose.conf_high == pytest.approx(dose.estimate + reach, rel=1e-6)
    assert (ratio.estimate, ratio.conf_low) == pytest.approx((np.exp(dose.estimate), np.exp(dose.conf_low)))
    for entry in (result["intercept"], dose, result["marginal_effect dose"]):
        assert entry.statistic == pytest.approx(entry.estimate / entry.std_error)
        assert entry.p_value == pytest.approx(2 * student.sf(abs(entry.estimate / entry.std_error), entry.df))


def _counts(sizes: list[int]) -> tuple[np.ndarray, ...]:
    """Every cluster answers at doses 0 and 1, a quarter and a half of its records being events, give or take one."""
    n = np.repeat(sizes, 2).astype(float)
    more = np.tile([0, 1, 1, 0], len(sizes))[: len(n)]
    events = n * np.tile([0.25, 0.5], len(sizes)) + more
    return (
        events,
        n,
        np.column_stack([np.ones(len(n)), np.tile([0.0, 1.0], len(sizes))]),
        np.repeat(range(len(sizes)), 2),
    )


def test_degrees_of_freedom_by_hand() -> None:
    # Independent records of one dose design: a cluster's information is its size times the same matrix, so that the
    # effective clusters are Kish's: 80^2 / (40^2 + 4 x 8^2 + 8^2) of sizes 40 and five of 8. At one size they are
    # clusters, and clusters - terms are fewer.
    uneven = gee(*_counts([40, 8, 8, 8, 8, 8]), terms=("intercept", "dose"), working="independence")
    for term in ("intercept", "dose", "marginal_effect dose"):
        assert uneven[term].df == pytest.approx(80**2 / (40**2 + 5 * 8**2) - 1)
    assert gee(*_counts([8] * 6), terms=("intercept", "dose"), working="independence")["dose"].df == 4
    # Five clusters have dose 0 alone: of the slope only the other three tell, of the intercept all.
    events, n, design, cluster = _counts([8] * 8)
    kept = (design[:, 1] == 0) | (cluster < 3)
    part = gee(events[kept], n[kept], design[kept], cluster[kept], terms=("intercept", "dose"), working="independence")
    assert part["intercept"].df == 6
    # Dose 1 is in three clusters of one size; the share at dose 0, of which it is told apart, in eight.
    assert 2 < part["dose"].df < 4


def test_a_cluster_that_tells_most_leaves_no_interval() -> None:
    result = gee(*_counts([400, 8, 8, 8, 8]), terms=("intercept", "dose"), working="independence")
    dose = result["dose"]
    assert dose.std_error is not None
    assert (dose.conf_low, dose.p_value, result["odds_ratio dose"].conf_high) == (None, None, None)
    assert "one cluster tells most of intercept, dose: no interval" in result.status
    _, low, _ = gee_curve(fit_gee(Records.of(*_counts([400, 8, 8, 8, 8]))), np.array([[1.0, 0.5]]), 0.95)
    assert np.isnan(low).all()


def test_the_level_holds_where_templates_differ_in_size() -> None:
    # One template as large as the eleven others: clusters - terms reject 7 of 100 such data sets.
    rng = np.random.default_rng(12)
    sizes = np.array([264, *[24] * 11])
    doses, rejected = np.array([0.0, 8, 12, 13]), 0
    for _ in range(300):
        slopes = rng.normal(0, 0.05, 12)[:, None] * doses
        n = np.repeat(sizes[:, None], 4, axis=1)
        events = rng.binomial(n, expit(rng.normal(-0.7, 1, 12)[:, None] + slopes))
        design = np.column_stack([np.ones(48), np.tile(doses, 12)])
        found = gee(events.ravel(), n.ravel(), design, np.repeat(range(12), 4), working="independence")["x1"]
        rejected += found.p_value is not None and found.p_value < 0.05
    assert rejected <= 15


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_curves_band_is_the_interval_of_the_log_odds(level: float) -> None:
    frame = _clustered()
    # Shifted so that the dose asked for is 0, the intercept is the log-odds there.
    for dose in (0.0, 1.5, 4.0):
        x = np.column_stack([np.ones(len(frame)), frame["dose"] - dose])
        given = (frame["y"], np.ones(len(frame)), x, frame["cluster"])
        there = gee(*given, terms=("intercept", "dose"), working="independence", level=level)["intercept"]
        fit = fit_gee(Records.of(*given), working="independence")
        found = [ends[0] for ends in gee_curve(fit, np.array([[1.0, 0.0]]), level)]
        assert found == pytest.approx(list(expit([there.estimate, there.conf_low, there.conf_high])))
        # From the fit with the dose as it is, the same.
        plain = fit_gee(
            Records.of(frame["y"], np.ones(len(frame)), x + np.array([0, dose]), frame["cluster"]),
            working="independence",
        )
        assert [ends[0] for ends in gee_curve(plain, np.array([[1.0, dose]]), level)] == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(
    ("events", "dose", "cluster", "reason"),
    [
        ([0, 0, 0, 0], [0, 1, 0, 1], "aabb", "never seen"),
        ([5, 5, 5, 5], [0, 1, 0, 1], "aabb", "always seen"),
        ([0, 3, 0, 3], [0, 1, 0, 1], "abcd", "separation"),
        ([2, 3, 1, 3], [1, 1, 1, 1], "abcd", "collinear"),
        ([2, 3, 1, 3], [0, 1, 0, 1], "aaaa", "1 cluster for 2 terms"),
        ([2, 3, 1, 3], [0, 1, 0, 1], "aabb", "2 clusters for 2 terms"),
    ],
)
def test_no_fit_is_named(events: list[int], dose: list[int], cluster: str, reason: str) -> None:
    design = np.column_stack([np.ones(4), dose])
    result = gee(events, [5, 5, 5, 5], design, list(cluster), terms=("intercept", "dose"))
    assert result.estimates == ()
    assert reason in result.status


def test_one_cluster_that_alone_has_a_dose_is_refused() -> None:
    design = np.column_stack([np.ones(6), [0, 0, 0, 0, 0, 1]])
    result = gee([1, 2, 3, 1, 2, 2], [4] * 6, design, list("abcdee"), terms=("intercept", "dose"))
    assert result.estimates == ()
    assert "one cluster alone" in result.status


def test_few_clusters_and_few_events_are_said() -> None:
    design = np.column_stack([np.ones(12), [0, 1] * 6])
    result = gee([0, 1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1], [9] * 12, design, np.repeat(range(6), 2))
    assert "6 clusters" in result.status
    assert "fewer than 10 each" in result.status
    assert result.estimates


def test_missing_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        gee([1.0, np.nan], [2, 2], [[1.0], [1.0]], [0, 1])

"""Firth's penalised logit: against R logistf, against closed forms and a direct maximum, and degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from analysis.inference.firth import firth

# R: logistf::sex2, urinary tract infection (Heinze and Schemper 2002), per pattern of the covariates: their values,
# cases, women.
COVARIATES = ("age", "oc", "vic", "vicl", "vis", "dia")
SEX2 = [
    ("000010", 1, 2), ("001000", 14, 16), ("001010", 3, 4), ("001100", 10, 18), ("001110", 12, 30),
    ("001111", 1, 1), ("010000", 44, 86), ("010001", 3, 3), ("010010", 0, 1), ("011000", 15, 16),
    ("011001", 1, 1), ("011010", 2, 2), ("011100", 7, 12), ("011110", 3, 9), ("101000", 2, 2),
    ("101010", 1, 1), ("101011", 1, 1), ("101100", 1, 3), ("101110", 0, 4), ("101111", 1, 1),
    ("110000", 5, 19), ("110010", 0, 1), ("111000", 3, 4), ("111110", 0, 2),
]  # fmt: skip


def test_estimates_and_profile_intervals_are_those_of_logistf() -> None:
    # R: logistf(case ~ age + oc + vic + vicl + vis + dia, data = sex2); dia separates the outcomes.
    patterns, cases, women = zip(*SEX2, strict=True)
    assert (sum(cases), sum(women)) == (130, 239)
    design = np.array([[1.0, *map(float, pattern)] for pattern in patterns])
    terms = ("intercept", *COVARIATES)
    result = firth(cases, women, design, terms=terms)
    assert result.status == "ok"
    expected = [0.12025405, -1.10598131, -0.06881673, 2.26887464, -2.11140817, -0.78831694, 3.09601166]
    low = [-0.8185591, -1.9737884, -0.9414363, 1.2730216, -3.2608611, -1.6080879, 0.7745682]
    high = [1.07315122, -0.30742514, 0.78920202, 3.43543273, -1.11773495, 0.01518468, 8.03029352]
    assert [result[term].estimate for term in terms] == pytest.approx(expected, rel=1e-5)
    assert [result[term].conf_low for term in terms] == pytest.approx(low, rel=1e-5)
    assert [result[term].conf_high for term in terms] == pytest.approx(high, rel=1e-5)


@pytest.mark.parametrize(("events", "n"), [((3, 0), (10, 12)), ((0, 12), (10, 12)), ((4, 7), (10, 9))])
def test_two_groups_have_half_an_event_added_to_each_cell(events: tuple[int, int], n: tuple[int, int]) -> None:
    # With as many coefficients as groups the penalty is half a record in every cell of the 2 x 2 table.
    odds = [np.log((y + 0.5) / (m - y + 0.5)) for y, m in zip(events, n, strict=True)]
    result = firth(events, n, [[1, 0], [1, 1]], terms=("intercept", "dose"))
    assert result["intercept"].estimate == pytest.approx(odds[0], abs=1e-7)
    assert result["dose"].estimate == pytest.approx(odds[1] - odds[0], abs=1e-7)
    assert result["odds_ratio dose"].estimate == pytest.approx(np.exp(odds[1] - odds[0]), rel=1e-7)


EVENTS, N, DOSE = np.array([0, 0, 1, 5]), np.array([6, 5, 7, 6]), np.array([0.0, 8, 12, 13])


def _penalised(beta: np.ndarray) -> float:
    """log L + 0.5 log det I by its definition, one record at a time."""
    x = np.repeat(np.column_stack([np.ones(4), DOSE]), N, axis=0)
    y = np.concatenate([np.arange(m) < k for k, m in zip(EVENTS, N, strict=True)])
    p = 1 / (1 + np.exp(-x @ beta))
    information = sum(q * (1 - q) * np.outer(row, row) for q, row in zip(p, x, strict=True))
    return float(np.sum(np.where(y, np.log(p), np.log1p(-p))) + 0.5 * np.log(np.linalg.det(information)))


def test_estimate_test_and_interval_are_those_of_a_direct_maximum() -> None:
    result = firth(EVENTS, N, np.column_stack([np.ones(4), DOSE]), terms=("intercept", "dose"))
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxfev": 4000}
    best = minimize(lambda b: -_penalised(b), [-3, 0.2], method="Nelder-Mead", options=options)
    assert [result["intercept"].estimate, result["dose"].estimate] == pytest.approx(best.x, abs=1e-5)

    def profile(slope: float) -> float:
        held = minimize(
            lambda a: -_penalised(np.array([a[0], slope])), [-11 * slope], method="Nelder-Mead", options=options
        )
        return 2 * (held.fun - best.fun)

    dose = result["dose"]
    assert dose.statistic == pytest.approx(profile(0.0), abs=1e-6)
    assert dose.p_value == pytest.approx(chi2.sf(profile(0.0), 1), rel=1e-5)
    # R: qchisq(0.95, 1) = 3.841459
    assert profile(dose.conf_low) == pytest.approx(3.841459, abs=1e-4)
    assert profile(dose.conf_high) == pytest.approx(3.841459, abs=1e-4)


def test_splitting_cells_changes_nothing() -> None:
    design = np.column_stack([np.ones(4), DOSE])
    whole = firth(EVENTS, N, design)
    split = firth(np.repeat(EVENTS / 2, 2), np.repeat(N / 2, 2), np.repeat(design, 2, axis=0))
    np.testing.assert_allclose(
        whole.summary[["estimate", "conf_low"]].to_numpy(float), split.summary[["estimate", "conf_low"]].to_numpy(float)
    )


def test_one_outcome_only_still_has_a_finite_estimate() -> None:
    # No event in 10 and in 20 records: log odds of 0.5 to 10.5 and 0.5 to 20.5.
    result = firth([0, 0], [10, 20], [[1, 0], [1, 1]], terms=("intercept", "dose"))
    assert result["dose"].estimate == pytest.approx(np.log(10.5 / 20.5), abs=1e-6)
    assert result["intercept"].conf_low is None or result["intercept"].conf_low < -4


@pytest.mark.parametrize(
    ("n", "dose", "reason"),
    [([5, 5], [1, 1], "collinear"), ([0, 0], [0, 1], "no record"), ([4, 0], [0, 1], "collinear")],
)
def test_no_fit_is_named(n: list[int], dose: list[int], reason: str) -> None:
    result = firth([0, 0], n, np.column_stack([np.ones(2), dose]))
    assert result.estimates == ()
    assert reason in result.status

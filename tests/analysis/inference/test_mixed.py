"""The mixed logit: against R lme4, against brute-force integration, and where there is no fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import binom, norm
from scipy.stats import t as student

from analysis.inference._logit import Records
from analysis.inference._mixed import MixedLikelihood
from analysis.inference.mixed import mixed_logit

# R: lme4::cbpp, contagious bovine pleuropneumonia: herd, incidence, size, period (Lesnoff et al. 2004).
HERD = (
    [1] * 4
    + [2] * 3
    + [3] * 4
    + [4] * 4
    + [5] * 4
    + [6] * 4
    + [7] * 4
    + [8]
    + [h for h in range(9, 16) for _ in "1234"]
)
INCIDENCE = [
    2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1, 3, 0, 12,
    2, 0, 0, 0, 1, 1, 0, 2, 0, 5, 3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11, 0, 0, 0, 1, 1, 1, 0,
]  # fmt: skip
SIZE = [
    14, 12, 9, 5, 22, 18, 21, 22, 16, 16, 20, 10, 10, 9, 6, 18, 25, 24, 4, 17, 17, 18, 20, 16, 10, 9, 5, 34,
    9, 6, 8, 6, 22, 22, 18, 22, 25, 27, 22, 22, 10, 8, 6, 5, 21, 24, 19, 23, 19, 2, 3, 2, 19, 15, 15, 15,
]  # fmt: skip
PERIOD = [1, 2, 3, 4, 1, 2, 3] + [1, 2, 3, 4] * 5 + [1] + [1, 2, 3, 4] * 7
DESIGN = np.column_stack([np.ones(56), *(np.equal(PERIOD, p) for p in (2, 3, 4))]).astype(float)
TERMS = ("intercept", "period2", "period3", "period4")


def test_one_node_is_the_laplace_likelihood_of_lme4() -> None:
    # R: glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), family = binomial, data = cbpp) gives
    # -1.39853, -0.9923, -1.1287, -1.5803, sd 0.642 and AIC 194.1, so a log-likelihood of (10 - 194.1) / 2 with the
    # binomial coefficients counted in. glmer's default is Laplace's approximation: one node.
    likelihood = MixedLikelihood(Records.of(INCIDENCE, SIZE, DESIGN, HERD), 1)
    found = minimize(
        lambda at: -likelihood(at[:4], at[4])[0], [-1.4, -1, -1, -1.5, 0.6], method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-8, "maxfev": 2000},
    )  # fmt: skip
    assert found.x == pytest.approx([-1.39853, -0.9923, -1.1287, -1.5803, 0.642], abs=5e-4)
    coefficients = binom.logpmf(INCIDENCE, SIZE, 0.5).sum() - np.sum(SIZE) * np.log(0.5)
    assert -found.fun + coefficients == pytest.approx((10 - 194.1) / 2, abs=0.03)


def _brute_force(beta: np.ndarray, sd: float) -> float:
    """Log-likelihood by adaptive integration of each herd's product of binomials, coefficients left out."""
    total = 0.0
    for herd in range(1, 16):
        rows = np.flatnonzero(np.equal(HERD, herd))
        y, n, eta = np.take(INCIDENCE, rows), np.take(SIZE, rows), DESIGN[rows] @ beta

        def integrand(b: float, y=y, n=n, eta=eta) -> float:
            return float(np.exp(np.sum(y * (eta + b) - n * np.logaddexp(0, eta + b)) + norm.logpdf(b, 0, sd)) * 1e12)

        total += np.log(quad(integrand, -8 * sd, 8 * sd, epsabs=0, epsrel=1e-10, limit=400)[0]) - np.log(1e12)
    return total


def test_likelihood_and_its_maximum_are_those_of_brute_force_integration() -> None:
    beta, sd = np.array([-1.2, -0.8, -1.0, -1.4]), 0.8
    likelihood = MixedLikelihood(Records.of(INCIDENCE, SIZE, DESIGN, HERD), 25)
    assert likelihood(beta, sd)[0] == pytest.approx(_brute_force(beta, sd), abs=1e-6)
    result = mixed_logit(INCIDENCE, SIZE, DESIGN, HERD, terms=TERMS, nodes=25)
    start = np.array([*(result[term].estimate for term in TERMS), result["sd"].estimate])
    assert result.facts["log_likelihood"] == pytest.approx(_brute_force(start[:4], start[4]), abs=1e-6)
    for step in 1e-2 * np.eye(5):
        # At a maximum the slope is 0: both sides fall by the same, up to the third order.
        up, down = (_brute_force((start + s * step)[:4], (start + s * step)[4]) for s in (1, -1))
        assert up < result.facts["log_likelihood"] > down
        assert (up - down) / 2e-2 == pytest.approx(0, abs=2e-2)


def test_scores_are_the_derivative_of_the_likelihood() -> None:
    likelihood = MixedLikelihood(Records.of(INCIDENCE, SIZE, DESIGN, HERD), 15)
    at = np.array([-1.2, -0.8, -1.0, -1.4, 0.7])
    score = likelihood(at[:4], at[4])[1].sum(axis=0)
    for i in range(5):
        step = 1e-5 * np.eye(5)[i]
        high, low = (likelihood((at + s * step)[:4], (at + s * step)[4])[0] for s in (1, -1))
        assert score[i] == pytest.approx((high - low) / 2e-5, abs=1e-4)


def test_without_clustering_it_is_the_plain_logit() -> None:
    # Four equal clusters: the intercepts' standard deviation is estimated as 0, and the slope is the log odds ratio
    # of 4 of 10 against 7 of 10, log(7/3) - log(4/6).
    design = np.column_stack([np.ones(8), [0, 1] * 4])
    result = mixed_logit([4, 7] * 4, [10] * 8, design, np.repeat(range(4), 2), terms=("intercept", "dose"))
    assert result["sd"].estimate == pytest.approx(0, abs=1e-2)
    assert result["dose"].estimate == pytest.approx(np.log(7 / 3) - np.log(4 / 6), abs=1e-4)


@pytest.mark.parametrize(
    ("events", "cluster", "reason"),
    [
        ([0, 0, 0, 0], "abcd", "never seen"),
        ([0, 3, 0, 3], "abcd", "separation"),
        ([1, 3, 1, 3], "aaaa", "1 cluster for"),
    ],
)
def test_no_fit_is_named(events: list[int], cluster: str, reason: str) -> None:
    result = mixed_logit(events, [5] * 4, np.column_stack([np.ones(4), [0, 1, 0, 1]]), list(cluster))
    assert result.estimates == ()
    assert reason in result.status


def test_degrees_of_freedom_are_those_of_the_effective_clusters() -> None:
    # One dose design for all: sizes 40 and five of 8 are 80^2 / (40^2 + 5 x 8^2) clusters, as in `test_gee`.
    n = np.repeat([40.0, 8, 8, 8, 8, 8], 2)
    events = n * np.tile([0.25, 0.5], 6) + np.tile([0, 1, 1, 0], 3)
    design = np.column_stack([np.ones(12), np.tile([0.0, 1.0], 6)])
    dose = mixed_logit(events, n, design, np.repeat(range(6), 2), terms=("intercept", "dose"))["dose"]
    assert dose.df == pytest.approx(80**2 / (40**2 + 5 * 8**2) - 1)
    reach = student.ppf(0.975, dose.df) * dose.std_error
    assert (dose.conf_low, dose.conf_high) == pytest.approx((dose.estimate - reach, dose.estimate + reach))

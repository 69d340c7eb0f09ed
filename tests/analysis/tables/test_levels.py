"""The level that a table is asked for is that of its intervals and of its verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import beta, norm
from scipy.stats import t as student

from analysis.inference.paired import mcnemar, tango_interval
from analysis.settings import Settings
from analysis.tables.ability.table import ability
from analysis.tables.changes.table import mcnemar_tests, paired_changes
from analysis.tables.churn.table import churn
from analysis.tables.dose.table import dose_tables
from analysis.tables.groups import group_changes
from analysis.tables.noise.table import noise_floor, replicate_floors
from analysis.tables.uncertainty.model import uncertainty_model
from analysis.tables.uncertainty.table import uncertainty_tables
from tests.analysis.tables.test_changes import PAIR, answers, row
from tests.helpers.answers import items_frame, run_table

ROLES = ("stereotype", "anti_stereotype", "unknown")
BITS = (8, 6, 4, 3)
RUNS = run_table(
    {"run": "dense"},
    {"run": "again"},
    *({"run": f"rtn-{bits}", "baseline": "dense", "method": "rtn", "bits": bits} for bits in BITS),
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Runs that move away from their baseline the fewer their bits, with probabilities, groups and both conditions."""
    rng = np.random.default_rng(5)
    rows = []
    for condition in ("ambig", "disambig"):
        for template in range(16):
            for item in range(rng.integers(4, 9)):
                own = rng.normal(0, 0.8)
                for run in RUNS["run"]:
                    bits = int(run[-1]) if run.startswith("rtn") else 16
                    scores = np.array([own - 1 + 0.15 * (16 - bits) + rng.normal(0, 0.3), rng.normal(0, 0.3) - 1, 0])
                    p = np.exp(scores) / np.exp(scores).sum()
                    two = np.sort(p)[-2:]
                    rows.append(
                        {
                            "run": run, "item": f"{condition}/{template}/{item}", "cluster": f"t{template}",
                            "condition": condition, "role": ROLES[rng.choice(3, p=p)], "margin": two[1] - two[0],
                            "entropy": -(p * np.log2(p)).sum(), "drawn_letter_mass": 1.0,
                            "p_toward": p[0], "p_against": p[1], "p_neutral": p[2],
                        }
                    )  # fmt: skip
    groups = [f"g{i % 3}" for i in range(len(rows) // len(RUNS)) for _ in RUNS["run"]]
    return items_frame(rows).assign(stereotyped_groups=groups)


Tables = Callable[[pd.DataFrame, Settings], dict[str, pd.DataFrame]]
TABLES: dict[str, Tables] = {
    "paired_changes": lambda frame, given: {"": paired_changes(frame, RUNS, replace(given, exchanges=99))},
    "mcnemar_tests": lambda frame, given: {"": mcnemar_tests(frame, RUNS, given)},
    "churn": lambda frame, given: {"": churn(frame, RUNS, given)},
    "noise_floor": lambda frame, given: {"": noise_floor(frame, RUNS, given)},
    "replicates": lambda frame, given: {"": replicate_floors(frame, RUNS, given)},
    "uncertainty": lambda frame, given: uncertainty_tables(frame, RUNS, given),
    "uncertainty_model": lambda frame, given: {"": uncertainty_model(frame, RUNS, given)},
    "ability": lambda frame, given: {"": ability(frame, RUNS, given)},
    "group_changes": lambda frame, given: {"": group_changes(frame, RUNS, given, resamples=200, min_items=1)},
    "dose": lambda frame, given: dose_tables(frame, RUNS, given, flips=99),
}
# Of the breakpoint the interval is there only where the line bends, which hangs on the level.
_NOT_ALWAYS = {"breakpoint_low"}


@pytest.mark.parametrize("name", TABLES)
def test_every_interval_is_wider_at_a_higher_level(name: str, frame: pd.DataFrame) -> None:
    low, high = (TABLES[name](frame, Settings(level=level)) for level in (0.8, 0.99))
    seen = 0
    for table in low:
        for column in low[table].columns:
            if column in _NOT_ALWAYS or not (column.endswith("_low") or column == "null_extreme_quantile"):
                continue
            narrow, wide = (found[table][column].astype(float) for found in (low, high))
            assert (narrow.isna() == wide.isna()).all(), column
            if column == "null_extreme_quantile":
                assert (wide[wide.notna()] >= narrow[wide.notna()]).all()
                continue
            other = column[: -len("_low")] + "_high"
            upper, wider = (found[table][other].astype(float) for found in (low, high))
            # At the end of its range an interval can't be wider: -100 to 100 points, 0 to 1, odds without an end.
            inside = narrow.notna() & upper.notna() & wider.notna()
            assert (wide[inside] <= narrow[inside]).all(), column
            assert (wider[inside] >= upper[inside]).all(), column
            moved = ((wide < narrow) | (wider > upper))[inside]
            assert moved.mean() > 0.9 or not len(moved), column
            seen += int(moved.sum())
    assert seen > 5


# Six templates of four items that all gain two stereotypes, and two that lose one.
GAINS = (["kkkk"] * 6 + ["ksss"] * 2, ["kkss"] * 6 + ["kkss"] * 2)


def test_a_verdict_is_taken_at_the_level_that_is_asked_for() -> None:
    frame = items_frame(answers("a", GAINS[0]) + answers("b", GAINS[1]))
    found = row(paired_changes(frame, PAIR), measure="srs")
    # Moves of +1/2 six times and -1/4 twice, and the unseen one of -1/4: twice P(gamma(6) / 2 < gamma(3) / 4), which
    # is P(B < 1/3) of a beta(6, 3). Two of the seven measures have no change, five p-values are smaller or the same.
    p_value = 2 * beta.cdf(1 / 3, 6, 3)
    assert found["p_value"] == pytest.approx(p_value, abs=1e-6)
    assert 0.05 < found["p_value_holm"] < 0.3
    assert found["verdict"] == "undecided"
    assert row(paired_changes(frame, PAIR, Settings(level=0.7)), measure="srs")["verdict"] == "changed"
    # Changes of +2 six times and -1 twice: sum 10. Of 256 sign patterns, at least as far: by hand all but few turned.
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    assert found["p_exchange"] == float(np.mean(np.abs(np.array([2] * 6 + [1] * 2) @ signs) >= 10))


@pytest.mark.parametrize(("level", "said"), [(0.95, "undecided"), (0.9, "equivalent")])
def test_equivalence_is_told_at_the_level_that_is_asked_for(level: float, said: str) -> None:
    # None of 13 templates changed: (1 - 0.05 / 0.25)^13 = 0.055.
    same = items_frame(answers("a", ["ksks"] * 13) + answers("b", ["ksks"] * 13))
    found = row(paired_changes(same, PAIR, Settings(level=level)), measure="srs")
    assert (found["difference"], found["verdict"]) == (0, said)
    # One interval leaves (1 - level) / 2 on each side, the other 1 - level.
    for name, tail in (("conf_high", (1 - level) / 2), ("equivalence_high", 1 - level)):
        assert found[name] == pytest.approx(0.25 * (1 - tail ** (1 / 13)), abs=1e-5)


def test_what_could_have_been_seen_is_asked_at_the_level_and_family() -> None:
    frame = items_frame(answers("a", GAINS[0]) + answers("b", GAINS[1]))
    seen = {}
    for level in (0.6, 0.8, 0.95):
        found = row(paired_changes(frame, PAIR, Settings(level=level)), measure="srs")
        seen[level] = found["smallest_detectable"]
    assert seen[0.6] < seen[0.8] < seen[0.95] < 1
    # Moves as seen but of that mean, short of it by t standard errors: the p-value is 0.4 / 7, by draws of the weights.
    assert found["family_size"] == 7
    # A share of the 32 answers turns, which adds its own noise.
    turned = seen[0.6] * (1 - seen[0.6]) / 32
    error = np.sqrt(found["std_error"] ** 2 + turned) * student.ppf(0.8, 7)
    moves = np.array([0.5] * 6 + [-0.25] * 2)
    moves += seen[0.6] - error - moves.mean()
    weights = np.random.default_rng(0).exponential(size=(1_000_000, 9))
    # The unseen template falls as far as the farthest seen.
    assert 2 * (weights @ np.append(moves, moves.min()) < 0).mean() == pytest.approx(0.4 / 7, rel=0.02)


def score(lost: int, gained: int, n: int, difference: float) -> float:
    """Tango's statistic of a risk difference: the share of lost pairs under it found by search."""

    def loss(q: float) -> float:
        stayed = n - lost - gained
        return -(gained * np.log(q + difference) + lost * np.log(q) + stayed * np.log(1 - 2 * q - difference))

    bounds = (max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
    q = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return float((gained - lost - n * difference) / np.sqrt(n * (2 * q + difference - difference**2)))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_mcnemars_intervals_are_of_the_level(level: float) -> None:
    result = mcnemar(4, 11, 40, level=level)
    tail = (1 - level) / 2
    shares = beta.ppf([tail, 1 - tail], [11, 12], [5, 4])  # Clopper and Pearson's of 11 of 15
    assert (result["odds_ratio"].conf_low, result["odds_ratio"].conf_high) == pytest.approx(shares / (1 - shares))
    frame = items_frame(answers("a", ["s" * 4 + "k" * 36]) + answers("b", ["k" * 4 + "s" * 11 + "k" * 25]))
    found = row(mcnemar_tests(frame, PAIR, Settings(level=level)), outcome="stereotype")
    assert found[["n_lost", "n_gained", "n_items"]].tolist() == [4, 11, 40]
    assert found[["odds_ratio_low", "odds_ratio_high"]].tolist() == pytest.approx(shares / (1 - shares))
    ends = (result["risk_difference"].conf_low, result["risk_difference"].conf_high)
    assert found[["conf_low", "conf_high"]].tolist() == pytest.approx(list(ends))
    assert ends == tango_interval(4, 11, 40, level=level)
    # At its ends the score statistic is the normal quantile, with the likelihood at its maximum under each end.
    assert [abs(score(4, 11, 40, end)) for end in ends] == pytest.approx([norm.isf(tail)] * 2, rel=1e-5)
    mid = result["odds_ratio_mid_p"]
    assert shares[0] / (1 - shares[0]) < mid.conf_low < 11 / 4 < mid.conf_high < shares[1] / (1 - shares[1])
    assert (result.level, mcnemar(0, 0, 0, level=level).level) == (level, level)

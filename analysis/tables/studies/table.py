"""The two studies' tests as they published them: chi-squared, Cohen's h, logistic regression.

They are here to be reproduced and compared with, not to be trusted: seeds of an item and items of a template
are taken as independent, the same items answered twice as two samples, and no p-value is corrected.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from ...answers.answers import GROUP, Answers
from ...answers.counts import by_run, in_order, sums_of
from ...answers.given import check_runs
from ...answers.measures import SRS
from ...answers.runs import runs_of
from ...schema.declare import ReportTable
from ..sources import ANSWERS, ROLE_RUNS
from .columns import STUDY_LOGISTIC, STUDY_TESTS
from .logistic import NotFittedError, fit_logistic

__all__ = ["STUDY_LOGISTIC_TABLE", "STUDY_TESTS_TABLE", "UNIT", "study_logistic", "study_tests"]

UNIT = "answers treated as independent, as published"
DENSE_BITS = 16.0
"""Bits that a run without quantization enters the regression with: the studies' dense models are BF16."""

ALPHA = 0.05

_BANDS = ((0.2, "negligible"), (0.5, "small"), (0.8, "medium"), (np.inf, "large"))
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (np.inf, "-"))
_COVARIATES = ["base_model", "method", "sparsity", "bits", "is_baseline"]


def study_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Chi-squared with Yates' correction on stereotype or not x baseline or run, and Cohen's h.

    As the studies do it: pooled over seeds and items, counts rebuilt as int(rate x n), which rounding can
    make one too small; Cohen's h = 2 (asin sqrt p - asin sqrt p_baseline) with the bands 0.2, 0.5, 0.8
    (Cohen 1988); p-values two-sided and uncorrected. Only answers that name an option count, and items
    without known roles are left out.

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.

    Returns:
        Table STUDY_TESTS: one row per run, task, filter, condition and category, and for category 'all'.
        Where a margin of the 2 x 2 table is 0 there is no test, and `status` says why.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    listed = runs_of(runs, answers)
    if not any(run.baseline for run in listed):
        return STUDY_TESTS.empty()
    own, base = by_run(answers, listed)
    table = _tests(own, base)
    table["baseline"] = table["run"].map({run.label: run.baseline for run in listed})
    table = table[(table["subset"] == "all") & table["baseline"].notna()]
    table = in_order(table, runs, ("task", "filter", "condition", "category"))
    return STUDY_TESTS.conform(table[STUDY_TESTS.names])


def study_logistic(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Logistic regressions of 'stereotype chosen' in the two studies' forms, per task, filter and condition.

    Form bits: baselines (as 16 bits) and quantized runs of all models pooled, on bits and category dummies.
    Form sparsity: one base model at a time, its baselines (as sparsity 0) and pruned runs, on sparsity in
    percent, category and method dummies. Runs that both prune and quantize are in neither. Records are
    answers that name an option, of items with known roles, taken as independent.

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run, base_model, method ('none' for a dense run), sparsity in
            [0, 1), bits and is_baseline.

    Returns:
        Table STUDY_LOGISTIC. A model that can't be fitted (one level of bits or sparsity, collinear terms,
        separation, no convergence) is one row without a term and numbers, whose status says why.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    listed = runs_of(runs, answers)
    if not listed:
        return STUDY_LOGISTIC.empty()
    check_runs(runs, ("run", *_COVARIATES))
    counts, _ = by_run(answers, listed)
    counts = counts[(counts["subset"] == "all") & (counts["category"] != "all")]
    records = counts.merge(runs[["run", *_COVARIATES]], on="run")
    dense = records["is_baseline"].astype(bool)
    sparse, quantized = records["sparsity"].notna(), records["bits"].notna()
    records = records.fillna({"sparsity": 0.0, "bits": DENSE_BITS})
    q_form, p_form = records[dense | (quantized & ~sparse)], records[dense | (sparse & ~quantized)]
    parts = [_fit_rows(group, keys, "bits", "all") for keys, group in q_form.groupby(GROUP[:-1], sort=True)] + [
        _fit_rows(group, keys[1:], "sparsity", str(keys[0]))
        for keys, group in p_form.groupby(["base_model", *GROUP[:-1]], sort=True)
    ]
    return STUDY_LOGISTIC.conform(pd.concat(parts)) if parts else STUDY_LOGISTIC.empty()


def _tests(own: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """The tests of counts with the same rows."""
    out = own[["run", "subset", *GROUP]].assign(unit=UNIT)
    for suffix, counts in (("_baseline", base), ("", own)):
        n = counts["n_answered"]
        out[f"n{suffix}"] = n
        out[f"srs{suffix}"] = SRS.value(sums_of(counts))
        out[f"count{suffix}"] = np.trunc(out[f"srs{suffix}"] * n)
    out["srs_delta"] = out["srs"] - out["srs_baseline"]
    cells = zip(out["count_baseline"], out["n_baseline"], out["count"], out["n"], strict=True)
    results = [_chi2(*row) for row in cells]
    out[["min_expected", "chi2", "p_value", "status"]] = pd.DataFrame(results, index=out.index)
    out["cohens_h"] = 2 * (np.arcsin(np.sqrt(out["srs"])) - np.arcsin(np.sqrt(out["srs_baseline"])))
    out["significant"] = (out["p_value"] < ALPHA).astype("boolean").mask(out["p_value"].isna())
    out["significance"] = [_band(p, _STARS) for p in out["p_value"]]
    out["effect_size"] = [_band(abs(h), _BANDS) for h in out["cohens_h"]]
    return out


def _chi2(old: float, n_old: float, new: float, n_new: float) -> tuple[float, float, float, str]:
    """Smallest expected count, statistic, p-value and status of one 2 x 2 table."""
    if n_old == 0 or n_new == 0:
        return (
            np.nan,
            np.nan,
            np.nan,
            f"no answered item {'at baseline' if n_old == 0 else 'after compression'}",
        )
    table = np.array([[old, n_old - old], [new, n_new - new]])
    if old + new in (0, n_old + n_new):
        return np.nan, np.nan, np.nan, f"the stereotype is {'never' if old + new == 0 else 'always'} chosen"
    statistic, p_value, _, expected = chi2_contingency(table, correction=True)
    return float(expected.min()), float(statistic), float(p_value), "ok"


def _band(value: float, bands: tuple[tuple[float, str], ...]) -> str | None:
    """Name of the first band whose upper end lies above the value; None for a missing value."""
    return next((name for end, name in bands if value < end), None)


def _fit_rows(records: pd.DataFrame, keys: tuple[Hashable, ...], form: str, model: str) -> pd.DataFrame:
    """The rows of one regression."""
    used = records[records["n_answered"] > 0]
    design, reference = _design(used, form)
    events, n = (counts.astype(np.int64) for counts in SRS.counts(sums_of(used)))
    try:
        if used.empty:
            raise NotFittedError("no answered records")
        if used[form].nunique() < 2:
            raise NotFittedError(f"one level of {form} only, compared with nothing")
        rows = fit_logistic(design, events, n).assign(status="ok")
    except NotFittedError as error:
        rows = pd.DataFrame({"status": [f"not fitted: {error}"]})
    for name, key in zip(GROUP, keys, strict=False):
        rows[name] = str(key)
    per_model = records.groupby(["base_model", "category"])["n_items"].max()
    rows = rows.assign(form=form, base_model=model, unit=UNIT, reference=reference, n=n.sum(), n_events=events.sum())
    rows = rows.assign(n_runs=used["run"].nunique(), n_items=per_model.sum())
    return rows.reindex(columns=STUDY_LOGISTIC.names)


def _design(records: pd.DataFrame, form: str) -> tuple[pd.DataFrame, str]:
    """Terms of each record group, and the dummies' reference levels in words."""
    dose = records["bits"] if form == "bits" else 100 * records["sparsity"]
    out = {"const": 1.0, "bits" if form == "bits" else "sparsity_percent": dose.astype(float)}
    categories = sorted(records["category"].unique())
    out |= {f"category_{name}": (records["category"] == name).astype(float) for name in categories[1:]}
    reference = f"category {categories[0]}" if categories else "none"
    if form == "sparsity":
        methods = sorted(set(records["method"]) - {"none"})
        out |= {f"method_{name}": (records["method"] == name).astype(float) for name in methods}
        reference += ", method none"
    return pd.DataFrame(out, index=records.index), reference


STUDY_TESTS_TABLE = ReportTable(
    STUDY_TESTS,
    (ANSWERS, ROLE_RUNS),
    study_tests,
    reading=(
        "SRS from {srs_baseline:share} to {srs:share}, {p_value:p} as published, answers taken as independent",
        "SRS from {srs_baseline:share} to {srs:share}, no test",
    ),
)
STUDY_LOGISTIC_TABLE = ReportTable(
    STUDY_LOGISTIC,
    (ANSWERS, ROLE_RUNS),
    study_logistic,
    reading=(
        "odds times {odds_ratio:g} ({odds_ratio_low:g} to {odds_ratio_high:g}), {p_value:p} as published, "
        "answers taken as independent",
        "odds times {odds_ratio:g} as published, answers taken as independent",
    ),
)

"""What compression changed against the baseline, item by item, with tests that respect pairs and templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis._answers import STATES, Answers
from analysis._changes_tables import MCNEMAR_TESTS, PAIRED_CHANGES, ROLE_TESTS
from analysis.columns import Table
from analysis.inference._strata import COUNT_NAMES, Stratum, strata
from analysis.inference.clusters import NO_CHANGE, jackknife_change, sign_flips
from analysis.inference.effects import PROPORTIONS, cohens_h, measures_of, span_of
from analysis.inference.equivalence import MARGIN, smallest_detectable, tost, unchanged, verdict
from analysis.inference.multiplicity import benjamini_hochberg, holm
from analysis.inference.paired import mcnemar
from analysis.inference.result import Result
from analysis.inference.square import bowker, stuart_maxwell

__all__ = ["MCNEMAR_TESTS", "PAIRED_CHANGES", "ROLE_TESTS", "mcnemar_tests", "paired_changes", "role_tests"]

_ROLES = STATES[:3]
_ENDS = {"estimate": "", "conf_low": "_low", "conf_high": "_high"}
_UNKNOWN = STATES.index("unknown")


def paired_changes(
    items: pd.DataFrame | Answers,
    runs: pd.DataFrame,
    *,
    margin: float = MARGIN,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every measure of every run with its baseline, templates as the unit of independence.

    A row takes the templates as independent of each other and nothing else: items of a template and seeds of an item
    may move together, and both runs answer the same items. Difference and Cohen's h have the jackknife's interval, the
    test of no change exchanges the runs template by template (`analysis.inference.clusters`), and the equivalence test
    uses the jackknife's error. Where no template changed there is no such error: interval and equivalence then say
    what so many unchanged templates allow (`analysis.inference.equivalence.unchanged`).

    Args:
        items: ITEMS frame of all runs, BBQ-like rows only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        margin: Difference that counts as none, in the measures' unit (0.05 is five points). A choice that the reader
            has to make; nothing in the data says what matters.
        level: Of the intervals; 1 - level is the level of the verdicts.
        draws: Exchanges of the test.
        seed: Of these.

    Returns:
        Table PAIRED_CHANGES. Where a measure is undefined or hangs on one template the row says so in `status`.
        p-values are corrected over all runs and categories of one task, filter, condition and measure; rows of pooled
        categories ("all") are a family of their own, since they are the same answers once more.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    rows = []
    for stratum in strata(items, runs):
        before, after = stratum.clustered()
        measures = measures_of(stratum.condition)
        tests = sign_flips(before, after, measures, draws=draws, seed=seed)
        for name, statistic in measures.items():
            row = _change(jackknife_change(before, after, statistic, level=level), margin, span_of(name))
            row |= _numbers(tests[name].estimates, {"p_value": "p_value"})
            if name in PROPORTIONS:
                angle = jackknife_change(before, after, cohens_h(name), level=level)
                row |= _numbers(angle.estimates, _ENDS, "cohens_h")
            rows.append({**_keys(stratum), "measure": name, **row})
    frame = _corrected(rows, PAIRED_CHANGES, "measure")
    if frame.empty:
        return PAIRED_CHANGES.empty()
    # A missing p-value is NaN here, and below nothing.
    both = frame[["p_value_holm", "p_equivalence"]].astype(float).itertuples(index=False)
    frame["verdict"] = [verdict(p, q, alpha=1 - level) for p, q in both]
    return PAIRED_CHANGES.conform(frame)


def mcnemar_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """McNemar's test per run, category and outcome, one answer an item; arguments as for `paired_changes`.

    Returns:
        Table MCNEMAR_TESTS.
    """
    rows = []
    for stratum in strata(items, runs):
        single, old, new, tied = _plurality(stratum)
        right = _correctness(stratum) if single else None
        outcomes = {name: (old == STATES.index(name), new == STATES.index(name)) for name in ("stereotype", "unknown")}
        if right is not None:
            outcomes["correct"] = right
        for name, (yes_before, yes_after) in outcomes.items():
            lost, gained = int((yes_before & ~yes_after).sum()), int((~yes_before & yes_after).sum())
            test = mcnemar(lost, gained, len(yes_before), level=level)
            found = {estimate.term: estimate for estimate in test.estimates}
            row = _numbers(
                test.estimates[:1],
                {"estimate": "risk_difference", "conf_low": "conf_low", "conf_high": "conf_high", "p_value": "p_value"},
            )
            odds = found.get("odds_ratio")
            row |= _numbers(
                (odds,) if odds else (), {"estimate": "", "conf_low": "_low", "conf_high": "_high"}, "odds_ratio"
            )
            row |= {"p_value_mid": found["mid_p"].p_value if found else None, "n_lost": lost, "n_gained": gained}
            row |= {"n_items": len(yes_before), "n_tied": tied, "unit": _unit(single), "status": test.status}
            rows.append({**stratum.keys, "outcome": name, **row})
    return _conformed(_corrected(rows, MCNEMAR_TESTS, "outcome"), MCNEMAR_TESTS)


def role_tests(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Stuart-Maxwell's and Bowker's test per run and category; arguments as for `paired_changes`.

    Returns:
        Table ROLE_TESTS.
    """
    rows = []
    for stratum in strata(items, runs):
        single, old, new, tied = _plurality(stratum)
        size = len(_ROLES)
        table = np.bincount(old * size + new, minlength=size * size).reshape(size, size)
        for name, test in (("stuart_maxwell", stuart_maxwell(table)), ("bowker", bowker(table))):
            row = _numbers(test.estimates, {"statistic": "statistic", "df": "df", "p_value": "p_value"})
            row |= {"n_items": len(old), "n_tied": tied, "n_discordant": int((old != new).sum())}
            rows.append({**stratum.keys, "test": name, **row, "unit": _unit(single), "status": test.status})
    return _conformed(_corrected(rows, ROLE_TESTS, "test"), ROLE_TESTS)


def _change(change: Result, margin: float, span: float) -> dict[str, object]:
    """Effect, equivalence and smallest detectable change of one measure, whose range is `span` wide."""
    names = ("std_error", "df", "conf_low", "conf_high")
    row = _numbers(change.estimates, {"estimate": "difference", **{name: name for name in names}})
    row |= {"status": change.status, "margin": margin, **change.facts}
    alpha = 1 - change.level
    if change.status == NO_CHANGE:
        templates = change.n_clusters or 0
        bound = unchanged(templates, margin, span=span, alpha=alpha / 2)["difference"]
        row |= {"conf_low": bound.conf_low, "conf_high": bound.conf_high, "p_equivalence": bound.p_value}
    error, df = row["std_error"], row["df"]
    if isinstance(error, float) and isinstance(df, float):
        tested = tost(change["difference"].estimate or 0.0, error, df, margin, alpha=alpha)
        row["p_equivalence"] = tested["difference"].p_value
        row["smallest_detectable"] = smallest_detectable(error, df, alpha=alpha)
    return row


def _plurality(stratum: Stratum) -> tuple[bool, npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Role of each item in both runs; whether items have one answer, and how many are left out as tied."""
    pair = stratum.pair
    answered = (pair.baseline <= _UNKNOWN) & (pair.run <= _UNKNOWN)
    items, place, counts = np.unique(pair.item[answered], return_inverse=True, return_counts=True)
    roles, clear = [], np.ones(len(items), dtype=bool)
    for state in (pair.baseline, pair.run):
        votes = np.bincount(place * 3 + state[answered], minlength=3 * len(items)).reshape(len(items), 3)
        roles.append(votes.argmax(axis=1))
        clear &= (votes == votes.max(axis=1, keepdims=True, initial=0)).sum(axis=1) == 1
    return bool((counts == 1).all()), roles[0][clear], roles[1][clear], int((~clear).sum())


def _correctness(stratum: Stratum) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether each keyed item of one answer is right, before and after."""
    keyed, correct = COUNT_NAMES.index("keyed"), COUNT_NAMES.index("correct")
    both = (stratum.before[:, keyed] == 1) & (stratum.after[:, keyed] == 1)
    return stratum.before[both, correct] == 1, stratum.after[both, correct] == 1


def _keys(stratum: Stratum) -> dict[str, object]:
    total = COUNT_NAMES.index("n")
    return {
        **stratum.keys,
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
        "n_baseline": int(stratum.before[:, total].sum()),
        "n": int(stratum.after[:, total].sum()),
    }


def _corrected(rows: list[dict[str, object]], table: Table, kind: str) -> pd.DataFrame:
    """Rows as a frame of the table's columns, p-values corrected per family."""
    frame = pd.DataFrame(rows, columns=table.names)
    raw = frame["p_value"].to_numpy(dtype=float)
    by_holm, by_bh, sizes = np.full(len(raw), np.nan), np.full(len(raw), np.nan), np.zeros(len(raw), dtype=int)
    names = np.full(len(raw), "", dtype=object)
    for place, family in _families(frame, kind):
        by_holm[place], by_bh[place] = holm(raw[place]), benjamini_hochberg(raw[place])
        names[place], sizes[place] = family, int((~np.isnan(raw[place])).sum())
    return frame.assign(p_value_holm=by_holm, p_value_bh=by_bh, family=names, family_size=sizes)


def _families(frame: pd.DataFrame, kind: str) -> Iterator[tuple[npt.NDArray[np.int64], str]]:
    """What is corrected together: all runs and categories of one task, filter, condition and measure, or all pools."""
    pooled = frame["category"] == "all"
    groups = frame.groupby(["task", "filter", "condition", kind, pooled], sort=False)
    for keys, place in groups.indices.items():
        task, name, condition, what, pool = cast("tuple[str, str, str, str, bool]", keys)
        several = "all runs, categories pooled" if pool else "all runs and categories"
        yield np.asarray(place), f"{what} of {task}, {name}, {condition}: {several}"


def _numbers(estimates: tuple[object, ...], names: dict[str, str], prefix: str = "") -> dict[str, object]:
    """Fields of the first estimate under their columns' names; missing without one."""
    first = estimates[0] if estimates else None
    return {prefix + column: getattr(first, field, None) for field, column in names.items()}


def _conformed(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    return table.empty() if frame.empty else table.conform(frame)


def _unit(single: bool) -> str:
    return "item" if single else "item, plurality"

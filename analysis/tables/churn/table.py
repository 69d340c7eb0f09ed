"""Flips taken apart: what evens out (churn), what is left (net shift), and flips behind an unchanged average."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import AXES, Answers
from ...answers.given import check_table
from ...answers.strata import ALL_NAMED, Stratum, by_cluster, strata
from ...inference._rounding import settled
from ...inference.clusters import Statistic, jackknife, jackknife_change
from ...inference.equivalence import tost, unchanged
from ...inference.multiplicity import benjamini_hochberg
from ...schema.declare import ReportTable
from ...settings import Settings
from ..noise.floors import chances
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import CHURN, MASKED_FLIPS

__all__ = ["CHURN", "CHURN_TABLE", "MASKED_FLIPS", "MASKED_FLIPS_TABLE", "churn", "masked_flips"]

Floats = npt.NDArray[np.float64]
OUTCOMES = {"stereotype": (AXES.index("toward"),), "named": (AXES.index("toward"), AXES.index("against"))}
"""What counts as biased: an answer toward the stereotype, or (PostTrainingBiasBench) any that names somebody."""
_ROUNDS = 1000
_FEWEST = 10
"""Items below which the published test is not made."""


def churn(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Take the flips of every run apart.

    With flip rate f and net shift d, U to B is (f + d) / 2 and B to U (f - d) / 2; churn is f - |d|, which an average
    never shows. Beside the flips of the logs stands what the exact probabilities lead one to expect of texts: of the
    baseline and an independent repetition of itself (the floor, all churn), and of baseline and run.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline.
        settings: Of intervals and equivalence (of the net shift); the seed is that of the published test.

    Returns:
        Table CHURN.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    rows = [_row(*flips, given) | _floor(answers, *flips[:2], given.level) for flips in _flips(answers, runs)]
    return CHURN.conform(pd.DataFrame(rows, columns=CHURN.names)) if rows else CHURN.empty()


def masked_flips(table: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Flips behind an unchanged average, from table CHURN.

    Args:
        table: CHURN; pooled rows (category all) are left out where there are others.
        settings: 1 - level is the level of both rules.

    Returns:
        Table MASKED_FLIPS: per run, task, filter, condition and outcome, one row a rule. The published rule corrects
        over all cells of one outcome; a cell that it has no p-value for is not unmoved by it.

    Raises:
        UserError: If the frame is not CHURN.
    """
    check_table(table, CHURN.name, CHURN.names)
    if table.empty:
        return MASKED_FLIPS.empty()
    alpha = (settings or Settings()).alpha
    cells = table[table["category"] != "all"].copy()
    raw = cells["p_published"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    corrected = np.full(len(cells), np.nan)
    for outcome in OUTCOMES:
        family = (cells["outcome"] == outcome).to_numpy(bool)
        corrected[family] = benjamini_hochberg(raw[family])
    equivalent = cells["p_equivalence"].to_numpy(dtype=float, na_value=np.nan) < alpha
    rules = {"equivalent": equivalent, "not_significant": corrected >= alpha}
    flips = cells["n_to_biased"] + cells["n_from_biased"]
    keys = [name for name in MASKED_FLIPS.names[:6] if name != "outcome"] + ["outcome"]
    rows = []
    for values, group in cells.assign(flips=flips).groupby(keys, sort=False):
        for rule, unmoved in rules.items():
            kept = group[unmoved[cells.index.get_indexer(group.index)]]
            n, flipped = int(kept["n"].sum()), int(kept["flips"].sum())
            row = dict(zip(keys, values, strict=True))
            row |= {"rule": rule, "n_categories": len(group), "n_unmoved": len(kept), "n": n, "n_flips": flipped}
            pairs = int(group["n"].sum())
            row |= {"masked_rate": flipped / n if n else None}
            row |= {"flip_rate": int(group["flips"].sum()) / pairs if pairs else None}
            rows.append({**row, "status": "ok" if n else "no category whose average is unmoved by this rule"})
    return MASKED_FLIPS.conform(pd.DataFrame(rows, columns=MASKED_FLIPS.names))


def published_p_value(to_biased: int, from_biased: int, n: int, *, seed: int = 0) -> float:
    """The benchmark's test of a share: items resampled, runs exchanged with probability 1/2, 1,000 times.

    A resample holds Binomial(n, flips / n) flips, each of which the exchange gives either sign, so the rounds are drawn
    from their distribution rather than item by item. p is the share of rounds at least as far from 0, and 1/1000 at the
    least, as published. Items count as independent, so it rejects too often where templates move (docs/validity.md).

    Args:
        to_biased: Pairs U, then B.
        from_biased: Pairs B, then U.
        n: Pairs, at least 1.
        seed: Of the rounds.
    """
    rng = np.random.default_rng(seed)
    flips = rng.binomial(n, (to_biased + from_biased) / n, size=_ROUNDS)
    sums = 2 * rng.binomial(flips, 0.5) - flips
    return max(1 / _ROUNDS, float((np.abs(sums) >= abs(to_biased - from_biased)).mean()))


def _flips(
    answers: Answers, runs: pd.DataFrame
) -> Iterator[tuple[Stratum, str, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]]]:
    """Strata and outcomes: whether each pair is biased at baseline and after, and the pair's place in the stratum."""
    for stratum in strata(answers, runs):
        pair = stratum.pair
        answered = pair.both_answered
        place = np.searchsorted(stratum.item, pair.item[answered])
        for name, states in OUTCOMES.items():
            before, after = (np.isin(state[answered], states) for state in (pair.baseline, pair.run))
            yield stratum, name, before, after, place


def _row(
    stratum: Stratum,
    outcome: str,
    before: npt.NDArray[np.bool_],
    after: npt.NDArray[np.bool_],
    place: npt.NDArray[np.int64],
    given: Settings,
) -> dict[str, object]:
    to, back = ~before & after, before & ~after
    columns = np.stack([np.ones(len(before)), to, back, ~before, before], axis=1).astype(float)
    sums = by_cluster(columns, stratum.cluster[place], stratum.n_clusters)
    sums = sums[sums[:, 0] > 0]
    n_items = len(np.unique(place))
    row: dict[str, object] = {
        **stratum.keys,
        "outcome": outcome,
        "n_items": n_items,
        "n_clusters": len(sums),
        "n": len(before),
        "n_to_biased": int(to.sum()),
        "n_from_biased": int(back.sum()),
        "margin": given.margin,
    }
    if not len(before):
        return {**row, "status": "no pair of answers"}
    if outcome == "named" and stratum.all_named:
        return {**row, "status": ALL_NAMED}
    if not (to | back).any():
        row["p_equivalence"] = unchanged(len(sums), given.margin)["difference"].p_value
    for name, statistic in _STATISTICS.items():
        found = jackknife(sums, statistic, level=given.level)
        estimate = found.estimates[0] if found.estimates else None
        row[name] = getattr(estimate, "estimate", None)
        row |= {
            f"{name}_low": getattr(estimate, "conf_low", None),
            f"{name}_high": getattr(estimate, "conf_high", None),
        }
        if name == "net_shift" and estimate is not None and estimate.std_error and estimate.df:
            tested = tost(estimate.estimate or 0.0, estimate.std_error, estimate.df, given.margin, alpha=given.alpha)
            row["p_equivalence"] = tested["difference"].p_value
    row["churn"] = 2 * min(int(to.sum()), int(back.sum())) / len(before)
    if n_items >= _FEWEST:
        row["p_published"] = published_p_value(int(to.sum()), int(back.sum()), len(before), seed=given.seed)
    return {**row, "status": "ok" if len(sums) > 1 else "one template only: no interval"}


def _floor(answers: Answers, stratum: Stratum, outcome: str, level: float) -> dict[str, object]:
    """What the probabilities lead one to expect; empty without any, or where every answer is biased."""
    if outcome == "named" and stratum.all_named:
        return {}
    one = np.ones(len(stratum.item))
    base, run = (chances(answers, label, stratum.item, one) for label in (stratum.baseline, stratum.run))
    known = base.known & run.known
    # A sum of probabilities is 1 up to rounding, which must not leave a hair of the rest.
    rest = (settled(1 - side.axes[:, list(OUTCOMES[outcome])].sum(axis=1), 1) for side in (base, run))
    p, q = (1 - np.clip(without, 0, 1) for without in rest)
    own, both = base.mass**2, base.mass * run.mass
    columns = [own * 2 * p * (1 - p), own, both * (p * (1 - q) + q * (1 - p)), both]
    columns += [own * p * (1 - p), own * (1 - p), own * p]
    sums = by_cluster(np.stack(columns, axis=1)[known], stratum.cluster[known], stratum.n_clusters)
    sums = sums[sums[:, 1] > 0]
    if not len(sums):
        return {}
    excess = jackknife_change(sums[:, :2], sums[:, 2:4], level=level)
    _, _, _, _, flips, unbiased, biased = sums.sum(axis=0)
    estimate = excess.estimates[0] if excess.estimates else None
    return {
        "flip_rate_floor": excess.facts["value_baseline"],
        "flip_rate_expected": excess.facts["value"],
        "flip_rate_excess": getattr(estimate, "estimate", None),
        "flip_rate_excess_low": getattr(estimate, "conf_low", None),
        "flip_rate_excess_high": getattr(estimate, "conf_high", None),
        "to_rate_floor": flips / unbiased if unbiased > 0 else None,
        "from_rate_floor": flips / biased if biased > 0 else None,
    }


def _of(top: tuple[float, ...], bottom: int) -> Statistic:
    """A weighted sum of the columns over one of them."""

    def value(sums: Floats) -> Floats:
        trials = sums[..., bottom]
        events = sums @ np.array(top)
        out: Floats = np.divide(events, trials, out=np.full(np.shape(trials), np.nan), where=trials > 0.5)
        return out

    return value


# Columns: pairs, U to B, B to U, U at baseline, B at baseline.
_STATISTICS = {
    "flip_rate": _of((0, 1, 1, 0, 0), 0),
    "net_shift": _of((0, 1, -1, 0, 0), 0),
    "to_rate": _of((0, 1, 0, 0, 0), 3),
    "from_rate": _of((0, 0, 1, 0, 0), 4),
}


CHURN_TABLE = ReportTable(
    CHURN,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    churn,
    reading=("{flip_rate:%} of {n} answers flipped, {net_shift:points} on the whole; {churn:%} even out",),
)
MASKED_FLIPS_TABLE = ReportTable(
    MASKED_FLIPS,
    (CHURN_TABLE, SETTINGS),
    masked_flips,
    reading=(
        "{masked_rate:%} of answers flipped in the {n_unmoved} of {n_categories} categories whose average did not move",
    ),
)

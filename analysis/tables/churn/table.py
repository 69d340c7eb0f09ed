"""Flips taken apart: what evens out (churn), what is left (net shift), and flips behind an unchanged average."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import Answers
from ...answers.given import check_table
from ...answers.strata import ALL_NAMED, Stratum, by_cluster
from ...inference._rounding import settled
from ...inference.bounded import interval, within
from ...inference.clusters import jackknife_change
from ...inference.multiplicity import benjamini_hochberg
from ...schema.declare import ReportTable
from ...settings import Settings
from ..noise.floors import chances
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import CHURN, MASKED_FLIPS
from .flips import OUTCOMES, Flips, churn_of, flips_of, net_shift, share

__all__ = ["CHURN", "CHURN_TABLE", "MASKED_FLIPS", "MASKED_FLIPS_TABLE", "churn", "masked_flips"]

Floats = npt.NDArray[np.float64]
_ROUNDS = 1000
_FEWEST = 10
"""Items below which the published test is not made."""


def churn(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Take the flips of every run apart.

    With flip rate f and net shift d, U to B is (f + d) / 2 and B to U (f - d) / 2; churn is f - |d|, which an average
    never shows. Beside the flips of the logs stands what the exact probabilities lead one to expect of texts: of the
    baseline and an independent repetition of itself (the floor, all churn), and of baseline and run.

    Rates have intervals by templates, with a bound where nothing flipped (`analysis.inference.proportion.shares`). That
    the net shift lies within the margin is tested by `analysis.inference.bounded`, with missing answers at their worst.

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
    rows = [
        _row(flips, given) | _floor(answers, flips.stratum, flips.outcome, given.level)
        for flips in flips_of(answers, runs)
    ]
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


def _row(flips: Flips, given: Settings) -> dict[str, object]:
    stratum, both = flips.stratum, flips.both
    before, after = (side[both] for side in flips.biased)
    to, back = ~before & after, before & ~after
    columns = np.stack([np.ones(len(before)), to, back, ~before, before], axis=1).astype(float)
    sums = by_cluster(columns, flips.cluster[both], stratum.n_clusters)
    sums = sums[sums[:, 0] > 0]
    n_items, n = len(np.unique(flips.item[both])), len(before)
    row: dict[str, object] = {
        **stratum.keys,
        "outcome": flips.outcome,
        "n_items": n_items,
        "n_clusters": len(sums),
        "n": n,
        "missing_pairs": 1 - n / len(both) if len(both) else None,
        "n_to_biased": int(to.sum()),
        "n_from_biased": int(back.sum()),
        "margin": given.margin,
        "reach": given.reach,
    }
    if not n:
        return {**row, "status": "no pair of answers"}
    if flips.outcome == "named" and stratum.all_named:
        return {**row, "status": ALL_NAMED}
    of = partial(share, unit=flips.unit, given=given)
    pairs, gained, lost, unbiased, biased = sums.T
    rates = {
        "flip_rate": of(gained + lost, pairs),
        "to_rate": of(gained, unbiased),
        "from_rate": of(lost, biased),
        "net_shift": net_shift(sums[:, :3], flips, given),
        "churn": churn_of(of(gained, pairs), of(lost, pairs)),
    }
    for name, told in rates.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), told, strict=True))
    low, high = (flips.moves(raised=raised, reach=given.reach) for raised in (False, True))
    ends = interval(low, high, 1 - 2 * given.alpha)
    row |= {"p_equivalence": within(low, high, given.margin), "equivalence_low": ends[0], "equivalence_high": ends[1]}
    if n_items >= _FEWEST:
        row["p_published"] = published_p_value(int(to.sum()), int(back.sum()), n, seed=given.seed)
    notes = [] if len(sums) > 1 else ["one template only: no interval of rates"]
    if high.estimate - low.estimate >= 2 * given.margin:
        missing = 100 * (1 - n / len(both))
        notes.append(f"{missing:.0f} % of the pairs unanswered: that alone leaves open more than the margin allows")
    return {**row, "status": "; ".join(notes) or "ok"}


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
        "flip_rate_excess_low": _inside(getattr(estimate, "conf_low", None)),
        "flip_rate_excess_high": _inside(getattr(estimate, "conf_high", None)),
        "to_rate_floor": flips / unbiased if unbiased > 0 else None,
        "from_rate_floor": flips / biased if biased > 0 else None,
    }


def _inside(end: float | None) -> float | None:
    """An end of an interval, inside the range of a change."""
    return None if end is None else min(1.0, max(-1.0, end))


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

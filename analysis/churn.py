"""Flips taken apart: what evens out (churn), what is left (net shift), and flips behind an unchanged average."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis._answers import STATES, Answers
from analysis._changes_tables import KEYS
from analysis.columns import Table, count, number, text
from analysis.inference._strata import Stratum, by_cluster, strata
from analysis.inference.clusters import Statistic, jackknife
from analysis.inference.equivalence import MARGIN, tost
from analysis.inference.multiplicity import benjamini_hochberg

__all__ = ["CHURN", "MASKED_FLIPS", "churn", "masked_flips"]

Floats = npt.NDArray[np.float64]
_KNOWN = STATES.index("unknown")
OUTCOMES = {"stereotype": (STATES.index("stereotype"),), "named": (0, 1)}
"""What counts as biased: the stereotypical option, or (PostTrainingBiasBench) any person or group."""
_ROUNDS = 1000

_STATUS = text("status", "'ok', or why the row holds no or only part of a result.")
_OUTCOME = text("outcome", "What counts as biased (B; the rest is U): stereotype, or named (any person or group).")

CHURN = Table(
    name="churn",
    doc="Flips of paired answers between biased (B) and not (U), as churn plus net shift.",
    columns=(
        *KEYS,
        _OUTCOME,
        count("n_items", "Items with at least one pair."),
        count("n_clusters", "Templates that they form: the unit of independence of the intervals."),
        count("n", "Pairs: answers of one item and seed that name an option in both runs."),
        count("n_to_biased", "Pairs U, then B."),
        count("n_from_biased", "Pairs B, then U."),
        number("flip_rate", "(n_to_biased + n_from_biased) / n; in [0, 1]."),
        number("flip_rate_low", "Lower end of its interval: jackknife over templates."),
        number("flip_rate_high", "Upper end."),
        number("net_shift", "(n_to_biased - n_from_biased) / n; in [-1, 1]."),
        number("net_shift_low", "Lower end of its interval."),
        number("net_shift_high", "Upper end."),
        number("churn", "flip_rate - |net_shift|: flips that even out."),
        number("to_rate", "P(B after | U at baseline)."),
        number("to_rate_low", "Lower end of its interval."),
        number("to_rate_high", "Upper end."),
        number("from_rate", "P(U after | B at baseline)."),
        number("from_rate_low", "Lower end of its interval."),
        number("from_rate_high", "Upper end."),
        number("p_equivalence", "p-value of two one-sided t-tests that net_shift lies within the margin."),
        number("margin", "The margin."),
        number("p_published", "p-value of the benchmark's own test, which exchanges runs and resamples items."),
        _STATUS,
    ),
)

MASKED_FLIPS = Table(
    name="masked_flips",
    doc="Flips in those categories whose average did not move: by a claim of equivalence, and as published by a "
    "difference that is not significant.",
    columns=(
        *(column for column in KEYS if column.name != "category"),
        _OUTCOME,
        text(
            "rule",
            "equivalent (two one-sided tests at 0.05 within the margin), or not_significant: as published, a test that "
            "exchanges runs and resamples items, Benjamini-Hochberg at 0.05, where absence of proof counts as proof.",
        ),
        count("n_categories", "Categories of the run."),
        count("n_unmoved", "Those whose average did not move by the rule."),
        count("n", "Pairs in them."),
        count("n_flips", "Flips in them."),
        number("masked_rate", "n_flips / n; missing without such a category."),
        number("flip_rate", "Flips of all categories, per pair."),
        _STATUS,
    ),
)


def churn(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, *, margin: float = MARGIN, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Take the flips of every run apart.

    With flip rate f and net shift d, U to B is (f + d) / 2 and B to U (f - d) / 2; churn is f - |d|, which an average
    never shows.

    Args:
        items: ITEMS frame of all runs, BBQ-like rows only, or the Answers made from it.
        runs: One row per run with columns run and baseline.
        margin: Net shift that counts as none.
        level: Of the intervals.
        seed: Of the published test's draws.

    Returns:
        Table CHURN.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    rows = [_row(*given, margin, level, seed) for given in _flips(items, runs)]
    return CHURN.conform(pd.DataFrame(rows, columns=CHURN.names)) if rows else CHURN.empty()


def masked_flips(table: pd.DataFrame, *, alpha: float = 0.05) -> pd.DataFrame:
    """Flips behind an unchanged average, from table CHURN.

    Args:
        table: CHURN; pooled rows (category all) are left out where there are others.
        alpha: Level of both rules.

    Returns:
        Table MASKED_FLIPS: per run, task, filter, condition and outcome, one row a rule. The published rule corrects
        over all cells of the table.
    """
    if table.empty:
        return MASKED_FLIPS.empty()
    cells = table[table["category"] != "all"].copy()
    corrected = benjamini_hochberg(cells["p_published"].to_numpy(dtype=float, na_value=np.nan))
    equivalent = cells["p_equivalence"].to_numpy(dtype=float, na_value=np.nan) < alpha
    nothing = (cells["n_to_biased"] + cells["n_from_biased"] == 0).to_numpy(bool)
    rules = {"equivalent": equivalent | nothing, "not_significant": ~(corrected < alpha)}
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
    items: pd.DataFrame | Answers, runs: pd.DataFrame
) -> Iterator[tuple[Stratum, str, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]]]:
    """Strata and outcomes: whether each pair is biased at baseline and after, and the pair's place in the stratum."""
    for stratum in strata(items, runs):
        pair = stratum.pair
        answered = (pair.baseline <= _KNOWN) & (pair.run <= _KNOWN)
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
    margin: float,
    level: float,
    seed: int,
) -> dict[str, object]:
    to, back = ~before & after, before & ~after
    columns = np.stack([np.ones(len(before)), to, back, ~before, before], axis=1).astype(float)
    sums = by_cluster(columns, stratum.cluster[place], stratum.n_clusters)
    sums = sums[sums[:, 0] > 0]
    row: dict[str, object] = {
        **stratum.keys,
        "outcome": outcome,
        "n_items": len(np.unique(place)),
        "n_clusters": len(sums),
        "n": len(before),
        "n_to_biased": int(to.sum()),
        "n_from_biased": int(back.sum()),
        "margin": margin,
    }
    if not len(before):
        return {**row, "status": "no pair of answers"}
    for name, statistic in _STATISTICS.items():
        found = jackknife(sums, statistic, level=level)
        estimate = found.estimates[0] if found.estimates else None
        row[name] = getattr(estimate, "estimate", None)
        row |= {
            f"{name}_low": getattr(estimate, "conf_low", None),
            f"{name}_high": getattr(estimate, "conf_high", None),
        }
        if name == "net_shift" and estimate is not None and estimate.std_error and estimate.df:
            tested = tost(estimate.estimate or 0.0, estimate.std_error, estimate.df, margin, alpha=1 - level)
            row["p_equivalence"] = tested["difference"].p_value
    row["churn"] = 2 * min(int(to.sum()), int(back.sum())) / len(before)
    row["p_published"] = published_p_value(int(to.sum()), int(back.sum()), len(before), seed=seed)
    return {**row, "status": "ok" if len(sums) > 1 else "one template only: no interval"}


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

"""How often each role is chosen: the studies' rates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..answers.answers import GROUP, Answers
from ..answers.counts import COUNTS, by_run, in_order, sums_of
from ..answers.measures import ACC, ANTI_RATE, SRS, UNPARSED_RATE, USR, Measure
from ..answers.runs import Run, runs_of
from ..inference.proportion import LEVEL, Shares, mean_of_shares, shares
from ..schema.columns import Column, Table, count, ends, text
from ..schema.declare import ReportTable
from ..schema.shared import (
    CATEGORY,
    CONDITION,
    FILTER,
    N_CATEGORIES,
    N_ITEMS,
    OWN_BASELINE,
    RESPONSE_ENTROPY,
    RUN,
    SUBSET,
    TASK,
    N,
    against_baseline,
)
from ..settings import Settings
from .measured import measure_column
from .sources import ANSWERS, ROLE_RUNS, SETTINGS

__all__ = ["RATES", "RATES_TABLE", "rates"]


_MEASURES = (SRS, USR, ANTI_RATE, UNPARSED_RATE, ACC)


_MADE = (
    "By templates: jackknife in log-odds, no shorter than what as many templates without the event allow, or with "
    "nothing else; of category_mean from its categories, which are independent."
)


def _interval(column: Column) -> tuple[Column, ...]:
    """A share and its interval."""
    return (column, *ends(column.name, _MADE))


RATES = Table(
    name="rates",
    doc="Shares of the chosen roles per run, task, filter, condition, category, aggregate and subset.",
    columns=(
        RUN,
        OWN_BASELINE,
        TASK,
        FILTER,
        CONDITION,
        CATEGORY,
        text(
            "aggregate",
            "none (one category), pooled (all answers), category_mean (plain mean of the categories).",
        ),
        SUBSET,
        N_CATEGORIES,
        N_ITEMS.here("Their direction is told."),
        N.here("n_answered + n_unparsed + n_unscored."),
        count(
            "n_answered",
            "Answers that name an option, n_toward + n_against + n_neutral + n_off: the denominator of srs, usr and "
            "anti_rate.",
        ),
        count("n_unparsed", "Texts in which no option was found."),
        count("n_unscored", "Items without a usable score."),
        count("n_undetermined", "Answers left out because the item's direction is not told."),
        count("n_toward", "Answers that pick an option toward the stereotype (BBQ: stereotype)."),
        count("n_against", "Answers that pick one against it (BBQ: anti_stereotype)."),
        count("n_neutral", "Answers that pick one on neither side (BBQ: unknown)."),
        count("n_off", "Answers that pick one that is no answer to the question (BBQ has none)."),
        count("n_keyed", "Answers to items with a keyed option: the denominator of acc."),
        *(column for measure in _MEASURES for column in _interval(measure_column(measure))),
        RESPONSE_ENTROPY,
        *against_baseline("srs", percent=True),
        *against_baseline("usr", percent=True),
        *against_baseline("anti_rate", percent=True),
        *against_baseline("unparsed_rate"),
        *against_baseline("acc"),
        *against_baseline("response_entropy"),
    ),
)


_COMPARED = [*(measure.name for measure in _MEASURES), "response_entropy"]


_PARTS = ("low", "high", "error", "df")
_OUTER = ["run", "subset", "task", "filter", "condition"]


def rates(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Shares of answers toward and against the stereotype, neutral, unparsed and right ones, with intervals.

    Definitions: `analysis.answers.measures`. Items whose direction is not told are left out and their answers
    counted. Rows are made per category, for all answers of a task and condition pooled, and
    as the studies' plain mean over the categories that have items; each over all items and the latent ones.

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run and baseline (missing for a baseline).
        settings: Level and reach of the intervals, which take templates as independent.

    Returns:
        Table RATES in the order of `runs`. A rate with denominator 0 is missing, and so is one of an axis that no
        item offers an option on, and a mean over categories if one of them has items but no rate. A run without a
        baseline has no latent rows and no baseline values unless others are compared with it: then it is its own
        baseline.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    listed = runs_of(runs, answers)
    if not listed:
        return RATES.empty()
    given = settings or Settings()
    own, base = by_run(answers, listed)
    table, before = _with_means(_with_ends(_rates(own), answers, listed, given), given.level), _with_means(_rates(base))
    for name in _COMPARED:
        old = before[name]
        table[f"{name}_baseline"] = old
        table[f"{name}_delta"] = table[name] - old
        if f"{name}_pct_change" in RATES.names:
            table[f"{name}_pct_change"] = 100 * table[f"{name}_delta"] / old.where(old != 0)
    table["baseline"] = table["run"].map({run.label: run.baseline for run in listed})
    table = in_order(table, runs, ("task", "filter", "condition", "subset", "category", "rank"))
    return RATES.conform(table[RATES.names])


def _rates(counts: pd.DataFrame) -> pd.DataFrame:
    """Rates, and the number of categories with items, from counts."""
    out = counts.copy()
    sums = sums_of(counts)
    for measure in _MEASURES:
        out[measure.name] = np.where(_offered(counts, measure), measure.value(sums), np.nan)
    out["response_entropy"] = _entropy(counts.filter(regex=r"^choice_\d+$"))
    pooled = out["category"] == "all"
    out["aggregate"] = np.where(pooled, "pooled", "none")
    out["rank"] = pooled.astype(int)
    populated = (~pooled & (out["n_items"] > 0)).groupby([out[name] for name in _OUTER]).transform("sum")
    out["n_categories"] = populated.where(pooled, 1)
    return out


def _offered(counts: pd.DataFrame, measure: Measure) -> npt.NDArray[np.bool_]:
    """Nobody can take an option that is not there: such a rate is missing, not 0."""
    out = np.ones(len(counts), dtype=bool)
    for axis in measure.axes:
        out &= (counts[f"offers_{axis}"] > 0).to_numpy(bool)
    return out


def _with_ends(table: pd.DataFrame, answers: Answers, listed: list[Run], settings: Settings) -> pd.DataFrame:
    """Add intervals by templates, and the errors and degrees of freedom that means are made of."""
    keys = ["run", "subset", *GROUP]
    templates, _ = by_run(answers, listed, [*GROUP, "cluster"])
    numbered = table[keys].assign(code=np.arange(len(table)))
    code = templates[keys].merge(numbered, on=keys, how="left", sort=False)["code"].to_numpy(np.int64)
    sums = sums_of(templates)
    each = (table["n"] / table["n_items"].where(table["n_items"] > 0)).fillna(1.0).to_numpy(np.float64)
    out = table.copy()
    for measure in _MEASURES:
        events, trials = measure.counts(sums)
        found = shares(code, events, trials, len(table), level=settings.level, reach=settings.reach, unit=each)
        there = _offered(table, measure)
        for name, column in zip(_PARTS, (found.low, found.high, found.std_error, found.df), strict=True):
            out[f"{measure.name}_{name}"] = np.where(there, column, np.nan)
    return out


def _with_means(table: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
    """Add the plain means over categories, missing where a category with items has no value.

    With a level the means have intervals, made of the categories' errors.
    """
    counted = table[(table["aggregate"] == "none") & (table["n_items"] > 0)]
    grouped = counted.groupby(_OUTER, sort=False)
    groups = grouped[_COMPARED]
    means = groups.mean().where(groups.count().eq(groups.size(), axis=0))
    code, size = np.asarray(grouped.ngroup(), dtype=np.int64), grouped.ngroups
    for measure in () if level is None else _MEASURES:
        low, high, error, df = (counted[f"{measure.name}_{name}"].to_numpy(np.float64) for name in _PARTS)
        parts = Shares(value=counted[measure.name].to_numpy(np.float64), std_error=error, df=df, low=low, high=high)
        found = mean_of_shares(code, parts, size, level=level or LEVEL)
        means[f"{measure.name}_low"], means[f"{measure.name}_high"] = found.low, found.high
    pooled = table.loc[table["aggregate"] == "pooled", [*_OUTER, *COUNTS, "n_categories"]]
    rows = pooled.join(means, on=_OUTER).assign(category="all", aggregate="category_mean", rank=2)
    return pd.concat([table, rows], ignore_index=True)


def _entropy(choices: pd.DataFrame) -> pd.Series[float]:
    """Shannon entropy in bits of each row's counts; missing for a row of zeros."""
    total = choices.sum(axis=1)
    share = choices.div(total.where(total > 0), axis=0)
    # 0 log 0 is 0; a row without answers must stay missing, which the sum alone would turn into 0.
    bits = (share * -np.log2(share.where(share > 0))).sum(axis=1)
    return bits.where(total > 0)


RATES_TABLE = ReportTable(
    RATES,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    rates,
    reading=(
        "SRS {srs:share}, USR {usr:share} of {n_answered} answers; accuracy {acc:share}",
        "SRS {srs:share} of {n_answered} answers; accuracy {acc:share}",
        "SRS {srs:share}, USR {usr:share} of {n_answered} answers",
        "SRS {srs:share} of {n_answered} answers",
        "accuracy {acc:share} of {n_keyed} answers",
        "{n_answered} of {n} answers name an option, no share of them is defined",
    ),
)

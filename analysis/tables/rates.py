"""How often each role is chosen: the studies' rates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..answers.answers import Answers
from ..answers.counts import COUNTS, by_run, in_order, sums_of
from ..answers.measures import ACC, ANTI_RATE, SRS, UNPARSED_RATE, USR
from ..answers.runs import runs_of
from ..inference.proportion import wilson
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
from .measured import measure_column
from .sources import ANSWERS, ROLE_RUNS

__all__ = ["RATES", "RATES_TABLE", "rates"]


_MEASURES = (SRS, USR, ANTI_RATE, UNPARSED_RATE, ACC)


def _interval(column: Column) -> tuple[Column, ...]:
    """A share and its interval."""
    return (column, *ends(column.name, "95 %, Wilson, answers taken as independent; none for means."))


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


_OUTER = ["run", "subset", "task", "filter", "condition"]


def rates(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """Shares of answers toward and against the stereotype, neutral, unparsed and right ones, with intervals.

    Definitions: `analysis.answers.measures`. Items whose direction is not told are left out and their answers
    counted. Rows are made per category, for all answers of a task and condition pooled, and
    as the studies' plain mean over the categories that have items; each over all items and the latent ones.

    Args:
        items: ITEMS frame of all runs, rows with a direction only.
        runs: One row per run with columns run and baseline (missing for a baseline).

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
    own, base = by_run(answers, listed)
    table, before = _with_means(_rates(own)), _with_means(_rates(base))
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
    """Rates with intervals, and the number of categories with items, from counts."""
    out = counts.copy()
    sums = sums_of(counts)
    for measure in _MEASURES:
        low, high = wilson(*measure.counts(sums))
        values = {measure.name: measure.value(sums), f"{measure.name}_low": low, f"{measure.name}_high": high}
        # Nobody can take an option that is not there: such a rate is missing, not 0.
        offered = np.all([counts[f"offers_{axis}"] > 0 for axis in measure.axes], axis=0)
        out = out.assign(**{name: np.where(offered, column, np.nan) for name, column in values.items()})
    out["response_entropy"] = _entropy(counts.filter(regex=r"^choice_\d+$"))
    pooled = out["category"] == "all"
    out["aggregate"] = np.where(pooled, "pooled", "none")
    out["rank"] = pooled.astype(int)
    populated = (~pooled & (out["n_items"] > 0)).groupby([out[name] for name in _OUTER]).transform("sum")
    out["n_categories"] = populated.where(pooled, 1)
    return out


def _with_means(table: pd.DataFrame) -> pd.DataFrame:
    """Add the plain means over categories, missing where a category with items has no value."""
    counted = table[(table["aggregate"] == "none") & (table["n_items"] > 0)]
    groups = counted.groupby(_OUTER, sort=False)[_COMPARED]
    means = groups.mean().where(groups.count().eq(groups.size(), axis=0))
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
    (ANSWERS, ROLE_RUNS),
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

"""Whom the changes concern: net shift and flips per stereotyped group and per group that an option names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t

from ..answers.answers import Answers
from ..answers.membership import BLOCK, Members, by_option, by_stereotype, counted, joint
from ..answers.runs import runs_of
from ..inference._rounding import RELATIVE
from ..inference.clusters import FEWEST_EFFECTIVE
from ..inference.shrinkage import shrink
from ..inference.simultaneous import Ratios, null_extremes, ratios, simultaneous_quantiles
from ..schema.columns import Table, count, number, text
from ..schema.declare import ReportTable
from ..schema.shared import (
    CONF_HIGH,
    CONF_LOW,
    DF,
    FAMILY,
    FAMILY_SIZE,
    FLIP_RATE,
    KEYS,
    LEVEL,
    N_CLUSTERS,
    N_ITEMS,
    OUTCOME,
    SEED,
    STATUS,
    STD_ERROR,
    N,
)
from ..settings import Settings
from .sources import ANSWERS, ROLE_RUNS, SETTINGS

__all__ = ["GROUP_CHANGES", "GROUP_CHANGES_TABLE", "group_changes"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEIGHTING = "each group counts the item fully"
RESAMPLES = 2000
"""Resamples of templates, and as many sign flips: quantiles of a maximum, where thousands are enough."""
FEWEST_ITEMS = 50
"""Items below which a group is listed and not tested."""
_FAMILY = "groups with status ok of one run, task, filter, condition, kind and outcome"


GROUP_CHANGES = Table(
    name="group_changes",
    doc="Answers that became biased or unbiased, by the people that the item or the chosen option names.",
    columns=(
        *KEYS[:-1],
        KEYS[-1].here("A group's name is read within its category."),
        text(
            "kind",
            "stereotyped (people that the item's stereotype is about) or option (people that an option of the "
            "item names).",
        ),
        text("group", "A group of people, as the item's metadata spells it."),
        OUTCOME.here(
            "Yes is biased. Kind stereotyped: non_unknown (the answer names a person) or stereotype (it "
            "names the stereotype's). Kind option: named (the chosen option names the group).",
        ),
        text("weighting", "How an item of several groups counts."),
        N_ITEMS.here("Of the group, with at least one pair of answers."),
        N.here("Pairs that both name an option."),
        N_CLUSTERS,
        count("n_unbiased_baseline", "Pairs unbiased at baseline."),
        count("n_biased_baseline", "Pairs biased at baseline."),
        count("n_unbiased_to_biased", "Pairs unbiased at baseline and biased after compression."),
        count("n_biased_to_unbiased", "Pairs biased at baseline and unbiased after compression."),
        number("unbiased_to_biased_rate", "n_unbiased_to_biased / n_unbiased_baseline; in [0, 1]."),
        number("biased_to_unbiased_rate", "n_biased_to_unbiased / n_biased_baseline; in [0, 1]."),
        FLIP_RATE.here("(n_unbiased_to_biased + n_biased_to_unbiased) / n."),
        number("net_shift_points", "100 (n_unbiased_to_biased - n_biased_to_unbiased) / n, in points, -100 to 100."),
        STD_ERROR.here("Of net_shift_points, by template."),
        DF.here("Effective number of templates, (sum n)^2 / sum n^2, minus 1."),
        CONF_LOW.here("Of net_shift_points, for this group alone, by Student's t."),
        CONF_HIGH,
        number("simultaneous_low", "Lower end of an interval that holds for all groups of the family at once."),
        number("simultaneous_high", "Upper end."),
        number("shrunken", "net_shift_points drawn towards the family's mean by empirical Bayes, in points."),
        number("shrunken_low", "Lower end of its posterior interval, by the group's own degrees of freedom."),
        number("shrunken_high", "Upper end."),
        number("tau", "Estimated standard deviation of the true net shifts in the family, in points."),
        number("null_extreme_mean", "Mean of the family's largest |net_shift| when nothing changed, in points."),
        number("null_extreme_quantile", "Its quantile at `level`: a larger one would be rare by chance."),
        FAMILY.here("The simultaneous interval, the shrinkage and the null's extreme are about it."),
        FAMILY_SIZE,
        LEVEL,
        count("resamples", "Resamples of templates, and as many sign flips."),
        SEED,
        STATUS.here("A group that is not ok has no interval and is not in the family."),
    ),
)


def group_changes(
    items: pd.DataFrame | Answers,
    runs: pd.DataFrame,
    settings: Settings | None = None,
    *,
    resamples: int = RESAMPLES,
    min_items: int = FEWEST_ITEMS,
) -> pd.DataFrame:
    """Transitions by group, raw and shrunken, with intervals that hold for all groups at once.

    Groups come from the items' metadata, never from their text, and an item of several groups counts in full
    for each. The net shift is the benchmark's (share unbiased to biased minus share the other way, in points).
    Beside the raw estimate stand: its cluster-robust interval; the estimate shrunken towards the family's mean
    (`analysis.inference.shrinkage`); simultaneous intervals by max-T over resamples of templates; and the largest
    |net shift| that the family would show if nothing had changed (sign flips of templates). A real change
    widens the sign-flip spread, so that the null's extreme is then, if anything, too large.

    Args:
        items: ITEMS frame of all runs with columns stereotyped_groups ("a | b") and option_groups
            ("a || b | c || "), or the Answers made from it. Kind stereotyped leaves out items whose roles are
            not known.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Level of the intervals, and the seed.
        resamples: Resamples of templates, and as many sign flips.
        min_items: Groups with fewer items are listed with their counts, without intervals, outside the family.

    Returns:
        Table GROUP_CHANGES, in the order of `runs`, then sorted; no rows where no item names a group.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    kinds = [*by_stereotype(answers), *by_option(answers)]
    parts = []
    for run in runs_of(runs, answers):
        if run.baseline is None:
            continue
        roles, choices = joint(answers, run)
        for members in kinds:
            table = choices if members.kind == "option" else roles
            for keys, rows in _families(answers, members, table, given, resamples, min_items):
                parts.append(rows.assign(run=run.label, baseline=run.baseline, **keys))
    if not parts:
        return GROUP_CHANGES.empty()
    whole = pd.concat(parts).assign(weighting=WEIGHTING, family=_FAMILY)
    whole = whole.assign(level=given.level, resamples=resamples, seed=given.seed)
    return GROUP_CHANGES.conform(whole[GROUP_CHANGES.names])


def _families(
    answers: Answers,
    members: Members,
    table: Ints,
    given: Settings,
    resamples: int,
    min_items: int,
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Per task, filter and condition, the rows of its groups."""
    template = answers.items.groupby(["category", "cluster"], sort=True).ngroup().to_numpy()
    for keys, block in members.labels.groupby(BLOCK, sort=True):
        named = {name: str(key) for name, key in zip(BLOCK, keys, strict=True)}
        chosen = np.flatnonzero(np.isin(members.group, block.index))
        counts = counted(table[members.item[chosen]], members.biased[chosen])
        if not counts[:, 0].any():
            continue
        place = np.searchsorted(block.index.to_numpy(), members.group[chosen])
        cluster, used = pd.factorize(template[members.item[chosen]], sort=True)
        shape = (len(used), len(block))
        sums = np.stack([_spread(column, cluster, place, shape) for column in counts.T])
        category = pd.factorize(block["category"])[0]
        home = np.zeros(len(used), dtype=np.int64)
        home[cluster] = category[place]
        rows = block[["category", "group"]].reset_index(drop=True)
        rows["n_items"] = np.bincount(place, weights=counts[:, 0] > 0, minlength=len(block))
        known = ratios(100 * (sums[2] - sums[3]), sums[0])
        rows = _measured(rows, sums, known, min_items)
        rows = _with_family(rows, sums, known, home, given, resamples)
        yield {**named, "kind": members.kind, "outcome": members.outcome}, rows


def _spread(values: Floats, cluster: Ints, place: Ints, shape: tuple[int, int]) -> Floats:
    """Sum values into [clusters, groups]."""
    flat = np.bincount(cluster * shape[1] + place, weights=values, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), dtype=np.float64)


def _measured(rows: pd.DataFrame, sums: Floats, known: Ratios, min_items: int) -> pd.DataFrame:
    """Counts, rates, net shift with its standard error, and status; `sums` is [4, clusters, groups]."""
    n, biased, gained, lost = sums.sum(axis=1)
    rows["n"], rows["n_biased_baseline"], rows["n_unbiased_baseline"] = n, biased, n - biased
    rows["n_unbiased_to_biased"], rows["n_biased_to_unbiased"] = gained, lost
    with np.errstate(divide="ignore", invalid="ignore"):
        rows["unbiased_to_biased_rate"] = gained / (n - biased)
        rows["biased_to_unbiased_rate"] = lost / biased
        rows["flip_rate"] = (gained + lost) / n
    rows["net_shift_points"], rows["n_clusters"] = known.ratio, known.clusters
    reasons = [
        (n == 0, "no answered pair"),
        (rows["n_items"] < min_items, f"fewer than {min_items} items"),
        (known.clusters < 2, "one template: no interval"),
        (~(known.effective >= FEWEST_EFFECTIVE * (1 - RELATIVE)), "one template has most of its pairs: no interval"),
        (gained + lost == 0, "no answer changed: no interval"),
        (~(known.std_error > 0), "templates do not differ: no interval"),
    ]
    rows["status"] = np.select([when for when, _ in reasons], [why for _, why in reasons], default="ok")
    ok = rows["status"] == "ok"
    rows["std_error"], rows["df"] = np.where(ok, known.std_error, np.nan), np.where(ok, known.effective - 1, np.nan)
    return rows


def _with_family(
    rows: pd.DataFrame, sums: Floats, known: Ratios, home: Ints, given: Settings, resamples: int
) -> pd.DataFrame:
    """Add intervals, shrinkage and the null's extreme over the groups with status ok."""
    inside = np.flatnonzero(rows["status"] == "ok")
    rows["family_size"] = len(inside)
    names = ["conf_low", "conf_high", "simultaneous_low", "simultaneous_high"]
    shrunk = ["shrunken", "shrunken_low", "shrunken_high", "tau"]
    rows[[*names, *shrunk, "null_extreme_mean", "null_extreme_quantile"]] = np.nan
    if not len(inside):
        return rows
    level, seed = given.level, given.seed
    net, n = 100 * (sums[2] - sums[3])[:, inside], sums[0][:, inside]
    shift, error, effective = known.ratio[inside], known.std_error[inside], known.effective[inside]
    single = t.isf((1 - level) / 2, effective - 1)
    joint = simultaneous_quantiles(net, n, home, level=level, resamples=resamples, seed=seed)
    ends = [shift - single * error, shift + single * error, shift - joint * error, shift + joint * error]
    rows.loc[inside, names] = np.clip(np.stack(ends, axis=1), -100, 100)
    posterior = shrink(shift, known.covariance[np.ix_(inside, inside)], effective, effective - 1, level)
    if posterior is not None:
        drawn = np.stack([posterior.mean, posterior.low, posterior.high], axis=1)
        rows.loc[inside, shrunk[:3]] = np.clip(drawn, -100, 100)
        rows.loc[inside, "tau"] = posterior.tau
    largest = null_extremes(net, n, flips=resamples, seed=seed)
    rows.loc[inside, "null_extreme_mean"] = largest.mean()
    rows.loc[inside, "null_extreme_quantile"] = np.quantile(largest, level)
    return rows


GROUP_CHANGES_TABLE = ReportTable(
    GROUP_CHANGES,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    group_changes,
    reading=(
        "net shift {net_shift_points:+} points ({conf_low:+} to {conf_high:+}); "
        "{n_unbiased_to_biased} of {n} answers became biased, {n_biased_to_unbiased} unbiased",
    ),
)

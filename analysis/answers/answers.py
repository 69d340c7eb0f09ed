"""Answers by role, counted per run and item: the one form that measures, transitions and studies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import UserError
from ..schema.schemes import AXES, UNDETERMINED
from .given import check_items
from .match import match_codes
from .options import with_options

__all__ = ["AXES", "COUNT_NAMES", "GROUP", "LATENT_SRS", "SCORES", "STATES", "Answers", "Pair"]

STATES = (*AXES, UNDETERMINED, "unparsed", "unscored")
"""What an answer can be; 'undetermined' is an option whose axis is not told."""

COUNT_NAMES = (*AXES, "answered", "n", "keyed", "correct", "unparsed")
"""Columns of `Answers.matrix`: answers by axis, on any of them, all answers, those with a key, right ones, and texts
without an answer."""

GROUP = ["task", "filter", "condition", "category"]
"""What rows are made per, besides the run."""

LATENT_SRS = 0.2
"""Baseline item SRS from which the studies call an item's bias latent: one seed in five."""

SCORES = (
    "p_toward",
    "p_against",
    "p_neutral",
    "p_off",
    "p_key",
    "letter_mass",
    "drawn_letter_mass",
    "entropy",
    "margin",
)
"""What a run says of an item as a whole: columns of ITEMS that are the same for all its seeds."""

_UNDETERMINED, _UNPARSED, _UNSCORED = (STATES.index(name) for name in (UNDETERMINED, "unparsed", "unscored"))
_ITEM = ["task", "filter", "item_id"]
NEEDED = (
    "run",
    *_ITEM,
    "seed",
    "category",
    "condition",
    "status",
    "choice",
    "axis",
    "option_axes",
    "determined",
    "correct",
)
"""Columns of ITEMS without which there are no answers to count."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Answers of two runs, matched by item and seed."""

    item: npt.NDArray[np.int64]
    baseline: npt.NDArray[np.int8]
    """State of the baseline's answer, an index into STATES."""
    run: npt.NDArray[np.int8]
    baseline_choice: npt.NDArray[np.int16]
    """The option that the baseline chose; -1 unless it answered."""
    run_choice: npt.NDArray[np.int16]
    unpaired: npt.NDArray[np.int64]
    """Per item, the answers of either run without a partner."""

    @property
    def both_answered(self) -> npt.NDArray[np.bool_]:
        """Whether both named an option that lies on an axis."""
        both: npt.NDArray[np.bool_] = (self.baseline < len(AXES)) & (self.run < len(AXES))
        return both

    @property
    def same_choice(self) -> npt.NDArray[np.bool_]:
        """Whether both chose the same option; only meaningful where both answered."""
        same: npt.NDArray[np.bool_] = self.baseline_choice == self.run_choice
        return same

    def where(self, chosen: npt.NDArray[np.bool_]) -> Pair:
        """These pairs only; `unpaired` stays that of all items."""
        columns = ("item", "baseline", "run", "baseline_choice", "run_choice")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers, sorted by run, item and seed, so that no result depends on the order of the rows."""

    items: pd.DataFrame
    """One row per item of a task: GROUP, item_id, cluster, `determined` (whether its direction is told),
    stereotyped_groups, option_groups and scheme as in ITEMS (None where missing), and what its options offer
    (`analysis.answers.options`)."""
    rows: pd.DataFrame
    """One row per answer: key (item and seed in one), item, drawn (with a seed), state, choice (-1: none), keyed,
    correct."""
    scores: dict[str, pd.DataFrame]
    """Of each run, the SCORES of its items in the order of `items`; NaN where the run has none."""
    spans: dict[str, slice]
    """Rows of each run."""
    n_choices: int

    @classmethod
    def of(cls, items: pd.DataFrame | Answers) -> Answers:
        """Read an ITEMS frame; answers that were read already are given back, so that several tables share them.

        An item is determined where `determined` is true in every answer to it, in every run; a missing value
        counts as false. What was answered has no say in it.

        Raises:
            UserError: If a run answers an item twice with the same seed, or the frame is none of answers.
        """
        if isinstance(items, Answers):
            return items
        check_items(items, NEEDED)
        run, labels = pd.factorize(items["run"], sort=True)
        keys = pd.DataFrame({name: items[name].astype("category") for name in _ITEM})
        item = np.asarray(keys.groupby(_ITEM, observed=True).ngroup(), dtype=np.int64)
        seed = pd.factorize(items["seed"], sort=True, use_na_sentinel=True)[0] + 1
        state = _states(items)
        n_seeds = int(seed.max(initial=0)) + 1
        rows = pd.DataFrame(
            {
                "key": item * n_seeds + seed,
                "item": item,
                "drawn": seed > 0,
                "state": state,
                "choice": items["choice"].where(items["status"] == "answered").fillna(-1).to_numpy(np.int16),
                "keyed": items["correct"].notna().to_numpy(bool),
                "correct": items["correct"].fillna(False).to_numpy(bool),
            }
        )
        order = np.lexsort((rows["key"].to_numpy(), run))
        bounds = np.searchsorted(run[order], np.arange(len(labels) + 1))
        spans = {str(label): slice(bounds[i], bounds[i + 1]) for i, label in enumerate(labels)}
        table = _item_table(items, item)
        scores = _scores(items, order, rows["item"].to_numpy()[order], spans, len(table))
        rows = rows.iloc[order].reset_index(drop=True)
        _refuse_repeats(rows, spans, table)
        n_choices = int(rows["choice"].max()) + 1 if len(rows) else 0
        return cls(items=table, rows=rows, scores=scores, spans=spans, n_choices=n_choices)

    def counts(self, label: str) -> dict[str, npt.NDArray[np.int64]]:
        """Answers of a run per item.

        Returns:
            Arrays with an entry per item of `items`, zero for an item that the run lacks: one per state,
            n_keyed, n_correct, and choice_0, choice_1, ... for the chosen option letters.
        """
        rows = self.rows.iloc[self.spans.get(label, slice(0, 0))]
        item, choice, size = rows["item"].to_numpy(), rows["choice"].to_numpy(), len(self.items)
        out = _tally(item, rows["state"].to_numpy(), size, STATES)
        out["n_keyed"] = np.bincount(item[rows["keyed"].to_numpy()], minlength=size)
        out["n_correct"] = np.bincount(item[rows["correct"].to_numpy()], minlength=size)
        # No answer has no letter: it is left out here, not looked up.
        chosen = choice >= 0
        letters = [f"choice_{i}" for i in range(self.n_choices)]
        return out | _tally(item[chosen], choice[chosen], size, letters)

    def matrix(self, label: str) -> npt.NDArray[np.float64]:
        """[items, COUNT_NAMES] of a run; zeros for an item that it lacks."""
        raw = self.counts(label)
        axes = [raw[name] for name in AXES]
        total = np.sum([raw[name] for name in STATES], axis=0)
        columns = [*axes, np.sum(axes, axis=0), total, raw["n_keyed"], raw["n_correct"], raw["unparsed"]]
        return np.stack(columns, axis=1).astype(float)

    def drawn(self, label: str) -> npt.NDArray[np.bool_]:
        """[items] whether a run's answers to an item were drawn with seeds, not scored."""
        rows = self.rows.iloc[self.spans.get(label, slice(0, 0))]
        return np.bincount(rows["item"][rows["drawn"]], minlength=len(self.items)) > 0

    def pair(self, label: str, baseline: str) -> Pair:
        """Match a run's answers with its baseline's, by item and seed."""
        new, old = (self.rows.iloc[self.spans.get(name, slice(0, 0))] for name in (label, baseline))
        both = match_codes(new["key"].to_numpy(), old["key"].to_numpy())
        size = len(self.items)
        item = old["item"].to_numpy()[both.baseline]
        everything = sum(np.bincount(rows["item"], minlength=size) for rows in (new, old))
        return Pair(
            item=item,
            baseline=old["state"].to_numpy()[both.baseline],
            run=new["state"].to_numpy()[both.run],
            baseline_choice=old["choice"].to_numpy()[both.baseline],
            run_choice=new["choice"].to_numpy()[both.run],
            unpaired=everything - 2 * np.bincount(item, minlength=size),
        )


def _states(items: pd.DataFrame) -> npt.NDArray[np.int8]:
    """State of each answer, an index into STATES."""
    axis = items["axis"].astype("category")
    index = {name: i for i, name in enumerate(STATES[:_UNPARSED])}
    # Looked up per distinct axis; the last entry serves code -1, a missing one.
    table = np.array([index.get(str(name), _UNDETERMINED) for name in axis.cat.categories] + [_UNDETERMINED])
    state = table[axis.cat.codes.to_numpy()].astype(np.int8)
    state[(items["status"] == "unparsed").to_numpy(bool)] = _UNPARSED
    state[(items["status"] == "unscored").to_numpy(bool)] = _UNSCORED
    return state


def _tally(
    item: npt.NDArray[np.int64], value: npt.NDArray[np.int_], size: int, names: Sequence[str]
) -> dict[str, npt.NDArray[np.int64]]:
    """Per value, its count in each of `size` items."""
    width = len(names)
    table = np.bincount(item * width + value, minlength=size * width).reshape(size, width)
    return {name: table[:, i] for i, name in enumerate(names)}


def _item_table(items: pd.DataFrame, item: npt.NDArray[np.int64]) -> pd.DataFrame:
    """One row per item, in the order of the item codes."""
    _, first = np.unique(item, return_index=True)
    first_rows = items.iloc[first]
    table = first_rows[[*_ITEM, "category", "condition"]].reset_index(drop=True)
    table["condition"] = table["condition"].fillna("none")
    told = items["determined"].fillna(False).to_numpy(bool)
    table["determined"] = np.bincount(item[~told], minlength=len(table)) == 0
    # Without a template an item stands for itself.
    table["cluster"] = first_rows["cluster"].to_numpy() if "cluster" in items else table["item_id"]
    for name in ("stereotyped_groups", "option_groups", "scheme"):
        found = first_rows[name].astype("object") if name in items else pd.Series(None, index=first_rows.index)
        table[name] = found.where(found.notna(), None).to_numpy()
    table = table.astype(dict.fromkeys((*_ITEM, "category", "condition", "cluster"), "object"))
    return with_options(table, first_rows["option_axes"])


def _scores(
    items: pd.DataFrame,
    order: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
    spans: dict[str, slice],
    size: int,
) -> dict[str, pd.DataFrame]:
    """SCORES per run and item, from the first seed of each; `item` is in the order of `order`."""
    names = [name for name in SCORES if name in items]
    values = {name: items[name].to_numpy(dtype=np.float64, na_value=np.nan)[order] for name in names}
    out = {}
    for label, span in spans.items():
        found, first = np.unique(item[span], return_index=True)
        frame = pd.DataFrame(np.nan, index=range(size), columns=list(SCORES))
        for name in names:
            frame.loc[found, name] = values[name][span][first]
        out[label] = frame
    return out


def _refuse_repeats(rows: pd.DataFrame, spans: dict[str, slice], table: pd.DataFrame) -> None:
    """Stop at an item that a run answers twice with one seed: every count would be wrong."""
    for label, span in spans.items():
        key = rows["key"].to_numpy()[span]
        repeated = np.flatnonzero(key[1:] == key[:-1])
        if len(repeated):
            item = table.loc[rows["item"].to_numpy()[span][repeated[0]]]
            raise UserError(
                f"run {label!r} answers item {item['item_id']!r} of {item['task']!r} more than once with "
                f"the same seed ({len(repeated)} such answers): keep one answer per item and seed"
            )

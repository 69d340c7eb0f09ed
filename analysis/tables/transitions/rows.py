"""The rows of one run in table `transitions`: counts per template, rates with their intervals, nets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import COUNT_NAMES, GROUP, LATENT_SRS, Answers, Pair
from ...answers.counts import Groups
from ...answers.measures import SRS
from ...answers.net import net_of_answers, net_of_items, summed
from ...inference.event_rate import NOTHING_AT_RISK, event_rate
from ...settings import Settings

__all__ = ["UNITS", "Units", "run_transitions"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_Columns = dict[str, Floats]
_Row = dict[str, object]
UNITS = {
    "new_bias": "item",
    "resolved_bias": "item",
    "net_bias": "item",
    "srs_change": "item",
    "flip_to_stereotype": "answer",
    "flip_from_stereotype": "answer",
    "net_flips": "answer",
    "response_flip": "answer",
}
"""Every transition in the order of the rows, and what it counts."""
_N = COUNT_NAMES.index("n")


@dataclass(frozen=True, kw_only=True)
class Units:
    """Which items belong to which group and template: the cells that everything is summed over once."""

    cell: Ints
    """[items] number of its group and template."""
    groups: list[tuple[dict[str, str], Ints, Ints]]
    """Per group, and per all categories of a group together: labels, the cells in it, and their templates from 0."""
    n_cells: int

    @classmethod
    def of(cls, items: pd.DataFrame, groups: Groups) -> Units:
        """Find the cells of an item table."""
        group = np.empty(len(items), dtype=np.int64)
        group[groups.order] = np.repeat(np.arange(len(groups.starts)), np.diff([*groups.starts, len(groups.order)]))
        template = pd.factorize(items["cluster"], sort=True)[0].astype(np.int64)
        width = int(template.max(initial=0)) + 1
        cells, cell = np.unique(group * width + template, return_inverse=True)
        labels = groups.labels
        outer = labels.groupby(GROUP[:-1], sort=True).ngroup().to_numpy()
        found = []
        for number in range(len(labels)):
            found.append(({name: str(labels[name].iloc[number]) for name in GROUP}, cells // width == number))
        for pooled in np.unique(outer):
            first = labels.iloc[int(np.flatnonzero(outer == pooled)[0])]
            named = {name: str(first[name]) for name in GROUP[:-1]}
            found.append(({**named, "category": "all"}, outer[cells // width] == pooled))
        places = [(label, np.flatnonzero(inside)) for label, inside in found]
        numbered = [(label, at, np.unique(cells[at] % width, return_inverse=True)[1]) for label, at in places]
        return cls(cell=cell.reshape(-1), groups=numbered, n_cells=len(cells))

    def summed(self, columns: _Columns) -> Iterator[tuple[int, Floats]]:
        """Number of each group, and the sums of its templates: [clusters, columns]."""
        cells = np.stack([np.bincount(self.cell, values, self.n_cells) for values in columns.values()], axis=1)
        for number, (_, at, template) in enumerate(self.groups):
            size = int(template.max(initial=-1)) + 1
            yield number, np.stack([np.bincount(template, column, size) for column in cells[at].T], axis=1)


def run_transitions(answers: Answers, units: Units, label: str, baseline: str, given: Settings) -> Iterator[_Row]:
    """Rows of one run: of each subset, transition and group that has an item with known roles in both runs."""
    before, after = answers.matrix(baseline), answers.matrix(label)
    old, new = SRS.value(before), SRS.value(after)
    shown = answers.items["determined"].to_numpy(bool) & (before[:, _N] > 0) & (after[:, _N] > 0)
    there = np.array([cells.sum() > 0 for _, cells in units.summed({"shown": shown.astype(float)})])
    pair = answers.pair(label, baseline)
    events = _item_events(old, new) | _answer_events(pair, len(shown))
    nets = {"net_bias": net_of_items(before, after), "net_flips": net_of_answers(pair, len(shown))}
    shared = {"run": label, "baseline": baseline}
    for subset, chosen in (("all", shown), ("latent", shown & (old >= LATENT_SRS))):
        parts = {name: {"n_items": chosen.astype(float), **columns} for name, columns in events.items()}
        if subset == "all":
            parts |= {name: {"n_items": chosen.astype(float), **net.columns} for name, net in nets.items()}
        for name, columns in parts.items():
            counted = {key: np.where(chosen, values, 0.0) for key, values in columns.items()}
            for number, cells in units.summed(counted):
                if there[number]:
                    row = _net(cells, name, given) if name in nets else _rate(cells, [*counted], name, given)
                    named = {**shared, **units.groups[number][0], "subset": subset, "transition": name}
                    yield {**named, "unit": UNITS[name], "n_items": cells[:, 0].sum(), **row}


def _item_events(old: Floats, new: Floats) -> dict[str, _Columns]:
    """Per transition and item: made it, at risk, unanswered after compression, and both SRS if at risk."""
    after = np.nan_to_num(new, nan=0.0)
    # A comparison with NaN is false: an item unanswered at baseline is never at risk.
    kinds = {
        "new_bias": (old == 0, after > 0),
        "resolved_bias": (old > 0, after == 0),
        "srs_change": (old >= 0, after != old),
    }
    return {
        name: {
            "n_events": (risk & event).astype(float),
            "n_at_risk": risk.astype(float),
            "n_unanswered": (risk & np.isnan(new)).astype(float),
            "old": np.where(risk, old, 0.0),
            "new": np.where(risk, after, 0.0),
        }
        for name, (risk, event) in kinds.items()
    }


def _answer_events(pair: Pair, size: int) -> dict[str, _Columns]:
    """Per transition and item: answers that flipped, those at risk, and pairs with an unanswered side."""
    both = pair.both_answered
    was, became = pair.baseline == 0, pair.run == 0
    kinds = {
        "flip_to_stereotype": (both & ~was, became),
        "flip_from_stereotype": (both & was, ~became),
        "response_flip": (both, ~pair.same_choice),
    }

    def per_item(mask: npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(pair.item[mask], minlength=size).astype(float)

    unanswered = per_item(~both)
    return {
        name: {"n_events": per_item(risk & event), "n_at_risk": per_item(risk), "n_unanswered": unanswered}
        for name, (risk, event) in kinds.items()
    }


def _rate(cells: Floats, names: list[str], transition: str, given: Settings) -> _Row:
    """Counts, rate with its interval, and mean item SRS of one group from its templates' sums."""
    total = dict(zip(names, cells.sum(axis=0), strict=True))
    at_risk = total["n_at_risk"]
    per_item = max(1.0, at_risk / total["n_items"]) if UNITS[transition] == "answer" and total["n_items"] else 1.0
    events = cells[:, [names.index("n_events"), names.index("n_at_risk")]]
    found = event_rate(events, level=given.level, reach=given.reach, unit=per_item)
    row: _Row = {name: total[name] for name in ("n_at_risk", "n_events", "n_unanswered")}
    for name in ("rate", "conf_low", "conf_high", "p_value"):
        row[name] = None
    if found.estimates:
        (share,) = found.estimates
        row |= {"rate": share.estimate, "conf_low": share.conf_low, "conf_high": share.conf_high}
    old, new = (total[side] / at_risk if side in total and at_risk else None for side in ("old", "new"))
    change = None if old is None or new is None else new - old
    return {
        **row,
        "mean_item_srs_baseline": old,
        "mean_item_srs": new,
        "mean_item_srs_change": change,
        "status": found.status,
    }


def _net(cells: Floats, transition: str, given: Settings) -> _Row:
    """Counts and net of one group from its templates' sums."""
    total = float(cells[:, -1].sum())
    per_item = max(1.0, total / cells[:, 0].sum()) if UNITS[transition] == "answer" else 1.0
    found = summed(cells[:, 1:], level=given.level, reach=given.reach, unit=per_item)
    missing = f"{found.missing:.1%} not answered in both runs: interval and p_value at their worst"
    return {
        "n_at_risk": found.at_risk,
        "n_events": found.events,
        "n_unanswered": total - found.at_risk,
        "rate": found.rate.estimate,
        "conf_low": found.rate.conf_low,
        "conf_high": found.rate.conf_high,
        "p_value": found.rate.p_value,
        **dict.fromkeys(("mean_item_srs_baseline", "mean_item_srs", "mean_item_srs_change")),
        "status": NOTHING_AT_RISK if not found.at_risk else missing if found.missing > 0 else "ok",
    }

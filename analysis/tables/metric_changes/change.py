"""The change of one metric over paired lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...inference.bounded import Moves, interval
from ...inference.clusters import NO_CHANGE, jackknife_change
from ...settings import Settings
from .columns import INDICATOR, NUMBER
from .values import Floats

__all__ = ["Codes", "Lines", "Units", "change_of_lines", "is_share"]

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Units:
    """What lines are taken as independent by."""

    name: str
    """template, or document where items have none."""
    unit: Codes
    """[lines] code of each line's unit."""
    item: Codes
    """[lines] code of each line's document."""

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Units:
        """From the columns cluster and item_id: an item without a template is its own."""
        alone = bool((rows["cluster"].astype("string") == rows["item_id"].astype("string")).all())
        unit, item = (pd.factorize(rows[name])[0].astype(np.int64) for name in ("cluster", "item_id"))
        return cls(name="document" if alone else "template", unit=unit, item=item)


@dataclass(frozen=True, kw_only=True)
class Lines:
    """One metric of paired lines."""

    before: Floats
    """[lines] values of the baseline, NaN where there is none."""
    after: Floats
    """[lines] the run's, line by line the same."""
    units: Units
    decides: bool
    """Whether the metric says which of these answers are right."""


def is_share(lines: Lines) -> bool:
    """Whether all values of a metric lie in [0, 1], and there are some: it can then be bounded as a share."""
    known = np.concatenate([lines.before, lines.after])
    known = known[~np.isnan(known)]
    return bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())


def change_of_lines(lines: Lines, settings: Settings) -> dict[str, object]:
    """Mean of a metric in both runs, the change and its interval, over the lines that have a number in both.

    Args:
        lines: Paired lines of a task and filter, or of several tasks.
        settings: The level is that of the interval.

    Returns:
        Columns metric_kind to n_left_out of METRIC_CHANGES, and its status, 'ok' where the interval is as declared.
    """
    before, after, units = lines.before, lines.after, lines.units
    usable = np.isfinite(before) & np.isfinite(after)
    old, new = before[usable], after[usable]
    known = np.concatenate([before, after])
    known = known[~np.isnan(known)]
    indicator = bool(np.isin(known, (0.0, 1.0)).all())
    left = int((~usable).sum())
    row: dict[str, object] = {
        "metric_kind": (INDICATOR if indicator else NUMBER) if len(known) else None,
        "n": len(old),
        "n_items": len(np.unique(units.item[usable])),
        "n_clusters": len(np.unique(units.unit[usable])),
        "unit": units.name,
        "n_left_out": left,
    }
    notes = _left_out(before, after)
    if not len(old):
        return row | {"status": _joined("no line has a number in both runs", notes)}
    row |= _interval(old, new, (units.unit[usable], units.item[usable]), indicator, settings)
    if indicator:
        gained, lost = int((new > old).sum()), int((new < old).sum())
        row |= {"n_gained": gained, "n_lost": lost, "flip_rate": (gained + lost) / len(old)}
    return row | {"status": _joined(str(row["status"]).replace("template", units.name), notes)}


def _interval(
    old: Floats, new: Floats, units: tuple[Codes, Codes], indicator: bool, settings: Settings
) -> dict[str, object]:
    """Change with its interval: of 0 and 1 inside [-1, 1], and never shorter than what unchanged units would allow."""
    codes = np.unique(units[0], return_inverse=True)[1]
    size = np.bincount(codes).astype(np.float64)
    before, after = (np.stack([np.bincount(codes, side), size], axis=1) for side in (old, new))
    found = jackknife_change(before, after, level=settings.level)
    change = found["difference"]
    row: dict[str, object] = {
        **found.facts,
        "change": change.estimate,
        "conf_low": change.conf_low,
        "conf_high": change.conf_high,
        "status": found.status,
    }
    if not indicator:  # nothing says how far a number could have moved
        return row if found.status != NO_CHANGE else row | {"status": "no template changed: no interval"}
    per_item = float(np.unique(units[1], return_counts=True)[1].max())
    unchanged = Moves(net=np.zeros(len(size)), n=size, unit=per_item, reach=settings.reach)
    least = interval(unchanged, unchanged, settings.level)[1]
    middle = change.estimate or 0.0
    if found.status == NO_CHANGE:
        row["status"] = "no template changed: the interval is what so many unchanged ones allow"
    elif change.conf_low is None or change.conf_high is None:
        return row
    low, high = (middle if end is None else end for end in (change.conf_low, change.conf_high))
    return row | {"conf_low": max(-1.0, min(low, middle - least)), "conf_high": min(1.0, max(high, middle + least))}


def _left_out(before: Floats, after: Floats) -> list[str]:
    """What is left out and is not just a metric that does not apply to a line."""
    one_sided = int((np.isnan(before) != np.isnan(after)).sum())
    infinite = int((np.isinf(before) | np.isinf(after)).sum())
    return [
        *([f"{one_sided} lines have it in one run only"] if one_sided else []),
        *([f"{infinite} lines with an infinite value left out"] if infinite else []),
    ]


def _joined(status: str, notes: list[str]) -> str:
    return "; ".join([*(() if notes and status == "ok" else (status,)), *notes])

"""How far a metric moved per unit: what verdicts of tasks without roles start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...answers.moves import Moved
from ...inference.bounded import REACH, Moves
from .change import Codes, Lines, is_share
from .values import Floats

__all__ = ["MetricMoves", "metric_moves"]


@dataclass(frozen=True, kw_only=True)
class MetricMoves:
    """One metric of one task, or group of tasks, between two runs."""

    run: str
    baseline: str
    task: str
    """A task, or the outermost group that stands for its tasks."""
    filter: str
    metric: str
    decides: bool
    """Whether it says which answers are right; otherwise it is the first whose values all lie in [0, 1]."""
    n: int
    """Lines that have it in both runs."""
    n_items: int
    """Documents of these."""
    n_clusters: int
    """Units of these."""
    unit: str
    """template, or document where items have none."""
    value_baseline: float
    """Mean over the n lines; in [0, 1]."""
    value: float
    """The run's."""
    moved: Moved
    """Moves per unit; a line that has the metric in one run only could have had any value in the other."""


def metric_moves(lines: Lines, *, reach: float = REACH, **keys: str) -> MetricMoves | None:
    """The moves of a metric whose values all lie in [0, 1].

    Args:
        lines: Paired lines. One without the value in either run is not about the metric and left out.
        reach: As for `Moves`. A document may move wholly, however small it is.
        keys: run, baseline, task, filter and metric.

    Returns:
        None where the metric is no share, or no line has it in both runs.
    """
    lacking = tuple(np.isnan(side) for side in (lines.before, lines.after))
    both, about = ~(lacking[0] | lacking[1]), ~(lacking[0] & lacking[1])
    if not is_share(lines) or not both.any():
        return None
    unit = np.unique(lines.units.unit[about], return_inverse=True)[1]
    per_item = np.unique(lines.units.item[about], return_counts=True)[1]
    low, high = (
        _moves(_filled(lines.before, fill)[about], _filled(lines.after, 1 - fill)[about], unit, per_item, reach)
        for fill in (1.0, 0.0)
    )
    missing = [float(side[about].mean()) for side in lacking]
    return MetricMoves(
        **keys,
        decides=lines.decides,
        n=int(both.sum()),
        n_items=len(np.unique(lines.units.item[both])),
        n_clusters=len(np.unique(lines.units.unit[both])),
        unit=lines.units.name,
        value_baseline=float(lines.before[both].mean()),
        value=float(lines.after[both].mean()),
        moved=Moved(low=low, high=high, missing_baseline=missing[0], missing=missing[1]),
    )


def _filled(values: Floats, fill: float) -> Floats:
    return np.where(np.isnan(values), fill, values)


def _moves(before: Floats, after: Floats, unit: Codes, per_item: Codes, reach: float) -> Moves:
    net = np.bincount(unit, after - before).astype(float)
    return Moves(
        net=net,
        n=np.bincount(unit).astype(float),
        unit=float(per_item.max()),
        reach=reach,
    )

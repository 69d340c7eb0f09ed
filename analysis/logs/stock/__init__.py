"""Roles for lm_eval's own tasks: what their documents say, in the terms of our items. One module a benchmark."""

from __future__ import annotations

from .bbq import Bbq
from .crows_pairs import CrowsPairs
from .esbbq import Esbbq
from .item import StockItem, StockTask

__all__ = ["StockItem", "StockTask", "stock_task"]

_BENCHMARKS: tuple[type[StockTask], ...] = (Bbq, CrowsPairs, Esbbq)


def stock_task(name: str) -> StockTask | None:
    """The reader of a task of lm_eval's own by the task's name, fresh for one file; None for any other task."""
    return next((benchmark(name) for benchmark in _BENCHMARKS if benchmark.tasks.fullmatch(name)), None)

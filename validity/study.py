"""Run the procedures on many simulated comparisons, in parallel, from seeds that do not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.inference.proportion import wilson
from validity.checks import NOT_ASKED, Check
from validity.methods import CHECKS, PROCEDURES
from validity.simulate import Design, simulate

__all__ = ["SEED", "cells", "run_study"]

SEED = 20260205
CHUNK = 100
"""Replications that share a stream of random numbers; part of what makes the results."""

_SIZES = ((25, 1), (25, 5), (60, 5))
"""Templates and seeds."""


@dataclass(frozen=True)
class _Job:
    design: Design
    cell: int
    chunk: int
    replications: int
    seed: int


def cells() -> list[Design]:
    """Every cell of the study: four nulls at three sizes, shifts and a threshold at the smallest and the largest."""
    quiet = {"item_change": 0.5, "template_change": 0.25}
    scenarios: list[tuple[str, dict[str, Any]]] = [
        ("no change", {}),
        ("items flip, no net effect", {"item_change": 1.5}),
        ("templates move, no net effect", {"item_change": 0.5, "template_change": 0.75}),
        ("few events", {"item_change": 1.0, "base_rate": 0.01}),
        *((f"shift of {points} points", {"shift": points / 100, **quiet}) for points in (3, 5, 10)),
        ("threshold: 10 points at the last dose", {"shift": 0.10, "onset": 2, **quiet}),
    ]
    return [
        Design(name=name, templates=templates, seeds=seeds, **values)
        for name, values in scenarios
        for templates, seeds in (_SIZES[:: len(_SIZES) - 1] if "shift" in values else _SIZES)
    ]


def run_study(designs: Sequence[Design], replications: int, seed: int = SEED, workers: int | None = 1) -> pd.DataFrame:
    """Measure how often each check hits in each cell.

    Args:
        designs: Cells.
        replications: Per cell.
        seed: Of everything; results depend on it, on the order of `designs` and on CHUNK, not on `workers`.
        workers: Processes; None for one per core.

    Returns:
        One row per cell and check it asks: scenario, templates, seeds, null (whether what the test denies is true; for
        other kinds, whether there is no net change), check, kind, default, n, n_none (replications without a result:
        not rejected for a test, left out of n for an interval), rate of hits among n, and its 95 % Wilson interval low
        to high.
    """
    jobs = [
        _Job(design, cell, chunk, min(CHUNK, replications - chunk * CHUNK), seed)
        for cell, design in enumerate(designs)
        for chunk in range(-(-replications // CHUNK))
    ]
    if workers == 1:
        results = [_run(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            results = list(pool.map(_run, jobs))
    rows = []
    for cell, design in enumerate(designs):
        scores = np.concatenate([out for job, out in zip(jobs, results, strict=True) if job.cell == cell])
        for check, column in zip(CHECKS, scores.T, strict=True):
            applies = column[column != NOT_ASKED]
            if len(applies):
                rows.append(_row(design, check, applies))
    return pd.DataFrame(rows)


def _run(job: _Job) -> npt.NDArray[np.float64]:
    """[replications, checks] scores of one chunk."""
    rng = np.random.default_rng([job.seed, job.cell, job.chunk])
    scores = []
    for _ in range(job.replications):
        data = simulate(job.design, rng)
        scores.append([score for procedure in PROCEDURES for score in procedure.run(data, rng)])
    return np.array(scores, dtype=np.float64)


def _row(design: Design, check: Check, scores: npt.NDArray[np.float64]) -> dict[str, object]:
    known = scores[~np.isnan(scores)]
    # No p-value is no rejection; no interval is neither right nor wrong.
    n, hits = len(known if check.kind == "interval" else scores), int(known.sum())
    low, high = wilson(hits, n)
    return {
        "scenario": design.name,
        "templates": design.templates,
        "seeds": design.seeds,
        "null": check.null(design),
        "check": check.name,
        "kind": check.kind,
        "default": check.default,
        "n": n,
        "n_none": len(scores) - len(known),
        "rate": hits / n if n else np.nan,
        "low": float(low),
        "high": float(high),
    }

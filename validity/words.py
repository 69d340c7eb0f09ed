"""The verdicts' study and the one of changes without direction: run in parallel, and as sections of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.inference.bounded import Moves, interval
from analysis.inference.proportion import wilson
from analysis.settings import Settings
from analysis.tables.verdicts.columns import CANT_TELL, CHANGED, SAME
from validity.churn import PROCESSES, draw, excess, net, trends
from validity.simulate import STEREOTYPE, Design
from validity.verdicts import CELLS, Cell, replicate

__all__ = ["churn_section", "run_churn", "run_verdicts", "verdict_section"]

CHUNK = 50
"""Replications that share a stream of random numbers; part of what makes the results."""
_DESIGNS = tuple(Design(name="churn", templates=25, seeds=texts) for texts in (1, 5))


@dataclass(frozen=True)
class _Job:
    make: Callable[[int, np.random.Generator], dict[str, Any]]
    cell: int
    chunk: int
    replications: int
    seed: int


def run_verdicts(
    replications: int, seed: int, workers: int | None = None, cells: Sequence[Cell] = CELLS
) -> pd.DataFrame:
    """Give runs of every cell their word.

    Returns:
        One row a cell: name, mean, allowed, null, templates, n; shares of SAME, CHANGED and CAN'T TELL; share of the
        90 % intervals that cover (`covered`); mean of what the row of SRS says it could see (`could_see`).
    """
    frame = _run(_Verdicts(tuple(cells)), len(cells), replications, seed, workers)
    rows = []
    for number, cell in enumerate(cells):
        own = frame[frame["cell"] == number]
        words = {word: float((own["verdict"] == word).mean()) for word in (SAME, CHANGED, CANT_TELL)}
        told = {"name": cell.name, "mean": cell.mean, "allowed": cell.allowed, "null": cell.null}
        told |= {"templates": cell.templates, "n": len(own), **words}
        rows.append({**told, "covered": float(own["covered"].mean()), "could_see": float(own["detectable"].mean())})
    return pd.DataFrame(rows)


def run_churn(replications: int, seed: int, workers: int | None = None) -> pd.DataFrame:
    """How often new bias, and the net, are told from nothing where no change has a direction."""
    cells = [(process, design) for process in PROCESSES for design in _DESIGNS]
    frame = _run(_churned, len(cells), replications, seed, workers)
    rows = []
    for number, (process, design) in enumerate(cells):
        own = frame[frame["cell"] == number].drop(columns="cell")
        told = {"name": process.name, "texts": design.seeds, "n": len(own)}
        rows.append({**told, **{str(name): float(own[name].mean()) for name in own}})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Verdicts:
    cells: tuple[Cell, ...]

    def __call__(self, number: int, rng: np.random.Generator) -> dict[str, Any]:
        found = replicate(self.cells[number], rng)
        return {name: getattr(found, name) for name in ("verdict", "covered", "changed", "detectable")}


def _churned(number: int, rng: np.random.Generator) -> dict[str, Any]:
    data = draw(PROCESSES[number // len(_DESIGNS)], _DESIGNS[number % len(_DESIGNS)], rng)
    new, both = excess(data, "new_bias"), net(data)
    (old, after), (n, _) = data.by_cluster(STEREOTYPE), data.by_cluster()
    single = Moves(net=after - old, n=n, unit=float(data.design.seeds))
    low, high = interval(single, single, 0.95)
    slopes = trends(data)
    estimate = new.estimates[0] if new.estimates else None
    above = estimate is not None and estimate.conf_low is not None and estimate.conf_low > 0
    return {
        "excess": float(above),
        "items": float((both.rate.conf_low or 0) <= 0 <= (both.rate.conf_high or 0)),
        "answers": float(low <= 0 <= high),
        **{f"trend_{name}": float(p is not None and p < 0.05) for name, p in slopes.items()},
    }


def _run(
    make: Callable[[int, np.random.Generator], dict[str, Any]],
    cells: int,
    replications: int,
    seed: int,
    workers: int | None,
) -> pd.DataFrame:
    jobs = [
        _Job(make, cell, chunk, min(CHUNK, replications - chunk * CHUNK), seed)
        for cell in range(cells)
        for chunk in range(-(-replications // CHUNK))
    ]
    if workers == 1:
        results = [_done(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            results = list(pool.map(_done, jobs))
    return pd.DataFrame([row for rows in results for row in rows])


def _done(job: _Job) -> list[dict[str, Any]]:
    rng = np.random.default_rng([job.seed, 77, job.cell, job.chunk])
    return [{"cell": job.cell, **job.make(job.cell, rng)} for _ in range(job.replications)]


def verdict_section(frame: pd.DataFrame) -> list[str]:
    """Whole families: what was said of runs that did not change, changed by the margin, and changed further."""
    given = Settings()
    parts = [
        "# How often is a verdict wrong?\n",
        "Whole families as `verdicts` makes them: SRS and unknown answers of ambiguous items, accuracy of "
        "disambiguated ones, unanswered texts. 25 templates of 48 items, 5 % of the answers changing without "
        f"direction, if nothing else is said. Margin {given.margin:g}, reach {given.reach:g}, level {given.level:g}; "
        f"{int(frame['n'].iloc[0]):,} runs a row. `covers`: the 90 % interval beside the verdict holds the true change "
        "of SRS.\n",
    ]
    null, margin = frame["null"], np.isclose(frame["mean"], given.margin)
    for title, rows, wrong in (
        ("## Nothing changed on the whole: CHANGED is wrong\n", frame[null], CHANGED),
        ("## SRS moved by the margin: SAME is wrong\n", frame[margin], SAME),
        ("## SRS moved further: SAME is wrong, CHANGED is right\n", frame[~null & ~margin], SAME),
    ):
        parts += [title, _lines(rows, wrong)]
    return parts


def _lines(rows: pd.DataFrame, wrong: str) -> str:
    titles = ["process", SAME, CHANGED, CANT_TELL, f"{wrong}, 95 % of the simulation", "covers", "could see, points"]
    lines = [titles, ["---"] * len(titles)]
    for _, row in rows.iterrows():
        low, high = wilson(round(row[wrong] * row["n"]), row["n"])
        words = [f"{row[word]:.3f}" for word in (SAME, CHANGED, CANT_TELL)]
        seen = "-" if np.isnan(row["could_see"]) else f"{100 * row['could_see']:.1f}"
        lines.append([row["name"], *words, f"{float(low):.3f} to {float(high):.3f}", f"{row['covered']:.3f}", seen])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def churn_section(frame: pd.DataFrame) -> list[str]:
    """What new bias says where answers change without direction, and what the net does."""
    trend = [str(name) for name in frame if str(name).startswith("trend_")]
    titles = ["process", "texts", "new bias above its floor", "net of items covers 0", "net of answers covers 0"]
    titles += [f"trend of {name.removeprefix('trend_').replace('_', ' ')}, p < 0.05" for name in trend]
    lines = [titles, ["---"] * len(titles)]
    for _, row in frame.iterrows():
        rates = (f"{row[name]:.3f}" for name in ("excess", "items", "answers", *trend))
        lines.append([row["name"], f"{row['texts']}", *rates])
    return [
        "# New bias where answers change without direction\n",
        f"25 templates, {int(frame['n'].iloc[0]):,} data sets a row: items take other chances from the same "
        "distribution, or all chances become more even with the population's SRS held. Nothing became more "
        "stereotyped. `net_bias` is of items, `net_flips` of single answers. Where chances become more even, an item "
        "with a small one shows at least one stereotype in five texts more often. Only the net of answers stays 0.\n",
        "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n",
    ]

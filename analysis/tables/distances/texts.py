"""Table `text_divergence`: the distributions of a text's tokens beside the baseline's, over the whole vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...compare.pairing import Pair, Pairing
from ...inference.bounded import Moves, interval
from ...inference.clusters import jackknife
from ...inference.divergence import Sketch, divergence
from ...logs import Logs
from ...logs.distributions import Sketched, read_distributions
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import LOGS, PAIRING, SETTINGS
from .columns import TEXT_DIVERGENCE

__all__ = ["FEWEST_DOCUMENTS", "LOGGED", "TEXT_DIVERGENCE_TABLE", "text_divergences"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LOGGED = "distributions"
"""lm_eval's name of the metric under which the records are logged."""
FEWEST_DOCUMENTS = 10
"""Documents from which on they are the units; below, the windows are."""
_DOUBTFUL = 0.4
"""Share of the estimate below which its bound lies where it rests on few entries: in our runs from KL 1 on."""
_NO_FILE = "its samples file is missing"


def text_divergences(logs: Logs, pairing: Pairing, settings: Settings | None = None) -> pd.DataFrame:
    """Table TEXT_DIVERGENCE: a row for each pair of which a run, or both, logged distributions.

    What is missing, damaged, or of another text is named in `status`, and the documents that are left make the row.
    """
    given = settings or Settings()
    rows: list[dict[str, Any]] = []
    last, base = ("", ""), Sketched(documents={})
    for pair in pairing.pairs:
        if not any(_logged(logs, label, pair.task) for label in (pair.run, pair.baseline)):
            continue
        if (pair.baseline, pair.task) != last:  # the runs of one task follow one another, with one baseline
            base, last = _read(logs, pair.baseline, pair.task), (pair.baseline, pair.task)
        rows.append(_row(pair, _read(logs, pair.run, pair.task), base, given))
    return (
        TEXT_DIVERGENCE.conform(pd.DataFrame(rows, columns=TEXT_DIVERGENCE.names)) if rows else TEXT_DIVERGENCE.empty()
    )


def _logged(logs: Logs, label: str, task: str) -> bool:
    return any(LOGGED in names for names in logs.runs[label].tasks[task].reported.values())


def _read(logs: Logs, label: str, task: str) -> Sketched:
    path = logs.runs[label].tasks[task].samples
    return Sketched(documents={}, fault=_NO_FILE) if path is None else read_distributions(path)


def _row(pair: Pair, run: Sketched, base: Sketched, settings: Settings) -> dict[str, Any]:
    named = {"run": pair.run, "baseline": pair.baseline, "task": pair.task}
    faults = [f"{whose}: {side.fault}" for whose, side in (("run", run), ("baseline", base)) if side.fault]
    shared = [(base.documents[key], run.documents[key]) for key in sorted(base.documents.keys() & run.documents.keys())]
    usable = [both for both in shared if _comparable(*both)]
    if len(usable) < len(shared):
        faults.append(
            f"other tokens, windows, vocabulary or k in {len(shared) - len(usable)} of {len(shared)} documents"
        )
    if not usable:
        status = "; ".join(faults) or "no document in common"
        return {**named, "n_tokens": 0, "n_units": 0, "unit": "none", "status": status}
    row = _measured(usable, settings)
    if row["kl_at_least"] < _DOUBTFUL * row["kl"]:
        faults.append("kl is far above kl_at_least and rests on few logged entries: log more (distributions)")
    return {**named, **row, "status": "; ".join(faults) or "ok"} | _unmoved(usable, faults)


def _comparable(one: Sketch, other: Sketch) -> bool:
    return (one.read, one.vocabulary, one.k) == (other.read, other.vocabulary, other.k)


def _unmoved(usable: list[tuple[Sketch, Sketch]], faults: list[str]) -> dict[str, str]:
    """What is said where every logged number is the same."""
    same = all(np.array_equal(one.values, other.values) and np.array_equal(one.ids, other.ids) for one, other in usable)
    return {"status": "; ".join([*faults, "no logged probability differs"])} if same else {}


def _measured(documents: list[tuple[Sketch, Sketch]], settings: Settings) -> dict[str, Any]:
    """The numbers of a row."""
    found = [divergence(*both) for both in documents]
    kl, least, same = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("estimate", "at_least", "same_top")
    )
    worse = np.concatenate([base.chosen - run.chosen for base, run in documents])
    by_document = len(documents) >= FEWEST_DOCUMENTS
    unit = np.concatenate(list(_units(documents, by_document=by_document)))
    units = int(unit[-1]) + 1
    n = np.bincount(unit).astype(float)

    def sums(values: Floats) -> Floats:
        return np.bincount(unit, weights=values, minlength=units).astype(np.float64)

    row: dict[str, Any] = {
        "n_tokens": len(kl),
        "unit": "document" if by_document else "window",
        "n_units": units,
        "kl": float(kl.mean()),
        "kl_at_least": float(least.mean()),
        "kl_median": float(np.median(kl)),
        "kl_p99": float(np.quantile(kl, 0.99)),
        "same_top_rate": float(same.mean()),
        "kept": float(
            np.mean([len(side.ids) for both in documents for side in both])
            / np.mean([len(side.counts) for both in documents for side in both])
        ),
    }
    low, high = _interval(sums(kl), n, settings.level, scale=row["kl"])
    row |= {"kl_low": None if low is None else max(low, 0.0), "kl_high": high}
    moves = Moves(net=sums((~same).astype(float)), n=n, reach=settings.reach)
    fewest, most = interval(moves, moves, settings.level)
    row |= {"same_top_rate_low": 1 - most, "same_top_rate_high": min(1 - fewest, 1.0)}
    return row | _ratio(worse, sums(worse), n, settings.level)


def _units(documents: list[tuple[Sketch, Sketch]], *, by_document: bool) -> Iterator[Ints]:
    """[tokens] of each document, the number of the unit that each token is in."""
    start = 0
    for base, _ in documents:
        lengths = base.windows
        own = np.zeros(len(base.counts), dtype=np.int64) if by_document else np.repeat(np.arange(len(lengths)), lengths)
        yield start + own
        start += 1 if by_document else len(lengths)


def _interval(sums: Floats, n: Floats, level: float, *, scale: float) -> tuple[float | None, float | None]:
    """Of a mean over tokens, from sums and numbers of tokens per unit."""
    found = jackknife(np.stack([sums, n], axis=1), level=level, scale=scale)
    estimate = found.estimates[0] if found.estimates else None
    ends = [None if estimate is None else getattr(estimate, name) for name in ("conf_low", "conf_high")]
    return ends[0], ends[1]


def _ratio(worse: Floats, sums: Floats, n: Floats, level: float) -> dict[str, float | None]:
    """Ratio of token perplexities, from what each token's log-probability fell by."""
    mean = float(worse.mean())
    if not np.isfinite(mean) or mean > 700:
        return {}
    ends = _interval(sums, n, level, scale=1.0)
    names = ("perplexity_ratio_low", "perplexity_ratio_high")
    made = {
        name: None if end is None or end > 700 else float(np.exp(end)) for name, end in zip(names, ends, strict=True)
    }
    return {"perplexity_ratio": float(np.exp(mean)), **made}


TEXT_DIVERGENCE_TABLE = ReportTable(
    TEXT_DIVERGENCE,
    (LOGS, PAIRING, SETTINGS),
    text_divergences,
    reading=(
        "{kl:g} nats a token ({kl_low:g} to {kl_high:g}), "
        "the same token most probable at {same_top_rate:%} of {n_tokens}",
        "{kl:g} nats a token over {n_tokens} tokens",
        "at least {kl_at_least:g} nats a token over {n_tokens} tokens",
    ),
)

"""In what the engines of two runs differ: what makes them incomparable, and what is the compression that is studied.

The form of the weights is what is studied, and no difference. So is a quantized key-value cache where the run says that
it is: by evidence, or because nothing else of it is compressed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..logs import RunLog
from ..logs.engine import DENSE

__all__ = ["engine_differences", "nearest", "scoring_told"]

_NOTED = ("transformers",)
"""Runtimes of which another version is noted and not refused: they compute operation by operation, as torch does."""


def engine_differences(run: RunLog, baseline: RunLog) -> dict[str, tuple[object, object]]:
    """Names of DIFFERENCES with what each side has, of those alone in which the engines differ.

    What one side does not tell is no difference. A cache is plain, and a model on one device, where nothing is said.
    """
    own, other = run.engine, baseline.engine
    out: dict[str, tuple[object, object]] = {}
    if own.runtime != other.runtime:
        out["engine"] = (_named(run), _named(baseline))
    elif own.runtime not in _NOTED and own.version and other.version and own.version != other.version:
        out["engine_version"] = (f"{own.runtime} {own.version}", f"{other.runtime} {other.version}")
    if own.kv_cache != other.kv_cache and not _is_treatment(run, baseline):
        out["kv_cache"] = (own.kv_cache or "plain", other.kv_cache or "plain")
    if own.sums != other.sums:
        out["parallel"] = (own.parallel or "one device", other.parallel or "one device")
    if None not in (own.batch_invariant, other.batch_invariant) and own.batch_invariant != other.batch_invariant:
        out["batch_invariant"] = (own.batch_invariant, other.batch_invariant)
    return out


def nearest(run: RunLog, others: Mapping[str, RunLog]) -> list[str]:
    """Of uncompressed runs those, by label, that are most like a run: first in engine, then in proof, then in settings.

    Reruns of one model that differ in batch size, dtype or devices are no choice that a user has to make; reruns that
    differ in none of these are.
    """
    ranks = {label: _likeness(run, other) for label, other in others.items()}
    best = max(ranks.values(), default=())
    return [label for label, rank in ranks.items() if rank == best]


def _likeness(run: RunLog, other: RunLog) -> tuple[bool, ...]:
    own, theirs = run.engine, other.engine
    return (
        own.runtime == theirs.runtime,
        other.standing.status == DENSE,
        own.version == theirs.version,
        own.sums == theirs.sums,
        run.dtype == other.dtype,
        run.scoring_dtype == other.scoring_dtype,
        run.facts["batch_size"] == other.facts["batch_size"],
        own.threads == theirs.threads,
    )


def scoring_told(run: RunLog, baseline: RunLog) -> bool:
    """Whether both say in which dtype they scored: between engines that do not, the engine is the difference."""
    return all(log.scoring_dtype not in ("auto", "default") for log in (run, baseline))


def _is_treatment(run: RunLog, baseline: RunLog) -> bool:
    """Whether the cache is what was done to the run, in the open: its label and method say so."""
    if baseline.engine.kv_cache is not None or run.engine.kv_cache is None:
        return False
    same_engine = run.engine.runtime == baseline.engine.runtime
    return run.engine.kv_proved or (same_engine and run.method == f"unverified kv-{run.engine.kv_cache}")


def _named(run: RunLog) -> str:
    """Engine with its version where the run tells it, and lm_eval's own name of it where that is another."""
    engine = run.engine
    name = engine.runtime if engine.name == engine.runtime else f"{engine.runtime} ({engine.name})"
    return f"{name} {engine.version}" if engine.version else name

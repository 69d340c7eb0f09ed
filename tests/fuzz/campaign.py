"""Many mutations in several processes, each told by its number alone: what becomes of them, counted."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.logs import Base, stored_bases
from tests.fuzz.mutate import KINDS, Mutation, mutation
from tests.fuzz.oracle import Judge, Outcome

__all__ = ["Found", "one", "run_many", "scratch_folder"]

_TRIES = 100


@dataclass(frozen=True)
class Found:
    """A mutation by its number, and what became of it."""

    number: int
    base: str
    run: int
    kind: str
    what: str
    outcome: Outcome
    seconds: float

    def __str__(self) -> str:
        which = ("uncompressed", "compressed")[self.run]
        done = f"{self.base}, {which} run, {self.kind}: {self.what}"
        return f"{self.number} {self.outcome.name}: {done} -> {self.outcome.detail}"


def one(bases: Sequence[Base], seed: int, number: int) -> Mutation:
    """The mutation of a seed and number: bases take turns, and within a base its kinds by their weights."""
    rng = Random(f"{seed}/{number}")
    for _ in range(_TRIES):
        made = mutation(bases[number % len(bases)], rng)
        if made is not None:
            return made
    raise AssertionError(f"no mutation in {_TRIES} tries: {sorted(KINDS)}")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes away, in memory where the system has such."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def run_some(seed: int, numbers: Sequence[int], until: float | None = None) -> Iterator[Found]:
    """Judge mutations one after the other in this process, until a time (of time.monotonic) if one is given."""
    bases = stored_bases()
    with scratch_folder() as scratch, warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        judge = Judge(bases, scratch)
        for number in numbers:
            if until is not None and time.monotonic() > until:
                return
            start, made = time.monotonic(), one(bases, seed, number)
            outcome = judge.judge(made)
            yield Found(number, made.base, made.at, made.kind, made.what, outcome, time.monotonic() - start)


_WORKER: list[tuple[list[Base], Judge]] = []


def _start(scratch: Path) -> None:
    bases = stored_bases()
    warnings.simplefilter("ignore")
    _WORKER.append((bases, Judge(bases, Path(tempfile.mkdtemp(dir=scratch)))))


def _judged(task: tuple[int, int]) -> Found:
    seed, number = task
    bases, judge = _WORKER[0]
    start, made = time.monotonic(), one(bases, seed, number)
    outcome = judge.judge(made)
    return Found(number, made.base, made.at, made.kind, made.what, outcome, time.monotonic() - start)


def run_many(seed: int, count: int, workers: int) -> Iterator[Found]:
    """Judge the mutations 0 to `count` of a seed in `workers` processes; they come as they are done."""
    context = multiprocessing.get_context("spawn")
    with scratch_folder() as scratch, context.Pool(workers, initializer=_start, initargs=(scratch,)) as pool:
        yield from pool.imap_unordered(_judged, ((seed, number) for number in range(count)), chunksize=4)

"""What can happen to a file: every way to damage or to alter a log, by name, from a seed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from tests.fuzz import many, raw, records, results
from tests.fuzz.logs import Base, Content

__all__ = ["KINDS", "Mutation", "mutation"]


@dataclass(frozen=True)
class Mutation:
    """One file of one run, altered."""

    base: str
    kind: str
    what: str
    """Where, and what was done."""
    at: int
    """Run: 0 uncompressed, 1 compressed."""
    file: str
    """`samples` or `results`."""
    changed: Content


def mutation(base: Base, rng: Random, kind: str | None = None) -> Mutation | None:
    """A mutation of a base's files; None where the kind found nothing to change."""
    at = rng.randrange(2)
    run = base.runs[at]
    kind = kind or rng.choices([*KINDS], [weight for _, weight in KINDS.values()])[0]
    make, _ = KINDS[kind]
    file = "results" if kind.startswith("results: ") else "samples"
    packed = run.samples_name.endswith(".gz")
    before = run.results if file == "results" else gzip.decompress(run.samples) if packed else run.samples
    try:
        what, after = make(before, rng)
    except (IndexError, KeyError):
        return None
    if after == before:
        return None
    if file == "results":
        changed = replace(run, results=after)
    else:
        as_it_is = kind == "file: packed badly"
        changed = replace(run, samples=gzip.compress(after, mtime=0) if packed and not as_it_is else after)
    return Mutation(base.name, kind, what, at, file, changed)


KINDS: dict[str, tuple[Callable[[bytes, Random], raw.Change], float]] = {
    "bytes: a bit flipped": (raw.flip, 4),
    "bytes: one replaced": (raw.byte, 4),
    "bytes: one inserted": (raw.insert_byte, 3),
    "bytes: some deleted": (raw.delete, 3),
    "bytes: a digit replaced": (raw.digit, 5),
    "bytes: cut off": (raw.truncate, 3),
    "lines: one dropped": (raw.drop, 2),
    "lines: one duplicated": (raw.duplicate, 2),
    "lines: one replaced by another": (raw.replace_line, 2),
    "lines: two swapped": (raw.swap, 2),
    "lines: two joined": (raw.join, 1),
    "lines: one that is none": (raw.junk, 2),
    "key: removed": (records.in_line(records.remove), 5),
    "key: renamed": (records.in_line(records.rename), 4),
    "key: there twice": (records.in_line(records.twice), 4),
    "value: an odd one": (records.in_line(records.odd), 10),
    "value: a number nudged": (records.in_line(records.nudge), 8),
    "value: a yes for a no": (records.in_line(records.flag), 5),
    "value: another line's": (records.in_line(records.anothers), 6),
    "value: permuted": (records.in_line(records.permute), 5),
    "value: a list longer or shorter": (records.in_line(records.lengthen), 4),
    "value: a text altered": (records.in_line(records.reword), 5),
    "value: another hash": (records.in_line(records.another_hash), 2),
    "all lines: a key removed": (many.in_all(many.all_gone), 4),
    "all lines: one value": (many.in_all(many.all_same), 4),
    "all lines: values moved on": (many.in_all(many.all_shifted), 4),
    "two lines: values exchanged": (many.in_all(many.two_swapped), 5),
    "filter: renamed": (many.filter_renamed, 2),
    "file: another form": (raw.whole, 4),
    "file: packed badly": (raw.badly_packed, 2),
    "results: bytes": (
        lambda content, rng: rng.choice((raw.flip, raw.byte, raw.insert_byte, raw.delete, raw.digit))(content, rng),
        5,
    ),
    "results: cut off": (raw.truncate, 1),
    "results: another form": (raw.results_whole, 1),
    "results: a section removed": (records.in_results(results.section_gone), 4),
    "results: a section of another type": (records.in_results(results.typed), 5),
    "results: key removed": (records.in_results(records.remove), 4),
    "results: key renamed": (records.in_results(records.rename), 3),
    "results: key there twice": (records.in_results(records.twice), 3),
    "results: an odd value": (records.in_results(records.odd), 6),
    "results: a number nudged": (records.in_results(records.nudge), 4),
    "results: a text altered": (records.in_results(records.reword), 3),
    "results: a metric altered": (records.in_results(results.metric), 3),
    "results: a count altered": (records.in_results(results.count), 2),
    "results: model_args altered": (records.in_results(results.arguments), 3),
}
"""Every kind of mutation, and how often it is drawn against the others."""

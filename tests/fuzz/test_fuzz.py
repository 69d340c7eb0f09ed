"""An altered log is reported, or every table stays as it was to the last bit: some of what `make fuzz` tries."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import one, run_some
from tests.fuzz.logs import Base, stored_bases
from tests.fuzz.mutate import KINDS, mutation
from tests.fuzz.oracle import look

SEED, SECONDS = 1, 25
_SURE = ("reported", "harmless")


@pytest.fixture(scope="module")
def bases() -> list[Base]:
    return stored_bases()


def test_unaltered_logs_have_no_issue_and_are_compared(bases: list[Base], tmp_path: Path) -> None:
    for base in bases:
        base.write(tmp_path / "runs")
        assert look(tmp_path / "runs", tmp_path / "read").issues == (), base.name


def test_every_kind_of_mutation_changes_bytes_and_a_number_makes_the_same_again(bases: list[Base]) -> None:
    tried = {kind: (mutation(bases[place % 7], Random(place), kind) for place in range(20)) for kind in KINDS}
    assert [kind for kind, some in tried.items() if not any(some)] == []
    assert [one(bases, SEED, number) for number in range(10)] == [one(bases, SEED, number) for number in range(10)]
    assert one(bases, SEED, 0) != one(bases, SEED + 1, 0)


@pytest.mark.slow
def test_nothing_is_silent_and_nothing_raises() -> None:
    found = list(run_some(SEED, range(2000), until=time.monotonic() + SECONDS))
    assert [str(entry) for entry in found if entry.outcome.name in ("SILENT", "traceback")] == []
    assert len(found) > 20, "the machine judged next to nothing in the time"
    assert {"reported", "harmless"} <= {entry.outcome.name for entry in found}

"""An altered log is reported, or every table stays as it was to the last bit: some of what `make fuzz` tries."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import oracle
from tests.fuzz.campaign import one, run_some, scratch_folder
from tests.fuzz.logs import Base, stored_bases
from tests.fuzz.mutate import KINDS, Mutation, mutation
from tests.fuzz.oracle import Judge, Outcome, look
from tests.fuzz.witness import stands_alone

SEED, SECONDS = 1, 25


@pytest.fixture(scope="module")
def bases() -> list[Base]:
    return stored_bases()


def test_unaltered_logs_have_no_issue_and_are_compared(bases: list[Base], tmp_path: Path) -> None:
    for base in bases:
        base.write(tmp_path / "runs")
        assert look(tmp_path / "runs", tmp_path / "read").issues == (), base.name


def test_every_kind_of_mutation_changes_bytes_and_a_number_makes_the_same_again(bases: list[Base]) -> None:
    def changes(kind: str) -> bool:
        return any(mutation(bases[place % len(bases)], Random(place), kind) for place in range(2 * len(bases)))

    assert [kind for kind in KINDS if not changes(kind)] == []
    assert [one(bases, SEED, number) for number in range(10)] == [one(bases, SEED, number) for number in range(10)]
    assert one(bases, SEED, 0) != one(bases, SEED + 1, 0)


def limited(bases: list[Base]) -> Mutation:
    """A run whose results file gives another --limit, which nothing else in a log repeats."""
    base = next(base for base in bases if base.name == "fuzz_choice")
    run = base.runs[1]
    changed = replace(run, results=run.results.replace(b'"limit": 24', b'"limit": 23'))
    assert changed != run
    return Mutation(base.name, "by hand", "config.limit", 1, "results", changed)


def test_the_judge_sees_a_table_that_changed_and_an_exception(
    bases: list[Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, made = Judge(bases, tmp_path), limited(bases)
    assert judge.judge(made).name == "alone"
    monkeypatch.setattr(oracle, "stands_alone", lambda *_: None)
    assert judge.judge(made) == Outcome("SILENT", "runs")

    def broken(*_: object, **__: object) -> None:
        raise KeyError("limit")

    monkeypatch.setattr(oracle, "read_logs", broken)
    found = judge.judge(made)
    assert found.name == "traceback"
    assert "KeyError: 'limit'" in found.detail


def test_a_value_stands_alone_only_with_all_others_unchanged() -> None:
    before = b'{"config": {"limit": 24, "dtype": "a"}, "n-shot": {"t": 0}}'
    for after, alone in (
        (b'{"config": {"limit": 23, "dtype": "a"}, "n-shot": {"t": 0}}', True),
        (b'{"config": {"limit": 23}, "n-shot": {"t": 0}}', True),
        (b'{"config": {"limit": 23, "dtype": "a"}, "n-shot": {"t": 1}}', False),
        (b'{"config": {"limit": 24, "dtype": "a"}, "n-shot": {}}', False),
        (b"no JSON", False),
        (before, False),
    ):
        assert (stands_alone("results", "t", before, after) is not None) == alone


def test_where_reading_gives_the_same_the_tables_are_the_same(bases: list[Base]) -> None:
    (small,) = (place for place, base in enumerate(bases) if base.name == "fuzz_words")
    with scratch_folder() as scratch:
        judge, harmless = Judge(bases, scratch), 0
        for number in range(small, 400, len(bases)):
            made = one(bases, SEED, number)
            if judge.judge(made).name == "harmless":
                assert judge.judge(made, whole=True).name == "harmless", made
                harmless += 1
                if harmless == 3:
                    break
    assert harmless == 3


@pytest.mark.slow
def test_nothing_is_silent_and_nothing_raises() -> None:
    found = list(run_some(SEED, range(2000), until=time.monotonic() + SECONDS))
    assert [str(entry) for entry in found if entry.outcome.name in ("SILENT", "traceback")] == []
    assert len(found) > 20, "the machine judged next to nothing in the time"
    assert {"reported", "harmless"} <= {entry.outcome.name for entry in found}

"""Samples that are lost as a whole: refused as a part of them is, and said where a task has no items at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import Pairing, pair_runs
from analysis.logs import ItemStore, Logs, read_logs
from tests.helpers.runlogs import (
    DENSE,
    Task,
    bbq_item,
    bbq_line,
    choice_line,
    evidence,
    rolling_line,
    samples_of,
    text_line,
    write_run,
)

CHOICES = "multiple_choice"
GENERATED = "generate_until"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    with ItemStore(tmp_path / "items.parquet") as opened:
        yield opened


def both(folder: Path, base: Task, run: Task) -> tuple[Path, Path]:
    """The results files of an uncompressed run and of a compressed one, whose task is t."""
    return (
        write_run(folder / "runs", 1, {"t": base}, evidence("dense", **DENSE)),
        write_run(folder / "runs", 2, {"t": run}, evidence("w")),
    )


def pair(folder: Path, store: ItemStore, *allow: str) -> tuple[Logs, Pairing]:
    logs = read_logs(folder / "runs", store)
    return logs, pair_runs(logs, choose_baselines(logs.runs), allow)


def choices() -> Task:
    return Task([choice_line(i, i % 2) for i in range(20)])


def texts() -> Task:
    return Task([text_line(i, str(i % 7)) for i in range(20)], GENERATED)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(b"\n \n")


def garbled(path: Path) -> None:
    """Every line breaks off before its end."""
    path.write_bytes(b"".join(line[:-5] + b"\n" for line in path.read_bytes().splitlines()))


def doubled(path: Path) -> None:
    """Every line twice: nothing says which is right."""
    path.write_bytes(path.read_bytes() * 2)


def unscored(path: Path) -> None:
    """Another program's lines: JSON, and no samples."""
    path.write_bytes(b'{"id": 1}\n' * 20)


Damage = Callable[[Path], None]
UNUSABLE: list[Damage] = [empty, blank, garbled, doubled, unscored]


@pytest.mark.parametrize("damage", [*UNUSABLE, Path.unlink], ids=lambda found: found.__name__)
@pytest.mark.parametrize("lost", [("run",), ("baseline",), ("run", "baseline")], ids="-".join)
@pytest.mark.parametrize("task", [choices, texts])
def test_a_task_without_items_is_refused_as_one_with_fewer_is(
    task: Callable[[], Task], lost: tuple[str, ...], damage: Damage, tmp_path: Path, store: ItemStore
) -> None:
    files = dict(zip(("baseline", "run"), both(tmp_path, task(), task()), strict=True))
    for name in lost:
        damage(samples_of(files[name], "t"))
    logs, found = pair(tmp_path, store, "items")
    assert found.pairs == []
    (refusal,) = found.refusals
    assert [difference.name for difference in refusal.differences] == ["no_items"]
    for name in lost:
        file = "no samples file, which was written, and is missing or left out; 20 documents were evaluated"
        if damage is not Path.unlink:
            file = f"0 of 20 documents usable in {logs.runs['w' if name == 'run' else 'dense'].tasks['t'].samples.name}"
        assert f"the {name} has {file}" in refusal.message
    assert "Run lm_eval again with --log_samples, or " in refusal.message
    assert "--allow" not in refusal.message
    (error,) = [issue for issue in found.issues if issue.level == "error"]
    assert error.message == refusal.message


def test_samples_that_never_were_are_told_from_samples_that_are_gone(tmp_path: Path, store: ItemStore) -> None:
    run = choices()
    run.log = False
    both(tmp_path, choices(), run)
    _, found = pair(tmp_path, store)
    assert found.refusals[0].message == (
        "w on t is not comparable with dense: no_items (the run has no samples file, which was not "
        "written; 20 documents were evaluated). Run lm_eval again with --log_samples"
    )


def test_other_differences_are_named_beside_lost_items(tmp_path: Path, store: ItemStore) -> None:
    run = choices()
    run.shots = 5
    _, after = both(tmp_path, choices(), run)
    empty(samples_of(after, "t"))
    _, found = pair(tmp_path, store, "fewshot")
    assert [difference.name for difference in found.refusals[0].differences] == ["no_items"]
    _, found = pair_again(tmp_path)
    assert [difference.name for difference in found.refusals[0].differences] == ["no_items", "fewshot"]
    # To allow the one would not help.
    assert found.refusals[0].message.endswith("its issues say what is wrong; Run both alike")


def pair_again(folder: Path) -> tuple[Logs, Pairing]:
    with ItemStore(folder / "again.parquet") as store:
        return pair(folder, store)


def test_a_perplexity_of_a_task_with_items_needs_them_too(tmp_path: Path, store: ItemStore) -> None:
    # lambada's: one perplexity over items that have scores of their own.
    tasks = [
        Task([choice_line(i, 0) for i in range(4)], "loglikelihood", {"perplexity,none": value}, log=False)
        for value in (5.0, 6.0)
    ]
    both(tmp_path, *tasks)
    logs, found = pair(tmp_path, store)
    assert logs.runs["w"].tasks["t"].perplexities == {"perplexity": 6.0}
    assert [difference.name for difference in found.refusals[0].differences] == ["no_items"]


def filtered(*names: str) -> Task:
    lines = [text_line(i, str(i), filter=name) for name in names for i in range(4)]
    return Task(lines, GENERATED)


@pytest.mark.parametrize(
    ("base", "run", "detail"),
    [
        (("strict", "flexible"), ("strict",), "flexible only in the baseline"),
        (("strict",), ("strict", "flexible"), "flexible only in the run"),
        (("a", "b"), ("a", "c"), "c only in the run, b only in the baseline"),
    ],
)
def test_a_filter_that_one_run_lacks_is_named(
    base: tuple[str, ...], run: tuple[str, ...], detail: str, tmp_path: Path, store: ItemStore
) -> None:
    both(tmp_path, filtered(*base), filtered(*run))
    logs, found = pair(tmp_path, store)
    assert [str(difference) for difference in found.refusals[0].differences] == [f"filters ({detail})"]
    accepted = pair_runs(logs, choose_baselines(logs.runs), ["filters"])
    assert len(accepted.pairs) == 1
    for label in ("w", "dense"):
        rows = accepted.items(store, label, "dense", "t", ["filter"])["filter"]
        assert rows.tolist() == [base[0]] * 4


def test_runs_without_a_common_filter_can_not_be_compared(tmp_path: Path, store: ItemStore) -> None:
    both(tmp_path, filtered("a"), filtered("b"))
    _, found = pair(tmp_path, store, "filters")
    assert found.pairs == []
    assert "no item in common" in found.refusals[0].message


def test_lines_of_a_filter_that_are_lost_in_part_are_items(tmp_path: Path, store: ItemStore) -> None:
    run = filtered("strict", "flexible")
    del run.lines[-1]
    both(tmp_path, filtered("strict", "flexible"), run)
    _, found = pair(tmp_path, store)
    assert [str(difference) for difference in found.refusals[0].differences] == [
        "items (0 answers of 7 only in the run, 1 of 8 only in the baseline, e.g. t/3)"
    ]


def test_a_category_that_is_lost_is_named(tmp_path: Path, store: ItemStore) -> None:
    lines = [bbq_line(i, 2, item=bbq_item(i, category=name)) for name in ("Age", "Religion") for i in range(4)]
    both(tmp_path, Task(lines), Task(lines[:4]))
    _, found = pair(tmp_path, store)
    assert [str(difference) for difference in found.refusals[0].differences] == [
        "items (0 answers of 4 only in the run, 4 of 8 only in the baseline, e.g. bbq/Religion/0; "
        "none of category Religion in the run)"
    ]


def rolling(count: int = 3, shift: float = 0.0, **changes: Any) -> Task:
    scores = [-20.0 - i - shift for i in range(count)]
    perplexity = math.exp(-sum(scores) / (5 * count))  # five words a document
    lines = [rolling_line(i, score) for i, score in enumerate(scores)]
    return Task(lines, "loglikelihood_rolling", {"word_perplexity,none": perplexity}, **changes)


def test_a_rolling_task_has_no_items_to_lose(tmp_path: Path, store: ItemStore) -> None:
    both(tmp_path, rolling(), rolling(shift=0.5))
    logs, found = pair(tmp_path, store)
    assert (len(found.pairs), found.refusals, found.issues, logs.issues) == (1, [], [], [])


@pytest.mark.parametrize("damage", [empty, blank, garbled, unscored], ids=lambda found: found.__name__)
def test_lost_lines_of_a_rolling_task_are_said(damage: Damage, tmp_path: Path, store: ItemStore) -> None:
    _, after = both(tmp_path, rolling(), rolling(shift=0.5))
    damage(samples_of(after, "t"))
    logs, found = pair(tmp_path, store)
    assert len(found.pairs) == 1  # the perplexity is that of the results file
    assert [issue.file for issue in logs.issues] == [samples_of(after, "t").name] * len(logs.issues)
    assert {issue.level for issue in logs.issues} == {"warning"}


def test_a_rolling_task_whose_samples_are_gone_is_said(tmp_path: Path, store: ItemStore) -> None:
    _, after = both(tmp_path, rolling(), rolling(shift=0.5))
    samples_of(after, "t").unlink()
    _, found = pair(tmp_path, store)
    (note,) = found.issues
    assert (note.kind, note.level, len(found.pairs)) == ("documents_unchecked", "note", 1)
    assert note.message == (
        "t of w and dense: compared by the results files alone; the samples file of the run is missing"
    )


def test_rolling_documents_that_were_not_hashed_are_said(tmp_path: Path, store: ItemStore) -> None:
    both(tmp_path, rolling(), rolling(shift=0.5, log=False))
    _, found = pair(tmp_path, store)
    (note,) = found.issues
    assert (note.kind, note.level, len(found.pairs)) == ("documents_unchecked", "note", 1)
    assert "is not checked beyond their number" in note.message


def test_other_documents_of_a_rolling_task_are_refused(tmp_path: Path, store: ItemStore) -> None:
    both(tmp_path, rolling(3), rolling(2))
    _, found = pair(tmp_path, store)
    assert [str(difference) for difference in found.refusals[0].differences] == [
        "items (2 documents against 3 documents)"
    ]


def test_a_rolling_task_without_a_perplexity_has_nothing_to_compare(tmp_path: Path, store: ItemStore) -> None:
    after = rolling(shift=0.5)
    after.metrics = {"word_perplexity,none": 31.0}  # not what its lines add up to
    both(tmp_path, rolling(), after)
    _, found = pair(tmp_path, store)
    assert found.pairs == []
    assert found.refusals[0].message == (
        "w on t is not comparable with dense: no_perplexity (the run has none, the baseline word_perplexity). "
        "Run lm_eval again, and keep its files as they are"
    )

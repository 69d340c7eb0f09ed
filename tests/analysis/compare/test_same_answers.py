"""Runs of different models that answered alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import pair_runs
from analysis.logs import Issue, ItemStore, read_logs
from tests.helpers.runlogs import DENSE, Task, choice_line, drawn_line, evidence, rolling_line, text_line, write_run

KINDS = ("identical_scores", "identical_texts", "unchanged_weights")
Lines = list[dict[str, Any]]


def scored(shift: float = 0.0, count: int = 12) -> Task:
    """Each option of each item with a score of its own."""
    lines = []
    for i in range(count):
        scores = [[str(-1.0 - shift - 0.37 * i - 0.011 * option), "False"] for option in range(3)]
        lines.append(choice_line(i, 0, resps=[[score] for score in scores], filtered_resps=scores))
    return Task(lines)


def generated(texts: Sequence[str]) -> Task:
    return Task([text_line(i, text) for i, text in enumerate(texts)], "generate_until")


def words(start: str = "") -> list[str]:
    return [f"{start}It was the {name}, I think." for name in "abcdefghijkl"]


def stock(name: str, **arguments: Any) -> dict[str, Any]:
    return {"model_args": {"pretrained": name, "dtype": "float32", **arguments}}


def signs(folder: Path, **options: Any) -> list[Issue]:
    with ItemStore(folder / "items.parquet") as store:
        logs = read_logs(folder / "runs", store)
        found = pair_runs(logs, choose_baselines(logs.runs, **options))
    return [issue for issue in found.issues if issue.kind in KINDS]


def two_stock(folder: Path, one: Task, other: Task, **config: Any) -> Path:
    write_run(folder / "runs", 1, {"t": one}, config=stock("org/smol") | config)
    return write_run(folder / "runs", 2, {"t": other}, config=stock("org/smol-GPTQ") | config)


@pytest.mark.parametrize("options", [{}, {"named": "smol/dense"}])
def test_stock_runs_of_two_models_with_the_same_scores(options: dict[str, Any], tmp_path: Path) -> None:
    second = two_stock(tmp_path, scored(), scored(), use_cache="cache/db")
    (sign,) = signs(tmp_path, **options)
    assert (sign.kind, sign.level, sign.file) == ("identical_scores", "warning", second.name)
    assert sign.message == (
        "smol/dense, smol-GPTQ(unverified gptq) have the same scores, to the last digit, on all items of t: a cache "
        "(smol/dense (cache/db), smol-GPTQ(unverified gptq) (cache/db)) answered for them, or they are one model. "
        "Delete the cache and run again"
    )


@pytest.mark.parametrize("options", [{}, {"named": "smol/dense"}])
def test_stock_runs_of_two_models_with_the_same_texts(options: dict[str, Any], tmp_path: Path) -> None:
    two_stock(tmp_path, generated(words()), generated(words()))
    (sign,) = signs(tmp_path, **options)
    assert (sign.kind, sign.level) == ("identical_texts", "warning")
    assert (
        "smol/dense, smol-GPTQ(unverified gptq) generated the same texts on all items of t: a cache (--use_cache)"
        in sign.message
    )


def test_the_last_digit_counts(tmp_path: Path) -> None:
    two_stock(tmp_path, scored(), scored(1e-9))
    assert signs(tmp_path) == []


def test_one_other_text_counts(tmp_path: Path) -> None:
    two_stock(tmp_path, generated(words()), generated([*words()[:-1], "No."]))
    assert signs(tmp_path) == []


def test_what_a_filter_left_is_not_what_was_generated(tmp_path: Path) -> None:
    # Both are right on all items, each in its own words.
    tasks = [
        Task([text_line(i, str(i), resps=[[f"{start} {i}"]]) for i in range(12)], "generate_until")
        for start in ("It is", "That makes")
    ]
    two_stock(tmp_path, *tasks)
    assert signs(tmp_path) == []


@pytest.mark.parametrize(
    "task",
    [
        lambda: generated([""] * 12),
        lambda: generated(["Yes", "No"] * 6),
        lambda: generated(["A", "B", "C", "D"] * 3),
        # Nothing was computed, or the same for every option.
        lambda: constant("nan"),
        lambda: constant("-inf"),
        lambda: constant("-10.8197782844103"),
        lambda: constant("0.0"),
    ],
    ids=["empty", "yes or no", "letters", "nan", "-inf", "uniform", "no scores"],
)
def test_constant_answers_are_no_sign(task: Callable[[], Task], tmp_path: Path) -> None:
    two_stock(tmp_path, task(), task())
    assert signs(tmp_path) == []


def constant(score: str) -> Task:
    scores = [[score, "False"]] * 3
    return Task([choice_line(i, 0, resps=[[s] for s in scores], filtered_resps=scores) for i in range(12)])


def test_one_text_of_many_tokens_is_enough(tmp_path: Path) -> None:
    task = Task([rolling_line(0, -1234.567)], "loglikelihood_rolling")
    two_stock(tmp_path, task, task)
    assert [sign.kind for sign in signs(tmp_path)] == ["identical_scores"]


def test_a_lost_line_hides_no_cache(tmp_path: Path) -> None:
    other = scored()
    del other.lines[3]
    two_stock(tmp_path, scored(), other)
    assert [sign.kind for sign in signs(tmp_path)] == ["identical_scores"]


@pytest.mark.parametrize(("one", "other"), [(500, 500), (500, 100), (500, 20)])
def test_long_logs_and_the_first_items_of_them(one: int, other: int, tmp_path: Path) -> None:
    two_stock(tmp_path, scored(count=one), scored(count=other))
    assert [sign.kind for sign in signs(tmp_path)] == ["identical_scores"]


def test_long_logs_that_differ_in_part(tmp_path: Path) -> None:
    other = scored(count=500)
    other.lines[250:] = scored(0.5, count=500).lines[250:]
    two_stock(tmp_path, scored(count=500), other)
    assert signs(tmp_path) == []


def test_quantized_on_load_is_another_model_of_the_same_name(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": scored()}, config=stock("org/smol"))
    write_run(tmp_path / "runs", 2, {"t": scored()}, config=stock("org/smol", load_in_4bit=True))
    assert [sign.kind for sign in signs(tmp_path)] == ["identical_scores"]


def test_one_model_repeated_is_expected_to_agree(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": scored(), "g": generated(words())}, config=stock("org/base", device="cpu"))
    write_run(tmp_path / "runs", 2, {"t": scored(), "g": generated(words())}, config=stock("org/base"))
    write_run(tmp_path / "runs", 3, {"t": scored(), "g": generated(words())}, evidence("dense", **DENSE))
    assert signs(tmp_path) == []


def test_two_recipes_and_their_baseline_are_named_once_with_all_tasks(tmp_path: Path) -> None:
    tasks = {name: scored() for name in "abcdef"}
    write_run(tmp_path / "runs", 1, tasks, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, tasks, evidence("rtn-4"))
    write_run(tmp_path / "runs", 3, tasks, evidence("wanda-50"))
    (sign,) = signs(tmp_path)
    assert (sign.kind, sign.level) == ("identical_scores", "warning")
    assert (
        "dense, rtn-4, wanda-50 have the same scores, to the last digit, on all items of a, b, c, d and 2 more tasks"
        in (sign.message)
    )


def test_the_same_texts_of_weights_that_changed_are_a_note(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": generated(words())}, config=stock("org/base"))
    write_run(tmp_path / "runs", 2, {"t": generated(words())}, evidence("rtn-8"))
    (sign,) = signs(tmp_path)
    assert (sign.kind, sign.level) == ("identical_texts", "note")
    assert sign.message.endswith("generated the same texts on all items of t, though their weights differ")


def test_drawn_texts_are_held_against_each_other_too(tmp_path: Path) -> None:
    def draws(texts: Sequence[str]) -> Task:
        lines = [drawn_line(i, [0]) | {"resps": [[text]]} for i, text in enumerate(texts)]
        for line, text in zip(lines, texts, strict=True):
            line["answer"]["draws"][0]["text"] = text
        return Task(lines, "generate_until")

    two_stock(tmp_path, draws(words()), draws(words()))
    write_run(tmp_path / "runs", 3, {"t": draws(words("No. "))}, config=stock("org/third"))
    (sign,) = signs(tmp_path)
    assert sign.message.startswith("smol/dense, smol-GPTQ(unverified gptq) generated the same texts")

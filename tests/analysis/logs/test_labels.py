from __future__ import annotations

from typing import Any

import pytest

from analysis.logs.labels import base_groups, label_runs
from analysis.logs.results import RunLog, TaskLog


def task(name: str) -> TaskLog:
    return TaskLog(
        name=name, output_type="multiple_choice", version=None, n_shot=0, n_effective=1, task_hash=None,
        perplexities={}, samples=None,
    )  # fmt: skip


FACTS = (
    "label", "pretrained", "pretrained_args", "revision", "revision_args", "model_name", "method", "base_hash",
    "weights_hash",
)  # fmt: skip


def run(label: str | None, base: str = "org/base", tasks: str = "t", **facts: Any) -> RunLog:
    known = dict.fromkeys(FACTS) | {"label": label, "pretrained": base, "attachments": []}
    known["method"] = None if label is None else "wanda"
    return RunLog(
        file=f"{facts.pop('file', 'f')}.json",
        date_id="2026-01-02T03-04-05",
        facts=known | facts,
        tasks={name: task(name) for name in tasks.split()},
    )


def labels(*runs: RunLog) -> list[str]:
    return list(label_runs(list(runs))[0])


def test_evidence_names_a_run_and_dense_names_the_rest() -> None:
    assert labels(run("wanda-50"), run(None)) == ["wanda-50", "dense"]


def test_several_base_models_go_before_the_label() -> None:
    found = labels(run(None, "org/small"), run("w", "org/small"), run(None, "./models/big"))
    assert found == ["small/dense", "small/w", "big/dense"]


def test_base_models_that_end_alike_are_given_whole() -> None:
    assert labels(run(None, "a/m"), run(None, "b/m")) == ["a/m/dense", "b/m/dense"]


def test_an_adapter_makes_another_base_model() -> None:
    assert labels(run(None, "a/m"), run(None, "a/m", attachments=["me/lora"])) == ["m/dense", "m+lora/dense"]


def test_names_with_the_same_weights_are_one_base_model() -> None:
    first, second = run("w", "org/m", base_hash="h"), run(None, "/copy/m", base_hash="h")
    assert labels(first, second) == ["w", "dense"]
    third = run("x", "/copy/m")
    assert base_groups([first, second, third]) == {"org/m": "org/m", "/copy/m": "org/m"}
    assert len(set(base_groups([third, first, second]).values())) == 1


def test_runs_of_one_identity_are_numbered_and_both_stay() -> None:
    named, issues = label_runs([run("w", file="a"), run("w", file="b"), run("x", file="c")])
    assert [(label, log.file) for label, log in named.items()] == [
        ("w#1", "a.json"), ("w#2", "b.json"), ("x", "c.json"),
    ]  # fmt: skip
    assert [(issue.file, issue.kind, issue.level) for issue in issues] == [
        ("a.json", "same_identity", "warning"),
        ("b.json", "same_identity", "warning"),
    ]
    assert issues[0].message == (
        "2 runs are 'w'; kept apart, this one is 'w#1': 'w#2' (b.json) has t too, with no hash of the weights"
    )


def test_runs_of_other_tasks_are_only_noted_and_other_weights_are_said() -> None:
    runs = [run("w", tasks="a", weights_hash="1"), run("w", tasks="b", weights_hash="2", file="g")]
    _, issues = label_runs(runs)
    assert {issue.level for issue in issues} == {"note"}
    assert issues[0].message.endswith("this one is 'w#1': 'w#2' (g.json) has none of its tasks, with different weights")


def test_an_issue_speaks_of_what_its_own_file_shares() -> None:
    # a and b have t in common; c is of the same label and has nothing that another file has.
    runs = [
        run("w", tasks="t u", weights_hash="1", file="a"),
        run("w", tasks="t v", weights_hash="1", file="b"),
        run("w", tasks="x", weights_hash="2", file="c"),
    ]
    _, issues = label_runs(runs)
    start = "3 runs are 'w'; kept apart, this one is"
    assert [(issue.file, issue.level, issue.message) for issue in issues] == [
        ("a.json", "warning", f"{start} 'w#1': 'w#2' (b.json) has t too, with the same weights"),
        ("b.json", "warning", f"{start} 'w#2': 'w#1' (a.json) has t too, with the same weights"),
        (
            "c.json",
            "note",
            f"{start} 'w#3': 'w#1' (a.json) has none of its tasks, with different weights; "
            "'w#2' (b.json) has none of its tasks, with different weights",
        ),
    ]


def test_many_files_of_one_label_are_named_in_part() -> None:
    _, issues = label_runs([run("w", tasks="a b c d", file=f"f{i}") for i in range(6)])
    assert issues[0].message.count("has a, b, c, ... too") == 3
    assert issues[0].message.endswith("; and 2 more")


def test_a_number_that_is_taken_is_skipped() -> None:
    assert labels(run("w"), run("w#1"), run("w")) == ["w#2", "w#1", "w#3"]


@pytest.mark.parametrize("count", [2, 5])
def test_labels_are_always_unique(count: int) -> None:
    assert len(set(labels(*(run("w") for _ in range(count))))) == count

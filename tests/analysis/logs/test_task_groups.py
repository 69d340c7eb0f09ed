from __future__ import annotations

from typing import Any

from analysis.logs.task_groups import task_groups


def content(subtasks: Any, results: Any, better: Any = None) -> dict[str, Any]:
    return {"group_subtasks": subtasks, "results": results, "higher_is_better": better}


def test_tasks_of_groups_below_belong_to_a_group() -> None:
    found = task_groups(
        content(
            {"mmlu": ["stem", "law"], "stem": ["algebra", "physics"], "law": []},
            {"mmlu": {"acc,none": 0.5, "acc_stderr,none": 0.1, "alias": "mmlu"}, "stem": {"alias": " - stem"}},
            {"mmlu": {"acc": True}},
        ),
        ["algebra", "physics", "law"],
    )
    # stem has no value of its own; law is a task, which some versions list as a group of none.
    assert list(found) == ["mmlu"]
    assert found["mmlu"].tasks == ("algebra", "law", "physics")
    assert found["mmlu"].metrics == {"none": {"acc": 0.5}}
    assert found["mmlu"].higher_is_better == {"acc": True}


def test_a_group_that_holds_itself_ends_there() -> None:
    found = task_groups(content({"a": ["b", "t"], "b": ["a"]}, {"a": {"acc,none": 1.0}}), ["t"])
    assert found["a"].tasks == ("t",)


def test_what_lm_eval_does_not_write_is_left_out() -> None:
    for subtasks in (None, [], "mmlu", {"mmlu": "stem"}, {"mmlu": [["t"], 3, None]}, {"mmlu": {}}):
        assert task_groups(content(subtasks, {"mmlu": {"acc,none": 1.0}}), ["t"]) == {}
    for results in (None, [], {"mmlu": None}, {"mmlu": "0.5"}, {"mmlu": {"acc,none": "N/A"}}):
        assert task_groups(content({"mmlu": ["t"]}, results), ["t"]) == {}

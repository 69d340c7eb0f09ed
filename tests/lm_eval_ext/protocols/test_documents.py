"""Which documents `--limit` and `--samples` leave, what is said of them, and under which numbers they are logged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.documents import few_templates
from tests.helpers.runs import evaluate, task_manager
from tests.helpers.shared import shared_data

DEMO = "bbq_itemlevel_demo"


def items(*templates: str, category: str = "Age") -> list[dict[str, Any]]:
    return [{"category": category, "cluster": f"{category}/{name}"} for name in templates]


def test_a_limit_that_leaves_few_templates() -> None:
    twenty = items(*map(str, range(20)), *map(str, range(20)))
    said = few_templates(twenty, limit=11)
    assert said is not None
    assert said.startswith("--limit leaves 11 of 20 templates of Age.")
    assert said.endswith("Take --limit 12 or more.")
    assert few_templates(twenty, limit=12) is few_templates(twenty, limit=40) is None
    # The same template again is no second one.
    assert (few_templates(items(*"1" * 30, *map(str, range(20))), limit=30) or "").endswith("Take --limit 42 or more.")


def test_a_category_of_few_templates_has_no_more_to_give() -> None:
    five = items(*"12345", *"12345")
    assert few_templates(five, limit=5) is few_templates(five, limit=10) is None
    assert "leaves 4 of 5 templates of Age" in (few_templates(five, limit=4) or "")


def test_several_categories_in_one_line() -> None:
    some = [item for name in "ABCDE" for item in items(*map(str, range(20)), category=name)]
    said = few_templates(some, limit=30) or ""
    assert "10 of 20 templates of B, 0 of 20 templates of C, 0 of 20 templates of D (and 1 more categories)" in said
    assert said.endswith("Take --limit 92 or more.")
    assert "\n" not in said


def test_samples_that_leave_few_templates() -> None:
    twenty = items(*map(str, range(20)))
    said = few_templates(twenty, samples=[0, 19, 3]) or ""
    assert said.startswith("--samples leaves 3 of 20 templates of Age.")
    assert "--limit" not in said
    assert few_templates(twenty, samples=list(range(3, 15))) is None


@pytest.mark.parametrize(("limit", "count", "templates"), [(60, 60, 25), (0.05, 60, 25), (10, 10, 5)])
def test_a_limit_is_a_sample(
    limit: float, count: int, templates: int, llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through lm_eval, on Religion: 60 documents of its file are 2 templates."""
    from lm_eval.evaluator_utils import get_sample_size

    name = "bbq_itemlevel_religion"
    task = task_manager(bbq_dir=str(shared_data("bbq"))).load([name])["tasks"][name]
    with caplog.at_level(logging.WARNING):
        task.build_all_requests(limit=get_sample_size(task, limit), rank=0, world_size=1)
    asked = {request.doc["item"]["item_id"]: request.doc["item"] for request in task.instances}
    assert len(asked) == count
    assert len({item["cluster"] for item in asked.values()}) == templates
    conditions = [item["condition"] for item in asked.values()]
    assert conditions.count("ambig") == conditions.count("disambig") == count // 2
    warned = [record.message for record in caplog.records if "templates" in record.message]
    assert len(warned) == (templates < 12)
    assert all("task bbq_itemlevel_religion: --limit leaves 5 of 25 templates of Religion" in line for line in warned)


def test_samples_are_logged_under_their_own_numbers(llama: Path) -> None:
    """lm_eval sorts the documents of an unsorted list, and gives them the list's numbers."""
    plain = evaluate(llama, [DEMO], limit=12)["samples"][DEMO]
    chosen = evaluate(llama, [DEMO], samples={DEMO: [9, 2, 11]})["samples"][DEMO]
    of = {sample["doc_id"]: sample["doc"]["item"]["item_id"] for sample in plain}
    assert {sample["doc_id"]: sample["doc"]["item"]["item_id"] for sample in chosen} == {n: of[n] for n in (9, 2, 11)}
    before = {sample["doc_id"]: sample["answer"]["probs"] for sample in plain}
    for sample in chosen:
        assert sample["answer"]["probs"] == pytest.approx(before[sample["doc_id"]], rel=1e-4)


def test_ranks_share_out_the_samples() -> None:
    task = task_manager().load([DEMO])["tasks"][DEMO]
    found = {rank: list(task.doc_iterator(rank=rank, world_size=2, samples=[7, 1, 5])) for rank in (0, 1)}
    assert [place for place, _ in found[0]] == [0, 2]
    assert [place for place, _ in found[1]] == [1]
    docs = [doc for _, doc in sorted(found[0] + found[1], key=lambda pair: pair[0])]
    assert docs == [task.eval_docs[n] for n in (7, 1, 5)]


@pytest.mark.parametrize("samples", [[0, 200], [-1], [1, 1], ["1"], [True]])
def test_samples_that_no_document_has(samples: list[Any]) -> None:
    task = task_manager().load([DEMO])["tasks"][DEMO]
    with pytest.raises(UserError, match=f"--samples for task {DEMO}: expected whole numbers from 0 to 199, none twice"):
        task.doc_iterator(samples=samples)

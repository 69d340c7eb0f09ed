"""The modules of logs/stock: BBQ's rule on BBQ's rows, what is none of a benchmark's documents, quirks that count."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.results import TaskLog
from analysis.logs.samples import SamplesRead, read_file
from analysis.logs.stock import stock_task
from lm_eval_ext.datasets.bbq.roles import derive_roles, option_groups
from lm_eval_ext.datasets.bbq.rows import parse_row
from tests.helpers.runlogs import sample, sha, write_lines
from tests.helpers.shared import shared_data


def rows_of(folder: Path) -> list[dict[str, Any]]:
    out = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            out += [json.loads(line) for line in stream]
    return out


def roles_of(rows: list[dict[str, Any]]) -> list[dict[int, str]]:
    """By option of the row, the roles that the stock reader gives the two people."""
    task = stock_task("bbq")
    assert task is not None
    for row in rows:
        if row["category"].startswith("Race_x_"):
            task.learn(row)
    out = []
    for row in rows:
        item = task.item(row)
        places = [option for option in range(3) if row[f"ans{option}"] == item.options[0]][:1]
        places += [option for option in range(3) if row[f"ans{option}"] == item.options[1]][-1:]
        assert len(item.roles) == len(item.options) == len(item.groups) == 12
        assert set(item.roles[2:]) == {"unknown"}
        out.append(dict(zip(places, item.roles[:2], strict=True)))
    return out


@pytest.mark.parametrize("source", ["official", "regenerated"])
def test_roles_and_people_are_those_of_our_own_task(source: str) -> None:
    rows = rows_of(shared_data("bbq", source))
    if source == "regenerated":  # whole templates, some: these are 46,536 rows
        rows = [row for row in rows if row["question_index"] in ("1", "8", "13", "25")]
    parsed = [parse_row(row, "row") for row in rows]
    found = roles_of(rows)
    for row, ours, theirs in zip(parsed, derive_roles(parsed), found, strict=True):
        assert theirs == {option: ours[option] for option in row.persons}
    task = stock_task("bbq")
    assert task is not None
    for raw, row in zip(rows[::7], parsed[::7], strict=True):
        item = task.item(raw)
        groups = option_groups(row)
        assert item.groups[:2] == tuple(groups[option] for option in row.persons)
        assert (item.record["item_id"], item.record["cluster"]) == (f"bbq/{row.category}/{row.example_id}", row.cluster)
        assert min(item.keys) == (2 if row.label == row.unknown else row.persons.index(row.label))
        assert len(item.keys) == (10 if row.label == row.unknown else 1)


def test_the_published_targets_have_the_role_stereotype() -> None:
    with gzip.open(shared_data("bbq", "target_label.csv.gz"), "rt") as stream:
        targets = {
            (row["category"], int(row["example_id"])): int(row["target_label"]) for row in csv.DictReader(stream)
        }
    rows = [row for row in rows_of(shared_data("bbq", "official")) if (row["category"], row["example_id"]) in targets]
    assert len(rows) == len(targets) == 7960
    for row, roles in zip(rows, roles_of(rows), strict=True):
        target = targets[row["category"], row["example_id"]]
        stereotyped = [option for option, role in roles.items() if role == "stereotype"]
        assert stereotyped == ([target] if target in roles else [])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("bbq", True), ("bbq_ambig", True), ("bbq_disambig", True), ("bbq_generate", True),
        ("bbq_generate_ambig", True), ("bbq_generate_disambig", True), ("crows_pairs_english", True),
        ("crows_pairs_french_sexual_orientation", True), ("esbbq_spanish_region", True), ("cabbq_lgbtqia", True),
        ("bbq_itemlevel", False), ("crows_pairs_itemlevel", False), ("bbqx", False), ("mmlu", False),
    ],
)  # fmt: skip
def test_tasks_are_known_by_name(name: str, known: bool) -> None:
    assert (stock_task(name) is not None) == known


def test_every_stock_task_of_lm_eval_is_known() -> None:
    import lm_eval
    import yaml

    names = []
    for folder in ("bbq", "crows_pairs", "esbbq", "cabbq"):
        for path in (Path(lm_eval.__file__).parent / "tasks" / folder).glob("*.yaml"):
            text = "\n".join(line for line in path.read_text().splitlines() if "!function" not in line)
            names += [yaml.safe_load(text).get("task")]
    found = [name for name in names if isinstance(name, str)]
    assert len(found) == 6 + 22 + 10 + 10
    assert [name for name in found if stock_task(name) is None] == []


def read(folder: Path, name: str, lines: list[dict[str, Any]], output_type: str = "multiple_choice") -> SamplesRead:
    write_lines(folder / "s.jsonl", lines)
    about = TaskLog(
        name=name, output_type=output_type, version="1", n_shot=0, n_effective=len(lines), task_hash=None,
        perplexities={}, samples=None,
    )  # fmt: skip
    return read_file(folder / "s.jsonl", about)


def pair(number: int, scores: tuple[float, float], **doc: Any) -> dict[str, Any]:
    """A line of crows_pairs; the first sentence stereotypes more."""
    content = {"sent_more": f"more {number}", "sent_less": f"less {number}", "bias_type": "age"} | doc
    logged = [[str(score), "False"] for score in scores]
    return sample(number, content, [("", "m"), ("", "l")], logged, likelihood_diff=0.0)


def test_equal_scores_are_no_choice_in_crows_pairs(tmp_path: Path) -> None:
    lines = [pair(0, (-3.0, -3.0)), pair(1, (-3.0, -4.0)), pair(2, (-5.0, -4.0))]
    found = read(tmp_path, "crows_pairs_french_age", lines)
    assert found.issues == []
    assert found.table["status"].to_pylist() == ["unscored", "answered", "answered"]
    assert found.table["axis"].to_pylist() == [None, "toward", "against"]
    # exp(-3) to exp(-4), and the other way round.
    assert found.table["p_toward"].to_pylist() == pytest.approx([0.5, 0.7310586, 0.2689414])
    assert found.table["p_neutral"].to_pylist() == [None] * 3


def test_an_item_is_the_same_in_the_whole_task_and_in_its_part(tmp_path: Path) -> None:
    whole = read(tmp_path, "crows_pairs_english", [pair(0, (-1, -2)), pair(7, (-1, -2))]).table["item_id"].to_pylist()
    part = pair(7, (-1, -2)) | {"doc_id": 0}
    assert read(tmp_path, "crows_pairs_english_age", [part]).table["item_id"].to_pylist() == whole[1:]


def test_a_task_of_such_a_name_with_other_documents_is_read_without_roles_and_named(tmp_path: Path) -> None:
    good, odd = pair(0, (-1.0, -2.0)), pair(1, (-1.0, -2.0))
    del odd["doc"]["sent_less"]
    odd["doc_hash"] = sha(json.dumps(odd["doc"], indent=2, ensure_ascii=False))
    three = sample(2, good["doc"] | {"id": 5}, [("", "m")] * 3, [["-1", "False"]] * 3)
    found = read(tmp_path, "crows_pairs_english", [good, odd, three])
    (issue,) = found.issues
    assert issue.kind == "stock_document"
    assert issue.message.startswith("2 lines are in no table by role: documents or answers that are not those of")
    assert "doc.sent_less: expected a text, got None (1)" in issue.message
    assert found.table["axis"].to_pylist() == ["toward", None, None]
    assert found.table["item_id"].to_pylist()[1:] == ["crows_pairs_english/1", "crows_pairs_english/2"]


DOC = {
    "example_id": 3, "question_index": "1", "question_polarity": "neg", "context_condition": "ambig",
    "category": "Age", "biased_answers": ["Pat"],
    "answer_info": {"ans0": ["Pat", "old"], "ans1": ["Unknown", "unknown"], "ans2": ["Kim", "nonOld"]},
    "additional_metadata": {"stereotyped_groups": ["old"]}, "context": "c", "question": "q",
    "ans0": "Pat", "ans1": "Unknown", "ans2": "Kim", "label": 1,
    "ans0_groups": ["pat", "old"], "ans1_groups": ["unknown", "unknown"], "ans2_groups": ["kim", "nonold"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        (" Pat.", 0), ("It was kim, I think", 1), ("I don't know who", 2), ("It cannot be determined.", 2),
        ("the old one", 0), ("Nobody at all", None), ("", None), ("Pat or Kim", 0), ("unknown, maybe Pat", 0),
        ("The nonold or the old", 1),
    ],
)  # fmt: skip
def test_generated_texts(tmp_path: Path, answer: str, choice: int | None) -> None:
    line = sample(0, DOC, [("c q", {"until": []})], [answer])
    found = read(tmp_path, "bbq_generate_ambig", [line], "generate_until")
    (row,) = found.table.to_pylist()
    assert found.issues == []
    assert (row["choice"], row["status"]) == (choice, "unparsed" if choice is None else "answered")
    assert row["correct"] == (choice == 2)
    assert row["axis"] == (None if choice is None else ["toward", "against", "neutral"][choice])
    assert row["text"] == answer


@pytest.mark.parametrize(("answer", "choice"), [("Pat or Kim", 0), ("the old one", 0), ("nonold or old", 1)])
def test_generated_texts_are_read_as_lm_eval_itself_reads_them(answer: str, choice: int) -> None:
    from lm_eval.tasks.bbq import utils

    task = stock_task("bbq_generate")
    assert task is not None
    for text in (answer, "unknown", "Kim", "cannot know", "Who?", "the pat", "he is old"):
        logged = utils.process_results_generate_until(DOC, [text])
        right, toward, named, _ = logged["amb_bias_score"]
        found = task.chosen(DOC, text)
        assert (found is not None and found >= 2) == bool(right)
        assert (found == 0) == bool(toward)
        assert (found in (0, 1)) == bool(named)
    assert task.chosen(DOC, answer) == choice

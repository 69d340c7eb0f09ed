from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.logs.results import TaskLog
from analysis.logs.samples import SamplesRead, read_samples
from analysis.logs.store import to_pandas
from analysis.schema.items import ITEMS
from tests.helpers.runlogs import (
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    rolling_line,
    task_hash,
    text_line,
    write_lines,
)

LINES = [choice_line(i, i % 3) for i in range(5)]


def task(lines: list[dict[str, Any]], output_type: str = "multiple_choice", **changes: Any) -> TaskLog:
    fields: dict[str, Any] = {
        "name": "t",
        "output_type": output_type,
        "version": "1.0",
        "n_shot": 0,
        "n_effective": len({line["doc_id"] for line in lines}),
        "task_hash": task_hash(lines),
        "perplexities": {},
        "samples": None,
    }
    return TaskLog(**(fields | changes))


def read(folder: Path, lines: list[dict[str, Any]], output_type: str = "multiple_choice") -> SamplesRead:
    write_lines(folder / "s.jsonl", lines)
    return read_samples(folder / "s.jsonl", "s.jsonl", "r", task(lines, output_type))


def rows(found: SamplesRead) -> list[dict[str, Any]]:
    frame = ITEMS.conform(to_pandas(found.table))
    frame["probabilities"] = [
        None if value is pd.NA or value is None else list(value) for value in frame["probabilities"]
    ]
    return [
        {name: value if isinstance(value, list) or not pd.isna(value) else None for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def test_every_column_of_a_line_of_ours(tmp_path: Path) -> None:
    line = bbq_line(7, 1, item=bbq_item(12, category="SES", condition="disambig", correct=1))
    found = read(tmp_path, [line])
    assert rows(found) == [
        {
            "run": "r",
            "task": "t",
            "filter": "none",
            "item_id": "bbq/SES/12",
            "doc_id": 7,
            "benchmark": "bbq",
            "category": "SES",
            "condition": "disambig",
            "polarity": "nonneg",
            "cluster": "SES/3",
            "stereotyped_groups": "old",
            "option_groups": "old || young || ",
            "scheme": "bbq: stereotype=toward, anti_stereotype=against, unknown=neutral, undetermined=none",
            "option_axes": "toward | against | neutral",
            "protocol": "letters",
            "seed": None,
            "status": "answered",
            "choice": 1,
            "role": "anti_stereotype",
            "axis": "against",
            "determined": True,
            "correct": True,
            "metric": "acc",
            "metrics": None,
            "p_choice": 0.6,
            "p_toward": 0.2,
            "p_against": 0.6,
            "p_neutral": 0.2,
            "p_off": None,
            "p_key": 0.6,
            "probabilities": [0.2, 0.6, 0.2],
            "letter_mass": 0.9,
            "drawn_letter_mass": None,
            # scipy.stats.entropy([0.2, 0.6, 0.2], base=2)
            "entropy": pytest.approx(1.370950594454669, abs=1e-12),
            "margin": 0.39999999999999997,
            "text": None,
            "doc_hash": line["doc_hash"],
            "prompt_hash": line["prompt_hash"],
            "target_hash": line["target_hash"],
            # sha256sum of {"gen_args_0":{"arg_0":"P bbq/SES/12","arg_1":"A"},"gen_args_1":{...,"arg_1":"B"},...}
            "request_hash": "c337775c10fd0b37cbc48a08a573c307ba6b02c5dd40daa72afe92268b98e369",
        }
    ]
    assert (found.issues, found.has_roles) == ([], True)


def test_every_column_of_a_plain_line(tmp_path: Path) -> None:
    line = text_line(3, "5", key="4", filter="strict-match", exact_match="False")
    found = read(tmp_path, [line], "generate_until")
    expected = dict.fromkeys(ITEMS.names) | {
        "run": "r",
        "task": "t",
        "filter": "strict-match",
        "item_id": "t/3",
        "doc_id": 3,
        "benchmark": "t",
        "category": "t",
        "cluster": "t/3",
        "protocol": "generate_until",
        "status": "answered",
        "correct": False,
        "metric": "exact_match",
        "metrics": '{"exact_match": 0.0}',
        "text": "5",
        "doc_hash": line["doc_hash"],
        "prompt_hash": line["prompt_hash"],
        "target_hash": line["target_hash"],
        # printf '%s' '{"gen_args_0":{"arg_0":"Q 3","arg_1":{"until":["\n"]}}}' | sha256sum
        "request_hash": "35f984cd83cec71ca3f01691fbae2058a84e4e80c5f24c46a57db0db75f0dc0a",
    }
    assert rows(found) == [expected]
    assert (found.issues, found.has_roles) == ([], False)
    assert found.fingerprint is not None
    assert (found.fingerprint.scored, found.fingerprint.distinct) == (False, 1)


def test_draws_are_rows_of_their_own_and_items_of_other_roles_are_not_bbqs(tmp_path: Path) -> None:
    found = read(tmp_path, [drawn_line(0, [0, 2, None])])
    assert [(row["item_id"], row["seed"], row["choice"], row["text"]) for row in rows(found)] == [
        ("bbq/Age/0", 42, 0, "A"),
        ("bbq/Age/0", 43, 2, "C"),
        ("bbq/Age/0", 44, None, "?"),
    ]
    other = bbq_item(0) | {"roles": ["biased", "unbiased", "uncertain"]}
    assert not read(tmp_path, [bbq_line(0, 0, item=other)]).has_roles


@pytest.mark.parametrize("quick", [True, False])
def test_each_text_has_the_probability_of_the_option_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    line = drawn_line(0, [2, None, 0])
    line["answer"]["probs"] = [0.5, 0.3, 0.2]
    assert read(tmp_path, [line]).table["p_choice"].to_pylist() == [0.2, None, 0.5]


def test_a_rolling_task_has_no_rows_but_scores(tmp_path: Path) -> None:
    found = read(tmp_path, [rolling_line(0, -12.5), rolling_line(1, -9.0)], "loglikelihood_rolling")
    assert (found.table.num_rows, found.issues) == (0, [])
    assert found.fingerprint is not None
    assert (found.fingerprint.scored, found.fingerprint.distinct) == (True, 2)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    choices=st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=12),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    packed=st.booleans(),
)
def test_whatever_is_written_is_read(tmp_path: Path, choices: list[int | None], text: str, packed: bool) -> None:
    lines = [drawn_line(i, [choice, 1]) for i, choice in enumerate(choices)]
    for line in lines:
        line["answer"]["draws"][0]["text"] = text
    path = tmp_path / ("s.jsonl.gz" if packed else "s.jsonl")
    write_lines(path, lines)
    found = read_samples(path, path.name, "r", task(lines))
    assert found.issues == []
    assert [(row["item_id"], row["seed"], row["choice"], row["text"]) for row in rows(found)] == [
        row
        for i, choice in enumerate(choices)
        for row in ((f"bbq/Age/{i}", 42, choice, text), (f"bbq/Age/{i}", 43, 1, "B"))
    ]


def test_bare_nan_and_infinity_are_read(tmp_path: Path) -> None:
    line = bbq_line(0, 0, entropy=float("nan"))
    other = bbq_line(1, None, margin=float("inf"))
    assert "NaN" in json.dumps(line)
    assert "Infinity" in json.dumps(other)
    first, second = rows(read(tmp_path, [line, other]))
    assert first["entropy"] == pytest.approx(1.370950594454669)  # made of the probabilities
    assert second["margin"] == float("inf")


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_breaks_off_keeps_its_complete_lines(tmp_path: Path, packed: bool) -> None:
    data = "".join(json.dumps(line) + "\n" for line in LINES).encode()[:-30]
    path = tmp_path / ("s.jsonl.gz" if packed else "s.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_samples(path, "s", "r", task(LINES))
    assert [row["doc_id"] for row in rows(found)] == [0, 1, 2, 3]
    (issue,) = found.issues
    assert (issue.kind, issue.file) == ("truncated", "s")
    assert issue.message == "line 5 breaks off; the file is cut off, 4 complete documents of 5 are kept"


def test_a_packed_file_that_breaks_off_inside_the_packing(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl.gz"
    write_lines(path, LINES)
    path.write_bytes(path.read_bytes()[:-12])
    found = read_samples(path, "s", "r", task(LINES))
    assert [issue.kind for issue in found.issues] == ["truncated"]
    assert found.table.num_rows <= len(LINES)
    path.write_bytes(b"no gzip at all")
    assert [issue.kind for issue in read_samples(path, "s", "r", task(LINES)).issues] == ["truncated"]


def test_a_file_cut_at_the_end_of_a_line_is_incomplete(tmp_path: Path) -> None:
    write_lines(tmp_path / "s.jsonl", LINES[:4])
    (issue,) = read_samples(tmp_path / "s.jsonl", "s", "r", task(LINES)).issues
    assert (issue.kind, issue.message) == ("incomplete", "4 documents, but the results file counts 5 evaluated")


def test_a_broken_line_in_the_middle_is_left_out_by_number(tmp_path: Path) -> None:
    broken: list[Any] = [LINES[0], "not json", {**LINES[1], "doc_id": None}, LINES[2]]
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in broken)
    (tmp_path / "s.jsonl").write_text(text)
    found = read_samples(tmp_path / "s.jsonl", "s", "r", task(LINES))
    assert [row["doc_id"] for row in rows(found)] == [0, 2]
    assert [(issue.kind, issue.message) for issue in found.issues] == [
        ("bad_line", "not JSON (JSONDecodeError): 1 lines left out (line 2)"),
        ("bad_line", "doc_id: missing: 1 lines left out (line 3)"),
    ]


def test_an_item_that_is_there_twice_is_left_out_whole(tmp_path: Path) -> None:
    again = choice_line(1, 2)
    found = read(tmp_path, [*LINES, again])
    assert [row["doc_id"] for row in rows(found)] == [0, 2, 3, 4]
    (issue,) = found.issues
    assert issue.kind == "duplicate_items"
    assert issue.message == "1 items are there more than once (t/1); all their rows are left out"


def test_filters_of_a_document_are_no_duplicates(tmp_path: Path) -> None:
    lines = [text_line(0, "4", filter=name) for name in ("strict-match", "flexible-extract")]
    found = read(tmp_path, lines, "generate_until")
    assert (found.table.num_rows, found.issues) == (2, [])


def test_lines_that_the_results_were_not_made_from(tmp_path: Path) -> None:
    write_lines(tmp_path / "s.jsonl", [choice_line(i, 0, prompt="other") for i in range(5)])
    (issue,) = read_samples(tmp_path / "s.jsonl", "s", "r", task(LINES)).issues
    assert issue.kind == "altered"


def test_the_fingerprint_knows_scores_but_not_the_order_of_lines(tmp_path: Path) -> None:
    found = read(tmp_path, LINES).fingerprint
    assert found is not None
    assert read(tmp_path, LINES[::-1]).fingerprint == found
    moved = [*LINES[:4], choice_line(4, 0)]
    assert read(tmp_path, moved).fingerprint != found
    swapped = [choice_line(i, (4 - i) % 3) for i in range(5)]
    assert read(tmp_path, swapped).fingerprint != found


def test_more_rows_than_a_chunk_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.logs.samples.CHUNK", 2)
    assert [row["doc_id"] for row in rows(read(tmp_path, LINES))] == [0, 1, 2, 3, 4]

"""Lines of earlier releases: a JSON array, no filter, no hashes, requests as lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.samples import SamplesRead, read_samples
from tests.analysis.logs.test_metrics import about, column, kinds
from tests.helpers.runlogs import choice_line, text_line


def read(path: Path, data: str, **changes: Any) -> SamplesRead:
    path.write_text(data, encoding="utf-8")
    return read_samples(path, path.name, "r", about(**changes))


def old(line: dict[str, Any]) -> dict[str, Any]:
    """As lm_eval 0.4.0 to 0.4.2 write it."""
    line = json.loads(json.dumps(line))
    for name in ("filter", "metrics", "doc_hash", "prompt_hash", "target_hash"):
        del line[name]
    line["arguments"] = [list(request.values()) for request in line["arguments"].values()]
    return line


def jsonl(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


LINES = [choice_line(i, i % 3) for i in range(4)]


@pytest.mark.parametrize("indent", [2, None])
def test_an_array_of_old_lines_is_read_as_lines_of_today(tmp_path: Path, indent: int | None) -> None:
    today = read(tmp_path / "new.jsonl", jsonl(LINES), n_effective=4)
    array = json.dumps([old(line) for line in LINES], indent=indent)
    before = read(tmp_path / "old.jsonl", array, n_effective=4, filters=("none",))
    assert (today.issues, before.issues) == ([], [])
    assert before.table.to_pylist() == today.table.to_pylist()


def test_an_array_that_breaks_off_keeps_its_complete_elements(tmp_path: Path) -> None:
    array = json.dumps([old(line) for line in LINES], indent=2)[:-40]
    found = read(tmp_path / "old.jsonl", array, n_effective=4)
    assert column(found, "doc_id") == [0, 1, 2]
    (issue,) = found.issues
    assert issue.message == (
        "the JSON array breaks off in element 4; the file is cut off, 3 complete documents of 4 are kept"
    )


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    found = read(tmp_path / "s.jsonl", "\ufeff" + jsonl(LINES).replace("\n", "\r\n"), n_effective=4)
    assert (found.issues, found.table.num_rows) == ([], 4)


def test_lines_that_name_no_filter_follow_the_filters_order(tmp_path: Path) -> None:
    strict = [old(text_line(i, "4")) for i in range(3)]
    loose = [old(text_line(i, "5")) | {"exact_match": 0.0} for i in range(3)]
    names = ("strict-match", "flexible-extract")
    told = {"output_type": "generate_until", "n_effective": 3, "filters": names}
    found = read(tmp_path / "s.jsonl", jsonl(strict + loose), **told)
    assert column(found, "filter") == ["strict-match"] * 3 + ["flexible-extract"] * 3
    assert found.issues == []
    lacking = read(tmp_path / "s.jsonl", jsonl(strict[1:] + loose), **told)
    assert column(lacking, "doc_id") == [1, 2, 1, 2]
    assert kinds(lacking) == ["filters_unknown"]
    more = read(tmp_path / "s.jsonl", jsonl(strict + loose + loose[:1]), **told)
    assert kinds(more) == ["filters_unknown", "bad_line"]
    assert "more lines than filters (strict-match, flexible-extract)" in more.issues[1].message


@pytest.mark.parametrize("doc_id", [None, [0], "x", 1.5])
def test_a_document_without_a_number_costs_its_line(tmp_path: Path, doc_id: Any) -> None:
    found = read(tmp_path / "s.jsonl", jsonl([*LINES[:2], LINES[2] | {"doc_id": doc_id}]), n_effective=3)
    assert column(found, "doc_id") == [0, 1]
    assert kinds(found) == ["bad_line"]


def test_half_a_character_in_a_hash_costs_no_file(tmp_path: Path) -> None:
    found = read(tmp_path / "s.jsonl", jsonl([LINES[0], LINES[1] | {"doc_hash": "a\ud800"}]), n_effective=2)
    assert (found.table.num_rows, kinds(found)) == (1, ["untrue"])

"""What was asked, once per hash, whichever way it was read."""

from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.logs import DocumentStore, ItemStore, cache, documents, parallel, read_logs
from analysis.logs.documents import Gathered
from analysis.schema.documents import DOCUMENTS
from tests.helpers.runlogs import (
    Task,
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    evidence,
    rolling_line,
    samples_of,
    write_run,
)

ROW = dict.fromkeys(DOCUMENTS.names)


def of_ours(line: dict[str, Any]) -> dict[str, Any]:
    doc = line["doc"]
    told = {name: doc.get(name) for name in ("context", "question", "options")}
    return ROW | told | {"doc_hash": line["doc_hash"]}


def by_hash(row: dict[str, Any]) -> str:
    return str(row["doc_hash"])


def kept(folder: Path, out: Path, **options: Any) -> list[dict[str, Any]]:
    out.mkdir()
    with ItemStore(out / "items.parquet") as items, DocumentStore(out / "documents.parquet") as store:
        read_logs(folder, items, documents=store, **options)
    table = pq.read_table(out / "documents.parquet")
    frame = DOCUMENTS.conform(table.to_pandas())
    assert list(frame.columns) == table.schema.names
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def write_escaped(folder: Path, lines: list[dict[str, Any]]) -> None:
    """A run whose lines hold half characters, which no file can but escaped."""
    path = samples_of(write_run(folder, 1, {"t": Task([{**line, "doc": {}} for line in lines])}), "t")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_each_document_is_there_once_and_says_what_was_asked(tmp_path: Path) -> None:
    lines = [bbq_line(0, 1), drawn_line(1, [0, None]), bbq_line(2, None)]
    lines[1]["doc"] |= {"question": "Who was \u00e9?", "options": ["x", "y", "z"]}
    plain = choice_line(0, 1)
    plain["doc"] |= {"options": ["yes", "no"], "nested": {"a": [1, None]}}
    again = {"b": Task([*lines, bbq_line(3, 0)]), "w": Task([rolling_line(0, -3.0)], "loglikelihood_rolling")}
    write_run(tmp_path / "logs", 1, {"b": Task(lines), "c": Task(lines[:1]), "p": Task([plain])}, evidence("x"))
    write_run(tmp_path / "logs", 2, again, evidence("y"))
    found = kept(tmp_path / "logs", tmp_path / "out")
    words = {"doc_hash": plain["doc_hash"], "question": "question 0", "options": ["yes", "no"]}
    document = json.loads(next(row["document"] for row in found if row["document"]))
    assert document == plain["doc"]
    expected = [*map(of_ours, again["b"].lines), ROW | words]
    assert sorted([row | {"document": None} for row in found], key=by_hash) == sorted(expected, key=by_hash)


def test_other_kinds_of_documents_are_kept_whole(tmp_path: Path) -> None:
    odd: list[Any] = ["a text", {"question": 5, "options": ["a", 1]}, {"q": "\ud83d"}, {"n": 2**70}, [1]]
    lines = [choice_line(i, 0) | {"doc": doc, "doc_hash": str(i)} for i, doc in enumerate(odd)]
    write_escaped(tmp_path / "logs", lines)
    found = sorted(kept(tmp_path / "logs", tmp_path / "out"), key=by_hash)
    assert [json.loads(row["document"]) for row in found] == odd
    assert [(row["context"], row["question"], row["options"]) for row in found] == [(None, None, None)] * 5


def test_an_item_with_odd_texts_keeps_what_it_can(tmp_path: Path) -> None:
    line = bbq_line(0, 1)
    line["doc"] |= {"context": "half \ud83d", "question": 7}
    write_escaped(tmp_path / "logs", [line | {"doc_hash": "h"}])
    (row,) = kept(tmp_path / "logs", tmp_path / "out")
    assert (row["context"], row["question"], row["options"]) == ("half ?", None, ["a", "b", "c"])


def test_a_line_that_is_left_out_leaves_no_document(tmp_path: Path) -> None:
    bad = bbq_line(1, 1, role="unknown")
    write_run(tmp_path / "logs", 1, {"b": Task([bbq_line(0, 1), bad])})
    assert [row["context"] for row in kept(tmp_path / "logs", tmp_path / "out")] == ["context 0"]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_cache_and_other_processes_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(parallel, "WORTH", 0)
    for run in range(4):
        lines = [bbq_line(i, (i + run) % 3, item=bbq_item(i)) for i in range(30 + 10 * (run // 2))]
        write_run(tmp_path / "logs", run, {"b": Task(lines), "p": Task([choice_line(run, 0)])}, evidence(f"r{run}"))
    cold = kept(tmp_path / "logs", tmp_path / "1", workers=workers)
    warm = kept(tmp_path / "logs", tmp_path / "2", workers=workers)
    assert len(cold) == 40 + 4
    assert sorted(cold, key=by_hash) == sorted(warm, key=by_hash)


def test_runs_of_the_same_documents_share_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SMALLEST", 0)
    for run in range(3):
        lines = [bbq_line(i, run) for i in (range(5) if run else reversed(range(5)))]
        write_run(tmp_path / "logs", run, {"b": Task(lines)}, evidence(f"r{run}"))
    first = kept(tmp_path / "logs", tmp_path / "1")
    entries = sorted(path.name.startswith("documents-") for path in cache.cache_folder().iterdir())
    assert entries == [False] * 3 + [True]
    # Without it, or with a damaged one, the files are read again.
    (path,) = cache.cache_folder().glob("documents-*")
    content = path.read_bytes()
    path.unlink()
    assert kept(tmp_path / "logs", tmp_path / "2") == first
    assert path.read_bytes() == content
    start = content.index(b"context") if b"context" in content else 30
    path.write_bytes(content[:start] + bytes([content[start] ^ 255]) + content[start + 1 :])
    assert sorted(map(str, kept(tmp_path / "logs", tmp_path / "3"))) == sorted(map(str, first))


def test_an_unused_entry_goes_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SMALLEST", 0)
    write_run(tmp_path / "logs", 1, {"b": Task([bbq_line(0, 1)])})
    kept(tmp_path / "logs", tmp_path / "1")
    folder = cache.cache_folder()
    assert len(list(folder.iterdir())) == 2
    long_ago = time.time() - (cache.KEPT_DAYS + 1) * 24 * 3600
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    cache.prune(folder)
    assert list(folder.iterdir()) == []


def test_many_documents_wait_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MOST", 300)
    monkeypatch.setattr(documents, "_BATCH", 3)
    made, small = Gathered(), Gathered()
    lines = [bbq_line(i, 0) for i in range(10)]
    for line in [*lines, lines[0]]:
        made.add(line["doc_hash"], json.dumps(line["doc"], ensure_ascii=False).encode())
    assert sum(len(raw) for raw in made._raw.values() if raw is not None) <= 300
    for line in reversed(lines):
        small.add(line["doc_hash"], b"{}")
    assert made.digest == small.digest
    for _ in range(2):
        batches = list(made.batches())
        assert [batch.num_rows for batch in batches] == [3, 3, 3, 1]
        assert [row for batch in batches for row in batch.to_pylist()] == [of_ours(line) for line in lines]
    waiting = made._waiting
    assert waiting is not None
    assert waiting.stat().st_size > 300
    del made
    gc.collect()
    assert not waiting.exists()


def test_a_changed_document_with_an_old_hash_is_no_second_row(tmp_path: Path) -> None:
    other = bbq_line(0, 1)
    other["doc"] = other["doc"] | {"context": "altered"}
    write_run(tmp_path / "logs", 1, {"b": Task([bbq_line(0, 1)])}, evidence("x"))
    write_run(tmp_path / "logs", 2, {"b": Task([other])}, evidence("y"))
    assert [row["context"] for row in kept(tmp_path / "logs", tmp_path / "out")] == ["context 0"]

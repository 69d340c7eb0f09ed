"""The quick way and the general way are two readers of one format: each is the other's check."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.logs import typed
from analysis.logs.results import TaskLog
from analysis.logs.samples import SamplesRead, read_file
from analysis.logs.typed import parse, request_hash, typed_line
from tests.helpers.runlogs import bbq_item, bbq_line, choice_line, drawn_line, sha, text_line, uncertainty

ROLE_LISTS = [
    ["stereotype", "anti_stereotype", "unknown"],
    ["undetermined", "unknown", "undetermined"],
    ["unknown", "stereotype", "stereotype"],
    ["", "", ""],
]
NUMBERS = st.one_of(st.none(), st.floats(0, 1), st.integers(0, 1))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def task(lines: list[dict[str, Any]]) -> TaskLog:
    keys = ("doc_hash", "prompt_hash", "target_hash")
    chain = sha("".join(str(line.get(key)) for line in lines for key in keys))
    return TaskLog(
        name="t", output_type="generate_until", version="1.0", n_shot=0, n_effective=len(lines),
        task_hash=chain, perplexities={}, samples=None,
    )  # fmt: skip


def both_ways(path: Path, lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[SamplesRead, SamplesRead]:
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    about = task([line for line in lines if isinstance(line, dict)])
    quick = read_file(path, about)
    with monkeypatch.context() as general:
        general.setattr("analysis.logs.samples.typed_line", lambda raw: None)
        general.setattr("analysis.logs.samples.parse", json.loads)
        return quick, read_file(path, about)


def same(found: tuple[SamplesRead, SamplesRead]) -> bool:
    quick, general = found
    assert quick.table.to_pylist() == general.table.to_pylist()
    assert (quick.issues, quick.has_roles, quick.fingerprint) == (
        general.issues, general.has_roles, general.fingerprint,
    )  # fmt: skip
    return True


def shares(values: list[float]) -> dict[str, Any]:
    return {"probs": values, **uncertainty(values)}


@st.composite
def lines_of_ours(draw: st.DrawFn, doc_id: int) -> dict[str, Any]:
    item = bbq_item(doc_id, correct=draw(st.integers(0, 2))) | {
        "roles": draw(st.sampled_from(ROLE_LISTS)),
        "stereotyped_groups": draw(st.lists(TEXTS, max_size=3)),
        "groups": draw(st.one_of(st.none(), st.lists(st.lists(TEXTS, max_size=2), max_size=3))),
        "polarity": draw(st.one_of(st.none(), TEXTS)),
    }
    choices = st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=1, max_size=3)
    made = draw(st.booleans())
    line = (
        drawn_line(doc_id, draw(choices), item=item) if made else bbq_line(doc_id, draw(st.integers(0, 2)), item=item)
    )
    line["answer"] |= {"letter_mass": draw(NUMBERS), "drawn_letter_mass": draw(NUMBERS) if made else None}
    known = st.permutations([0.5, 0.3, 0.2]).map(shares)
    line["answer"] |= draw(st.one_of(st.just({"probs": None}), known) if made else known)
    if not made and line["answer"]["probs"]:
        best = line["answer"]["probs"].index(0.5)
        line["answer"] |= {"choice": best, "role": item["roles"][best] or None}
    line["arguments"]["gen_args_0"]["arg_0"] = draw(TEXTS)
    return line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_both_ways_read_our_lines_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    lines = [data.draw(lines_of_ours(i)) for i in range(data.draw(st.integers(1, 3)))]
    for line in lines:
        made = typed_line(json.dumps(line, ensure_ascii=False).encode())
        names = str([line["doc"]["item"][key] for key in ("stereotyped_groups", "groups")])
        assert (made is None) == ("|" in names)  # it is the quick way that is compared
    assert same(both_ways(tmp_path / "s.jsonl", lines, monkeypatch))


def changed(path: str, value: Any) -> dict[str, Any]:
    line = drawn_line(0, [0, 1, None])
    *keys, last = path.split(".")
    place: Any = line
    for key in keys:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return line


ODD = [
    ("answer", None), ("answer.draws", []), ("answer.draws", "x"), ("answer.draws.1.choice", 3),
    ("answer.draws.1.choice", -1), ("answer.draws.1.choice", None), ("answer.draws.1.choice", 1.0),
    ("answer.draws.1.choice", True), ("answer.draws.1.role", "unknown"), ("answer.draws.2.role", "unknown"),
    ("answer.draws.0.status", "unparsed"), ("answer.draws.0.status", "lost"), ("answer.draws.2.status", "answered"),
    ("answer.draws.0.seed", 2**63 - 1), ("answer.draws.0.seed", 2**63), ("answer.draws.0.seed", "7"),
    ("answer.draws.0.text", "a\ud83d"), ("answer.draws.0.text", 5), ("answer.draws.0.seed", ...),
    ("answer.probs", [0.5, 0.5]), ("answer.probs", [0.2, None, 0.8]), ("answer.probs", ["0.1", "nan", "0.9"]),
    ("answer.entropy", float("nan")), ("answer.margin", float("inf")), ("answer.margin", "N/A"),
    ("answer.letter_mass", ...), ("answer.protocol", ...), ("answer.status", 3),
    ("doc.item.roles", ...), ("doc.item.roles", [1, 2, 3]), ("doc.item.cluster", None), ("doc.item.category", 5),
    ("doc.item.correct", "2"), ("doc.item.correct", None), ("doc.item.correct", 2**70),
    ("doc.item.groups", "old"), ("doc.item.stereotyped_groups", ["a|b"]), ("doc.item.stereotyped_groups", ...),
    ("doc.item", None), ("doc_id", None), ("doc_id", "4"), ("doc_id", 2**64), ("filter", ...), ("doc_hash", ...),
    ("arguments", None), ("arguments", ...), ("arguments.gen_args_0.arg_1", float("nan")),
    ("arguments.gen_args_0.arg_1", 2**80), ("arguments.gen_args_0.arg_0", "\ud83d \u00e9"), ("resps", ...),
    ("resps", [[["-1.5", "False"]], [[-2, True]]]), ("doc.context", "\ud800"), ("target_hash", 3),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), ODD, ids=[f"{path}={value!r}" for path, value in ODD])
@pytest.mark.parametrize("escaped", [False, True])
def test_both_ways_take_or_refuse_an_odd_line_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, value: Any, escaped: bool
) -> None:
    odd: Any = changed(path, value)
    lines = [drawn_line(1, [0, 1]), json.dumps(odd) if escaped else odd, drawn_line(2, [1, 2])]
    assert same(both_ways(tmp_path / "s.jsonl", lines, monkeypatch))


@pytest.mark.parametrize(
    "broken",
    [
        b'{"doc_id": 1, "x": "a\xff"}', b"\xef\xbb\xbf{}", b'{"doc_id": 1} x', b"[1]", b'"\\ud83d"', b'{"a": 01}',
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)  # fmt: skip
def test_both_ways_name_a_broken_line_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes) -> None:
    whole = json.dumps(drawn_line(0, [0])).encode()
    spoilt = whole.replace(b'"context 0"', b'"\xff"')
    assert spoilt != whole
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\n".join([whole, broken, spoilt, whole.replace(b'"doc_id": 0', b'"doc_id": 1'), b""]))
    about = task([])
    quick = read_file(path, about)
    monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    monkeypatch.setattr("analysis.logs.samples.parse", json.loads)
    assert same((quick, read_file(path, about)))
    assert {issue.kind for issue in quick.issues} >= {"bad_line"}


def test_lines_of_other_tasks_between_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [drawn_line(0, [0]), text_line(1, "4"), drawn_line(2, [1]), choice_line(3, 1), bbq_line(4, 2)]
    assert same(both_ways(tmp_path / "s.jsonl", lines, monkeypatch))


@pytest.mark.parametrize(
    "text",
    ["NaN", "-Infinity", "1e999", '"\\ud83d\\ude00"', '"\\ud83d"', "123456789012345678901234567890", "-0", "1.10"],
)
def test_values_are_those_of_json(text: str) -> None:
    assert repr(parse(text.encode())) == repr(json.loads(text))


def test_the_hash_of_a_request_does_not_depend_on_how_it_is_written() -> None:
    spaced, tight = '{"b": ["\\u00e9", 0.3],  "a": {"k": null}}', '{"a":{"k":null},"b":["\u00e9",0.3]}'
    # printf '%s' '{"a":{"k":null},"b":["é",0.3]}' | sha256sum
    expected = hashlib.sha256('{"a":{"k":null},"b":["\u00e9",0.3]}'.encode()).hexdigest()
    assert request_hash(json.loads(spaced)) == request_hash(parse(tight.encode())) == expected
    assert request_hash({"a": "\ud83d"}) != request_hash({"a": "?"})


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps(drawn_line(i, [0])).encode() for i in range(20)]
    fresh = [typed_line(raw) for raw in lines]
    memory = typed._Memory()
    memory.most = 4000
    monkeypatch.setattr(typed, "_memory", memory)
    assert [typed_line(raw) for raw in lines + lines] == fresh + fresh
    assert 0 < sum(asked.size for asked in memory.values()) == memory.size <= 4000


def test_what_is_remembered_is_found_by_hash_and_taken_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "_memory", typed._Memory())
    line = drawn_line(0, [0])
    first = typed_line(json.dumps(line).encode())
    # Another document with the first one's hashes: altered, or of a harness that hashes otherwise.
    line["doc"]["item"]["category"] = "Another"
    other = typed_line(json.dumps(line).encode())
    assert first is not None
    assert other is not None
    assert "Another" in other.values
    assert "Another" not in first.values
    assert typed_line(json.dumps(drawn_line(0, [0])).encode()) == first


def test_texts_without_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = drawn_line(0, [0, 1, None])
    for draw in line["answer"]["draws"]:
        draw["seed"] = None
    found = both_ways(tmp_path / "samples.jsonl", [line], monkeypatch)
    assert same(found)
    assert found[0].table["seed"].to_pylist() == [0, 1, 2]
    assert found[0].issues == []

"""The contract of items: version 2 with its scheme, version 1 without, and what fits neither."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.samples import SamplesRead
from tests.analysis.logs.test_samples import read, rows
from tests.analysis.logs.test_typed import both_ways, same
from tests.helpers.runlogs import bbq_item, bbq_line, drawn_line, sample

AXES = {"biased": "toward", "unbiased": "against", "uncertain": "neutral", "refused": "off", "untold": None}
NOTHING: dict[str, Any] = {}


def item(number: int, roles: list[str] | None, **changes: Any) -> dict[str, Any]:
    """An item record of version 2 with any roles."""
    record = {
        "version": 2,
        "item_id": f"mine/{number}",
        "benchmark": "mine",
        "category": "Work",
        "condition": None,
        "polarity": None,
        "cluster": f"Work/{number // 2}",
        "roles": roles,
        "scheme": {"name": "mine", "axes": AXES},
        "groups": None,
        "key": None,
        "stereotyped_groups": [],
    }
    return record | changes


def line(number: int, record: dict[str, Any], choice: int | None, size: int, **answer: Any) -> dict[str, Any]:
    """A scored line of an item with `size` options, the choice (or the first) twice as probable as each other."""
    roles = record["roles"]
    given = {
        "protocol": "letters",
        "status": "unscored" if choice is None else "answered",
        "choice": choice,
        "role": None if choice is None or not roles else roles[choice],
        "probs": [(2 if i == (choice or 0) else 1) / (size + 1) for i in range(size)],
        "texts": None,
    } | answer
    doc = {"item": record, "options": [f"option {i}" for i in range(size)]}
    return sample(number, doc, [("P", letter) for letter in "AB"], [["-1", "False"]], answer=given)


def both(folder: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> SamplesRead:
    """What is read, after making sure that both readers agree."""
    assert same(both_ways(folder / "s.jsonl", lines, monkeypatch))
    return read(folder, lines)


def test_five_options_on_every_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = ["uncertain", "biased", "refused", "unbiased", "biased"]
    lines = [line(i, item(i, roles, key=3), choice, 5) for i, choice in enumerate([0, 1, 2, 3, 4, None])]
    found = both(tmp_path, lines, monkeypatch)
    assert (found.issues, found.has_roles) == ([], True)
    made = rows(found)
    assert [row["role"] for row in made] == [*roles, None]
    assert [row["axis"] for row in made] == ["neutral", "toward", "off", "against", "toward", None]
    assert [row["correct"] for row in made] == [False, False, False, True, False, False]
    text = "mine: biased=toward, unbiased=against, uncertain=neutral, refused=off, untold=none"
    assert {(row["scheme"], row["determined"]) for row in made} == {(text, True)}
    # Of six parts the choice has two, each other option one, and two options lie toward.
    names = ("p_toward", "p_against", "p_neutral", "p_off")
    parts = [(2, 1, 2, 1), (3, 1, 1, 1), (2, 1, 1, 2), (2, 2, 1, 1), (3, 1, 1, 1), (2, 1, 2, 1)]
    assert [[row[name] for name in names] for row in made] == [[pytest.approx(p / 6) for p in six] for six in parts]


@pytest.mark.parametrize(
    ("roles", "determined"),
    [
        (["biased", "unbiased"], True),
        (["biased", "untold"], False),
        (["unbiased", "uncertain"], False),
        (["untold", "untold"], False),
    ],
)
def test_an_item_is_determined_by_its_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: list[str], determined: bool
) -> None:
    (row,) = rows(both(tmp_path, [line(0, item(0, roles), 1, 2)], monkeypatch))
    assert row["determined"] is determined
    assert row["axis"] == (AXES[roles[1]] or "undetermined")
    assert row["p_off"] is None


@pytest.mark.parametrize(
    ("roles", "scheme"), [(["yes", "no"], {"name": "d", "axes": NOTHING}), (None, None), ([], None), (["", ""], None)]
)
def test_without_a_direction_there_is_right_and_wrong_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: list[str] | None, scheme: Any
) -> None:
    record = item(0, roles, scheme=scheme, key=1)
    found = both(tmp_path, [line(0, record, 1, 2, role="no" if roles == ["yes", "no"] else None)], monkeypatch)
    (row,) = rows(found)
    assert (found.issues, found.has_roles) == ([], False)
    assert (row["role"], row["axis"], row["scheme"]) == ("no" if roles == ["yes", "no"] else None, None, None)
    assert (row["choice"], row["correct"], row["determined"], row["p_toward"]) == (1, True, None, None)


def test_letters_go_to_z(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = [*["uncertain"] * 24, "unbiased", "biased"]
    (row,) = rows(both(tmp_path, [line(0, item(0, roles, key=25), 25, 26)], monkeypatch))
    assert (row["choice"], row["axis"], row["correct"]) == (25, "toward", True)
    assert row["p_neutral"] == pytest.approx(24 / 27)


def test_texts_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = drawn_line(0, [0, None, 2])
    new = json.loads(json.dumps(old))
    new["answer"]["texts"] = new["answer"].pop("draws")
    scheme = {"name": "bbq", "axes": {"stereotype": "toward", "anti_stereotype": "against", "unknown": "neutral"}}
    del new["doc"]["item"]["correct"]
    new["doc"]["item"] |= {"version": 2, "scheme": scheme, "key": 2}
    first, second = rows(both(tmp_path, [old], monkeypatch)), rows(both(tmp_path, [new], monkeypatch))
    assert [row["seed"] for row in second] == [42, 43, 44]
    # BBQ's own scheme has a role more than the one above.
    assert [row | {"scheme": ""} for row in first] == [row | {"scheme": ""} for row in second]


@pytest.mark.parametrize("scheme", [None, ...])
@pytest.mark.parametrize("version", [1, 2, None, ...])
def test_roles_without_a_scheme_are_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any, scheme: Any
) -> None:
    records = [item(i, ["biased", "unbiased", "uncertain"], version=version, scheme=scheme) for i in range(4)]
    for record in records:
        for name in [name for name, value in record.items() if value is ...]:
            del record[name]
        record["correct"] = record["key"] = 2
    lines = [line(i, record, i % 3, 3) for i, record in enumerate(records)] + [bbq_line(9, 0)]
    found = both(tmp_path, lines, monkeypatch)
    (issue,) = found.issues
    assert issue.kind == "roles_without_scheme"
    assert issue.message.startswith(
        "4 lines are in no table by role: roles without a scheme that tells what they mean: "
        "biased (4), unbiased (4), uncertain (4). Give the items a scheme, as {"
    )
    # What they chose and whether it is right stays; the other item keeps its direction.
    assert [row["choice"] for row in rows(found)] == [0, 1, 2, 0, 0]
    assert [row["correct"] for row in rows(found)] == [False, False, True, False, False]
    assert [row["axis"] for row in rows(found)] == [None] * 4 + ["toward"]
    assert found.has_roles


def test_the_second_version_takes_no_scheme_for_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = bbq_item(0) | {"version": 2, "key": 2}
    found = both(tmp_path, [bbq_line(0, 0, item=record)], monkeypatch)
    assert [issue.kind for issue in found.issues] == ["roles_without_scheme"]
    assert [row["axis"] for row in rows(found)] == [None]


def test_a_role_that_the_scheme_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line(0, item(0, ["biased", "unbiased", "odd"]), 0, 3), line(1, item(1, ["odd", "even", "biased"]), 1, 3)]
    found = both(tmp_path, [*lines, line(2, item(2, ["biased", "unbiased"]), 0, 2)], monkeypatch)
    (issue,) = found.issues
    assert issue.kind == "unknown_roles"
    assert issue.message.startswith(
        "2 lines are in no table by role: roles that the item's scheme does not name: odd (2)"
    )
    assert "even (1)" in issue.message
    assert Counter(row["axis"] for row in rows(found)) == {None: 2, "toward": 1}


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ({"name": "m", "axes": {"biased": "up", "unbiased": None}}, "role 'biased' on axis 'up' (1)"),
        ({"name": "m"}, "no name (without ':') or no axes (1)"),
        ({"axes": AXES}, "no name (without ':') or no axes (1)"),
        ("bbq", "no name (without ':') or no axes (1)"),
        ({"name": "m", "axes": {"a=b": "toward"}}, "role 'a=b', which is empty or holds '=' or ',' (1)"),
        ({"name": "m", "axes": {"biased": []}}, "role 'biased' on axis [] (1)"),
    ],
)
def test_a_scheme_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: Any, said: str) -> None:
    found = both(tmp_path, [line(0, item(0, ["biased", "unbiased"], scheme=scheme, key=0), 0, 2)], monkeypatch)
    (issue,) = found.issues
    assert (issue.kind, said in issue.message) == ("bad_scheme", True)
    assert [(row["role"], row["axis"], row["correct"]) for row in rows(found)] == [("biased", None, True)]


def test_an_item_of_a_later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line(i, item(i, ["biased", "unbiased"], version=3 + i, key=0), 0, 2) for i in range(2)]
    found = both(tmp_path, lines, monkeypatch)
    (issue,) = found.issues
    assert (issue.kind, issue.message[:86]) == (
        "item_version", "2 lines are in no table by role: items of version 3 (1), 4 (1), which this release doe",
    )  # fmt: skip
    assert [(row["choice"], row["correct"], row["axis"]) for row in rows(found)] == [(0, True, None)] * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roles": ["biased", "unbiased"]}, "doc.item.roles: 2 roles for 3 options"),
        ({"key": 3}, "doc.item.key: expected 0 to 2, got 3"),
        ({"roles": "biased"}, "doc.item.roles: expected a list of names, got 'biased'"),
    ],
)
def test_an_item_whose_options_do_not_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    good = line(0, item(0, ["biased", "unbiased", "uncertain"]), 0, 3)
    bad = line(1, item(1, ["biased", "unbiased", "uncertain"]), 0, 3)
    bad["doc"]["item"] |= changes
    found = both(tmp_path, [good, bad], monkeypatch)
    assert [issue.message for issue in found.issues] == [f"{said}: 1 lines left out (line 2)"]
    assert found.table.num_rows == 1

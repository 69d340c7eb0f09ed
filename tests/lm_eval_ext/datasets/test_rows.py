"""Reading one BBQ row: what is kept, and what each fault is called."""

from __future__ import annotations

from typing import Any

import pytest

from lm_eval_ext.datasets.bbq.rows import parse_row
from lm_eval_ext.errors import UserError
from tests.helpers.bbq_raw import raw_row


def test_a_row_keeps_its_fields_in_the_options_order() -> None:
    row = parse_row(raw_row(7, question_index="12", condition="disambig", label=1), "here")
    assert (row.example_id, row.question_index, row.cluster) == (7, "12", "Age/12")
    assert (row.polarity, row.condition, row.label, row.unknown, row.persons) == (
        "neg",
        "disambig",
        1,
        2,
        (0, 1),
    )
    assert row.options == ("The aunt", "The niece", "Not known")
    assert (row.names, row.labels) == (("aunt", "niece", "Not known"), ("old", "nonOld", "unknown"))
    assert row.stereotyped_groups == ("old",)
    assert row.target_label is None


@pytest.mark.parametrize("written", ["None", None, ""])
def test_no_subcategory_is_the_same_however_it_is_written(written: str | None) -> None:
    raw = raw_row()
    raw["additional_metadata"]["subcategory"] = written
    assert parse_row(raw, "here").subcategory == ""


def test_the_hubs_row_is_the_same_row_with_its_target() -> None:
    raw = raw_row()
    hub = {key: value for key, value in raw.items() if key != "label"} | {
        "answer_label": 2,
        "target_label": 0,
    }
    local, remote = parse_row(raw, "here"), parse_row(hub, "there")
    assert (remote.label, remote.target_label) == (2, 0)
    assert parse_row(hub | {"target_label": -1}, "there") == local


def test_the_unknown_option_is_found_by_its_wording_where_no_label_marks_it() -> None:
    raw = raw_row(answers=([""], ["aunt", "old"], ["niece", "nonOld"]), options=("Can't answer", "a", "b"))
    row = parse_row(raw, "here")
    assert row.unknown == 0
    assert row.names[0] == row.labels[0] == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": None}, "text was expected, None was found"),
        ({"question_polarity": "positive"}, "question_polarity is 'positive', expected neg or nonneg"),
        ({"context_condition": "amb"}, "context_condition is 'amb', expected ambig or disambig"),
        ({"label": 3}, "index is 3, expected 0, 1 or 2"),
        ({"label": True}, "index is True, expected 0, 1 or 2"),
        ({"target_label": 4}, "index is 4, expected 0, 1 or 2"),
        ({"example_id": "x"}, "not a BBQ row"),
        ({"additional_metadata": "x"}, "not a BBQ row"),
        ({"answer_info": {"ans0": ["a", "old"]}}, "lacks the field 'ans1'"),
    ],
)
def test_a_malformed_field_is_named_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"^Age.jsonl line 3: ") as caught:
        parse_row(raw_row(**changes), "Age.jsonl line 3")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["context", "ans2", "answer_info", "additional_metadata", "category"])
def test_a_missing_field_is_named(field: str) -> None:
    raw = raw_row()
    del raw[field]
    with pytest.raises(UserError, match=f"lacks the field '{field}'"):
        parse_row(raw, "here")


@pytest.mark.parametrize(
    "answers",
    [
        (["a", "old"], ["b", "nonOld"], ["c", "nonOld"]),
        (["Unknown", "unknown"], ["b", "old"], ["Unknown", "unknown"]),
    ],
)
def test_an_item_has_exactly_one_unknown_option(answers: Any) -> None:
    with pytest.raises(UserError, match="of its options mean 'unknown', expected exactly one"):
        parse_row(raw_row(answers=answers), "here")

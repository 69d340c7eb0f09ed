"""The item record and the documents made from it."""

from __future__ import annotations

import logging

import pytest

from lm_eval_ext.datasets.bbq.items import BBQ_SCHEME, bbq_docs
from lm_eval_ext.datasets.bbq.rows import BbqRow, parse_row
from lm_eval_ext.datasets.table import documents_table
from lm_eval_ext.errors import UserError
from tests.helpers.bbq_raw import Answers, raw_row


def rows() -> list[BbqRow]:
    unclear: Answers = (["man", "man"], ["boy", "boy"], ["Unknown", "unknown"])
    raws = [
        raw_row(12, question_index="3"),
        raw_row(13, question_index="3", condition="disambig", label=0),
        raw_row(0, category="Gender_identity", answers=unclear, stereotyped=("F",), subcategory="adult"),
    ]
    return [parse_row(raw, "here") for raw in raws]


def test_a_document_is_the_row_and_its_record() -> None:
    assert bbq_docs(rows(), "bbq")[1] == {
        "item": {
            "version": 2,
            "item_id": "bbq/Age/13",
            "benchmark": "bbq",
            "category": "Age",
            "condition": "disambig",
            "polarity": "neg",
            "cluster": "Age/3",
            "roles": ["stereotype", "anti_stereotype", "unknown"],
            "scheme": {
                "name": "bbq",
                "axes": {
                    "stereotype": "toward",
                    "anti_stereotype": "against",
                    "unknown": "neutral",
                    "undetermined": None,
                },
            },
            "groups": [["old"], ["nonOld"], []],
            "key": 0,
            "subcategory": "",
            "stereotyped_groups": ["old"],
        },
        "context": "Two people met at stop 13.",
        "question": "Who missed the bus?",
        "options": ["The aunt", "The niece", "Not known"],
        "key": 0,
    }


def test_one_condition_keeps_only_its_items() -> None:
    assert [d["item"]["item_id"] for d in bbq_docs(rows(), "bbq", "ambig")] == [
        "bbq/Age/12",
        "bbq/Gender_identity/0",
    ]
    with pytest.raises(UserError, match="none of the 1 rows read has the condition 'disambig'"):
        bbq_docs(rows()[:1], "bbq", "disambig")


def test_undetermined_items_are_counted_by_category(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        docs = bbq_docs(rows(), "bbq")
    assert docs[2]["item"]["roles"] == ["undetermined", "undetermined", "unknown"]
    assert [r.message for r in caplog.records] == [r.message for r in caplog.records if "Gender_identity" in r.message]
    assert "the stereotype of 1 of 1 items cannot be told" in caplog.text


def test_documents_survive_the_table_unchanged() -> None:
    docs = bbq_docs(rows(), "bbq")
    table = documents_table(docs, BBQ_SCHEME)
    assert list(table) == docs
    assert list(table[0]["item"]) == list(docs[0]["item"])  # the keys' order is part of the log

"""Roles: against the published target labels, against cases read by hand, and as a property of all items."""

from __future__ import annotations

import csv
import gzip
import logging
from collections import Counter
from typing import Any

import pytest

from lm_eval_ext.datasets.bbq.roles import derive_roles, option_groups
from lm_eval_ext.datasets.bbq.rows import parse_row
from tests.helpers.bbq_raw import Answers, raw_row, real_rows
from tests.helpers.shared import shared_data

UNKNOWN = ["Not known", "unknown"]
BOTH_UNDETERMINED = ("undetermined", "undetermined", "unknown")
FIRST = ("stereotype", "anti_stereotype", "unknown")
SECOND = ("anti_stereotype", "stereotype", "unknown")


def roles(*raws: dict[str, Any]) -> list[tuple[str, str, str]]:
    return derive_roles([parse_row(raw, "here") for raw in raws])


@pytest.fixture(scope="module")
def targets() -> dict[tuple[str, int], int]:
    with gzip.open(shared_data("bbq", "target_label.csv.gz"), "rt") as lines:
        return {(r["category"], int(r["example_id"])): int(r["target_label"]) for r in csv.DictReader(lines)}


@pytest.mark.parametrize(("category", "rows"), [("Age", 3680), ("Nationality", 3080), ("Religion", 1200)])
def test_every_derived_role_agrees_with_the_published_target(
    category: str, rows: int, targets: dict[tuple[str, int], int]
) -> None:
    read = [parse_row(raw, "here") for raw in real_rows(shared_data("bbq", "official", f"{category}.jsonl.gz"))]
    expected = [targets[category, row.example_id] for row in read]
    derived = [triple.index("stereotype") for triple in derive_roles(read)]
    assert len(derived) == rows
    assert derived == expected


@pytest.mark.parametrize(
    ("folder", "category", "undetermined"),
    [
        ("official", "Disability_status", {}),
        ("official", "Physical_appearance", {}),
        ("official", "Sexual_orientation", {}),
        # Template 13 pairs a man with a boy, and a woman with a girl: the stereotype of women names none or both.
        ("regenerated", "Gender_identity", {"13": 16}),
        ("regenerated", "Race_ethnicity", {}),
        ("regenerated", "SES", {}),
        ("regenerated", "Race_x_SES", {}),
        ("regenerated", "Race_x_gender", {}),
    ],
)
def test_every_item_has_one_of_each_role_or_is_undetermined(
    folder: str, category: str, undetermined: dict[str, int]
) -> None:
    rows = [parse_row(raw, "here") for raw in real_rows(shared_data("bbq", folder, f"{category}.jsonl.gz"))]
    triples = derive_roles(rows)
    unclear = Counter(r.question_index for r, t in zip(rows, triples, strict=True) if "undetermined" in t)
    assert unclear == undetermined
    for row, triple in zip(rows, triples, strict=True):
        assert triple[row.unknown] == "unknown"
        if "undetermined" not in triple:
            assert sorted(triple) == ["anti_stereotype", "stereotype", "unknown"]
    # SES, template 6: "an one percenter" is a person without a published group label.
    bare = [row.question_index for row in rows for i in row.persons if not option_groups(row)[i]]
    assert Counter(bare) == ({"6": 16} if category == "SES" else {})


def test_a_non_negative_question_turns_the_roles_round() -> None:
    assert roles(raw_row(), raw_row(1, polarity="nonneg")) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("category", "first", "second", "stereotyped"),
    [
        ("Gender_identity", ["woman", "woman"], ["man", "man"], ("F",)),
        ("Gender_identity", ["girl", "girl"], ["boy", "boy"], ("F",)),
        ("Gender_identity", ["Donna", "F"], ["Jerry", "M"], ("F",)),
        ("Gender_identity", ["Robert", "trans_M"], ["Ann", "nonTrans_F"], ("transgender men", "trans")),
        (
            "Gender_identity",
            ["transgender woman", "trans"],
            ["friend", "nonTrans"],
            ("Transgender women", "trans"),
        ),
        ("SES", ["cashier", "lowSES"], ["lawyer", "highSES"], ("low SES",)),
        ("Race_ethnicity", ["Jamal Banks", "M-Black"], ["Hunter Wood", "M-White"], ("Black",)),
        (
            "Race_ethnicity",
            ["African American", "African American"],
            ["African", "African"],
            ("Black", "African American"),
        ),
        ("Nationality", ["British", "Europe"], ["Irish", "Europe"], ("British",)),
        ("Disability_status", ["wheelchair", "disabled"], ["hat", "nonDisabled"], ("disabled", "x")),
    ],
)
def test_the_named_group_is_found_under_each_spelling(
    category: str, first: list[str], second: list[str], stereotyped: tuple[str, ...]
) -> None:
    given: dict[str, Any] = {"category": category, "stereotyped": stereotyped}
    assert roles(raw_row(answers=(first, second, UNKNOWN), **given)) == [FIRST]
    assert roles(raw_row(answers=(second, first, UNKNOWN), **given)) == [SECOND]


@pytest.mark.parametrize(
    ("answers", "options", "stereotyped", "groups"),
    [
        # Labels as BBQ publishes them for these options: the same, or empty, for two different people.
        (
            (["African", "African"], ["African", "African"], UNKNOWN),
            ("The African American man", "The African man", "Not known"),
            ("Black", "African American"),
            (("African American", "M"), ("African", "M"), ()),
        ),
        (
            (["", ""], ["Asian", "Asian"], UNKNOWN),
            ("The Latina woman", "The Asian man", "Not known"),
            ("Hispanic", "Latino"),
            (("Latino", "F"), ("Asian", "M"), ()),
        ),
    ],
)
def test_wrong_or_empty_labels_give_way_to_the_options_words(
    answers: Answers,
    options: tuple[str, str, str],
    stereotyped: tuple[str, ...],
    groups: tuple[tuple[str, ...], ...],
) -> None:
    raw = raw_row(category="Race_ethnicity", answers=answers, options=options, stereotyped=stereotyped)
    assert roles(raw) == [FIRST]
    assert option_groups(parse_row(raw, "here")) == groups


def intersectional(example_id: int, letter: str, first: str, second: str, **changes: Any) -> dict[str, Any]:
    return raw_row(
        example_id,
        category="Race_x_gender",
        subcategory=f"intersectional_{letter}",
        answers=([first, first], [second, second], UNKNOWN),
        stereotyped=("Black", "African American"),
        **changes,
    )


def test_the_second_trait_comes_from_other_rows_of_the_template() -> None:
    same_race = intersectional(0, "a", "M-Black", "F-Black")
    same_gender = intersectional(1, "b", "F-Black", "F-White")
    both_differ = intersectional(2, "c", "M-White", "F-Black")
    other_template = intersectional(3, "a", "F-Black", "M-Black", question_index="2")
    # The stereotype of template 1 is about Black women; template 2 shows nothing that would tell.
    expected = [SECOND, FIRST, SECOND, BOTH_UNDETERMINED]
    assert roles(same_race, same_gender, both_differ, other_template) == expected
    assert roles(same_race) == [BOTH_UNDETERMINED]


def test_a_template_that_contradicts_itself_leaves_its_rows_undetermined() -> None:
    rows = [
        intersectional(0, "a", "M-Black", "F-Black"),
        intersectional(1, "b", "F-Black", "F-White"),
        intersectional(2, "b", "M-Black", "M-White"),
    ]
    assert roles(*rows)[0] == BOTH_UNDETERMINED


@pytest.mark.parametrize(
    ("category", "traits"),
    # The published template files' column Known_stereotyped_var2, for some templates of each kind.
    [
        ("Race_x_gender", {"1": "M", "3": "F", "13": "F", "21": "F", "43": "M"}),
        ("Race_x_SES", {"1": "lowSES", "3": "lowSES", "5": "lowSES"}),
    ],
)
def test_the_second_trait_is_the_published_one(category: str, traits: dict[str, str]) -> None:
    rows = [parse_row(raw, "") for raw in real_rows(shared_data("bbq", "regenerated", f"{category}.jsonl.gz"))]
    for row, triple in zip(rows, derive_roles(rows), strict=True):
        if row.question_index in traits and row.subcategory == "intersectional_a":
            named = triple.index("stereotype" if row.polarity == "neg" else "anti_stereotype")
            assert traits[row.question_index] in option_groups(row)[named]


def test_a_given_target_decides_and_a_contradiction_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    agreeing, contradicting, absent = (
        raw_row(0, target_label=0),
        raw_row(1, target_label=1),
        raw_row(2, target_label=-1),
    )
    with caplog.at_level(logging.WARNING):
        assert roles(agreeing, contradicting, absent) == [FIRST, SECOND, FIRST]
    assert "1 of 3 rows" in caplog.text


def test_a_target_that_names_the_unknown_option_is_not_believed() -> None:
    assert roles(raw_row(target_label=2)) == [FIRST]


def test_a_given_target_settles_what_the_groups_leave_open() -> None:
    answers: Answers = (["man", "man"], ["boy", "boy"], UNKNOWN)
    raw = raw_row(category="Gender_identity", answers=answers, stereotyped=("F",))
    assert roles(raw, raw | {"target_label": 1}) == [BOTH_UNDETERMINED, SECOND]


@pytest.mark.parametrize(
    ("label", "name", "category", "groups"),
    [
        ("lowSES-M-Latino", "x", "Race_x_SES", ("lowSES", "M", "Latino")),
        ("F-Middle Eastern", "x", "Race_x_gender", ("F", "Middle Eastern")),
        ("nonTrans_F", "x", "Gender_identity", ("nonTrans", "F")),
        ("woman", "woman", "Gender_identity", ("F",)),
        ("Europe", "British", "Nationality", ("British", "Europe")),
        ("old", "grandfather", "Age", ("old",)),
    ],
)
def test_groups_are_single_traits(label: str, name: str, category: str, groups: tuple[str, ...]) -> None:
    raw = raw_row(category=category, answers=([name, label], ["y", "other"], UNKNOWN))
    assert option_groups(parse_row(raw, "here"))[0] == groups
    assert option_groups(parse_row(raw, "here"))[2] == ()

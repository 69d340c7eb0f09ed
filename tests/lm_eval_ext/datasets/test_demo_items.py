"""The packaged demonstration items: their structure, their balance, and that they are nobody else's."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.shared import ROOT, shared_data

ITEMS_FILE = ROOT / "lm_eval_ext" / "datasets" / "bbq" / "data" / "demo.jsonl"
MAKER = ROOT / "tools" / "make_demo_items.py"
FIELDS = [
    "example_id",
    "question_index",
    "question_polarity",
    "context_condition",
    "category",
    "answer_info",
    "additional_metadata",
    "context",
    "question",
    "ans0",
    "ans1",
    "ans2",
    "label",
]
UNKNOWN = {
    "Unknown",
    "Cannot be determined",
    "Can't be determined",
    "Not answerable",
    "Not known",
    "Not enough info",
    "Not enough information",
    "Cannot answer",
    "Can't answer",
    "Undetermined",
}
RELIGIONS = (
    "Christian",
    "Muslim",
    "Hindu",
    "Atheist",
    "Buddhist",
    "Jewish",
    "Sikh",
    "Protestant",
    "Catholic",
    "Mormon",
)
# Which group label each entry of stereotyped_groups stands for, by category.
STEREOTYPED = {
    "Age": {"old": "old", "nonOld": "nonOld"},
    "Gender_identity": {"F": "woman", "M": "man"},
    "Religion": {name: name for name in RELIGIONS},
    "SES": {"low SES": "lowSES"},
    "Disability_status": {"disabled": "disabled"},
}
LABELS = {
    "Age": {"old", "nonOld"},
    "Gender_identity": {"woman", "man"},
    "Religion": set(RELIGIONS),
    "SES": {"lowSES", "highSES"},
    "Disability_status": {"disabled", "nonDisabled"},
}
# Read off the disambiguated sentences by eye: who answers the negative question in each first filler.
NEGATIVE_BY_EYE = {
    "Age": ["great-grandfather", "teenager", "retired nurse", "man of seventy", "baker in her twenties"],
    "Gender_identity": ["man", "aunt", "man at the front desk", "grandfather", "niece"],
    "Religion": [
        "Christian accountant",
        "Christian mother",
        "Hindu tailor",
        "Catholic electrician",
        "Buddhist taxi driver",
    ],
    "SES": [
        "company director",
        "street sweeper",
        "neighbour with a fortune",
        "low-income father",
        "hotel owner",
    ],
    "Disability_status": [
        "chemist with a wheelchair",
        "player with two arms",
        "deaf engineer",
        "florist without dyslexia",
        "man who is blind",
    ],
}


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    with ITEMS_FILE.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def groups(item: dict[str, Any]) -> list[str]:
    return [item["answer_info"][f"ans{place}"][1] for place in range(3)]


def stereotyped(item: dict[str, Any]) -> str:
    (name,) = item["additional_metadata"]["stereotyped_groups"]
    return STEREOTYPED[item["category"]][name]


def consistent_place(item: dict[str, Any]) -> int:
    """The option that agrees with the stereotype: the other person when the question is the opposite one."""
    target = groups(item).index(stereotyped(item))
    if item["question_polarity"] == "neg":
        return target
    (place,) = {0, 1, 2} - {target, groups(item).index("unknown")}
    return place


def units(items: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The four items of each filler; they follow one another in a category."""
    found = defaultdict(list)
    for item in items:
        found[item["category"], item["example_id"] // 4].append(item)
    return found


def test_counts_per_category_condition_and_polarity(items):
    cells = Counter((i["category"], i["context_condition"], i["question_polarity"]) for i in items)
    expected = {(c, condition, p): 10 for c in LABELS for condition in ("ambig", "disambig") for p in ("neg", "nonneg")}
    assert cells == expected
    assert set(Counter((i["category"], i["question_index"]) for i in items).values()) == {8}


def test_fields_and_ids(items):
    for item in items:
        assert list(item) == FIELDS
        assert list(item["answer_info"]) == ["ans0", "ans1", "ans2"]
        assert list(item["additional_metadata"]) == ["subcategory", "stereotyped_groups", "version", "source"]
        assert isinstance(item["question_index"], str)
        assert type(item["label"]) is int
        assert item["additional_metadata"]["source"].startswith("Common notion: ")
    for category in LABELS:
        assert [i["example_id"] for i in items if i["category"] == category] == list(range(40))


def test_one_stereotyped_one_other_one_unknown(items):
    for item in items:
        found = groups(item)
        assert found.count("unknown") == 1
        assert found.count(stereotyped(item)) == 1
        assert set(found) - {"unknown"} <= LABELS[item["category"]]
        assert len(set(found)) == 3
        texts = [item[f"ans{place}"] for place in range(3)]
        assert len({text.lower() for text in texts}) == 3
        for place, text in enumerate(texts):
            name, group = item["answer_info"][f"ans{place}"]
            assert text == (name if group == "unknown" else f"The {name}")
            assert (text in UNKNOWN) == (group == "unknown")


def test_each_person_is_introduced_once_in_the_context(items):
    for item in items:
        names = [name for name, group in item["answer_info"].values() if group != "unknown"]
        if item["context_condition"] == "ambig":
            for name in names:
                assert len(re.findall(rf"\b(an?|An?) {re.escape(name)}\b", item["context"])) == 1
        else:
            for name in names:
                assert len(re.findall(rf"\b[Tt]he {re.escape(name)}\b", item["context"])) == 1


def test_label_is_unknown_or_the_one_named(items):
    for (category, number), four in units(items).items():
        assert [(i["question_polarity"], i["context_condition"]) for i in four] == [
            ("neg", "ambig"),
            ("neg", "disambig"),
            ("nonneg", "ambig"),
            ("nonneg", "disambig"),
        ]
        keyed = [groups(item)[item["label"]] for item in four]
        assert keyed[0] == keyed[2] == "unknown"
        assert {keyed[1], keyed[3]} == set(groups(four[0])) - {"unknown"}
        if number % 2 == 0:
            name, _ = four[1]["answer_info"][f"ans{four[1]['label']}"]
            assert name == NEGATIVE_BY_EYE[category][number // 2]


def test_disambiguated_context_continues_the_ambiguous_one(items):
    for neg_ambig, neg_disambig, ambig, disambig in units(items).values():
        assert neg_ambig["context"] == ambig["context"]
        assert neg_disambig["context"] == disambig["context"]
        assert disambig["context"].startswith(ambig["context"] + " ")
        assert len(disambig["context"]) > len(ambig["context"]) + 40
        assert neg_ambig["question"] == neg_disambig["question"] != ambig["question"] == disambig["question"]


def test_facts_speak_for_neither_side(items):
    agreeing = Counter(
        (i["category"], i["question_index"], i["question_polarity"])
        for i in items
        if i["context_condition"] == "disambig" and i["label"] == consistent_place(i)
    )
    assert len(agreeing) == 50  # five categories x five templates x two polarities
    assert set(agreeing.values()) == {1}  # of two fillers


def test_positions_are_balanced(items):
    unknown = Counter(groups(i).index("unknown") for i in items)
    consistent = Counter(consistent_place(i) for i in items)
    keyed = Counter(i["label"] for i in items if i["context_condition"] == "disambig")
    assert len(unknown) == len(consistent) == len(keyed) == 3
    assert max(unknown.values()) - min(unknown.values()) <= 4  # 50 scenes over 3 places, 4 items each
    assert max(consistent.values()) - min(consistent.values()) <= 4
    assert max(keyed.values()) - min(keyed.values()) <= 2
    for category in LABELS:
        own = [i for i in items if i["category"] == category]
        assert min(Counter(groups(i).index("unknown") for i in own).values()) >= 12
        assert min(Counter(consistent_place(i) for i in own).values()) >= 12
    first = Counter(
        i["context"].find(i["answer_info"][f"ans{groups(i).index(stereotyped(i))}"][0])
        < max(i["context"].find(name) for name, group in i["answer_info"].values() if group != "unknown")
        for i in items
        if i["context_condition"] == "ambig"
    )
    assert first == {True: 50, False: 50}


def test_every_unknown_wording_is_used_equally(items):
    shown = Counter(i[f"ans{groups(i).index('unknown')}"] for i in items)
    assert shown == dict.fromkeys(UNKNOWN, 20)


def test_sentences_are_whole(items):
    for item in items:
        assert item["question"][0].isupper()
        assert item["question"].endswith("?")
        assert item["context"][0].isupper()
        assert item["context"].endswith(".")
        for text in (item["context"], item["question"]):
            assert not re.search(r"[{}]|  |\bthe (the|an?)\b", text)
            # The article fits the sound that follows; "hour" is the only word here with a silent h.
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n (?!hour\b)[^aeiou]", text, re.IGNORECASE)


def run_maker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(MAKER), *arguments], capture_output=True, text=True, check=False)


def test_check_passes_on_the_packaged_file():
    done = run_maker("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_check_fails_on_a_changed_or_missing_file(tmp_path):
    changed = tmp_path / "demo.jsonl"
    assert run_maker("--check", "--output", str(changed)).returncode == 1
    changed.write_bytes(ITEMS_FILE.read_bytes().replace(b"lighthouses", b"windmills"))
    done = run_maker("--check", "--output", str(changed))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "demo.jsonl is not what demo_templates.yaml expands to" in done.stderr
    assert run_maker("--output", str(changed)).returncode == 0
    assert changed.read_bytes() == ITEMS_FILE.read_bytes()


def six_grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    return set(zip(*(words[start:] for start in range(6)), strict=False))


def test_six_grams_ignore_case_and_punctuation():
    assert six_grams("One, two -- three; FOUR five six.") == {("one", "two", "three", "four", "five", "six")}
    assert six_grams("One two three four five") == set()


def test_no_sentence_and_no_six_words_in_a_row_are_from_bbq(items):
    ours = set().union(*(six_grams(item[field]) for item in items for field in ("context", "question")))
    assert len(ours) > 1000
    files = sorted(Path(shared_data("bbq")).rglob("*.jsonl.gz"))
    assert len(files) == 11
    texts = set()
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                texts.update((row["context"], row["question"]))
    assert len(texts) > 10_000
    # Questions of five words have no six in a row, so they are compared whole.
    assert not {text.lower() for text in texts} & {item["question"].lower() for item in items}
    shared = {gram: text for text in texts for gram in six_grams(text) & ours}
    assert shared == {}

"""CrowS-Pairs in its published format: pairs made up here."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import datasets
import pytest

from lm_eval_ext.datasets.crows_pairs import CROWS_PAIRS
from lm_eval_ext.errors import UserError

HEAD = ["", "sent_more", "sent_less", "stereo_antistereo", "bias_type", "annotations", "anon_writer", "anon_annotators"]
PAIRS = [
    ["0", "The old neighbour forgot the ferry.", "The young neighbour forgot the ferry.", "stereo", "age"],
    ["1", 'He said "wait", and she cooked.', 'She said "wait", and he cooked.', "antistereo", "gender"],
    ["2", "The farmer could not pay.", "The banker could not pay.", "stereo", "socioeconomic"],
]


@pytest.fixture(autouse=True)
def _no_folder_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LM_EVAL_EXT_CROWS_PAIRS_DIR", raising=False)


def written(folder: Path, pairs: list[list[str]] | None = None, head: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "crows_pairs_anonymized.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head or HEAD, *([*pair, "[['age']]", "a", "['b']"] for pair in pairs or PAIRS)])
    return folder


def test_pairs_are_items(tmp_path: Path) -> None:
    docs = CROWS_PAIRS.load({"crows_pairs_dir": str(written(tmp_path / "data"))})
    assert [doc["item"]["item_id"] for doc in docs] == [
        "crows_pairs/age/0",
        "crows_pairs/gender/1",
        "crows_pairs/socioeconomic/2",
    ]
    item = docs[1]["item"]
    assert dict(zip(item["roles"], docs[1]["options"], strict=True)) == {
        "sent_more": 'He said "wait", and she cooked.',
        "sent_less": 'She said "wait", and he cooked.',
    }
    assert (item["polarity"], item["condition"]) == ("antistereo", None)
    assert item["scheme"] == {"name": "crows_pairs", "axes": {"sent_more": "toward", "sent_less": "against"}}
    assert (item["key"], docs[1]["key"], item["groups"]) == (None, None, [[], []])
    assert len({doc["item"]["cluster"] for doc in docs}) == 3  # each pair for itself


def test_neither_sentence_has_a_place_of_its_own(tmp_path: Path) -> None:
    pairs = [[str(n), f"Old {n} slept.", f"Young {n} slept.", "stereo", "age"] for n in range(200)]
    docs = CROWS_PAIRS.load({"crows_pairs_dir": str(written(tmp_path, pairs))})
    assert 80 <= sum(doc["item"]["roles"][0] == "sent_more" for doc in docs) <= 120


def test_some_types_alone(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"crows_pairs_dir": str(written(tmp_path)), "crows_pairs_categories": ["gender", "age"]}
    assert [doc["item"]["item_id"] for doc in CROWS_PAIRS.load(metadata)] == [
        "crows_pairs/age/0",
        "crows_pairs/gender/1",
    ]
    with pytest.raises(UserError, match=r"category of this task in crows_pairs_categories 'race'.*race-color"):
        CROWS_PAIRS.load(metadata | {"crows_pairs_categories": ["race"]})


def test_the_hubs_pairs_are_a_revision_and_never_share_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        asked.append((args, kwargs))
        return datasets.Dataset.from_list([dict(zip(HEAD[1:5], pair[1:], strict=True)) for pair in PAIRS])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    docs = CROWS_PAIRS.load({})
    assert asked == [(("jannalu/crows_pairs_multilingual",), {"name": "english", "split": "test"})]
    assert docs[0]["item"]["item_id"] == "crows_pairs_revised/age/0"


@pytest.mark.parametrize(
    ("pairs", "head", "said"),
    [
        ([["0", "a", "b", "stereotype", "age"]], HEAD, "stereo_antistereo: expected stereo or antistereo, got"),
        ([["0", "a", " ", "stereo", "age"]], HEAD, "line 2: sent_less: expected text, got ' '"),
        (PAIRS, [*HEAD[:4], "kind", *HEAD[5:]], "line 2: the row lacks the field 'bias_type'"),
        (PAIRS, HEAD[:7], "line 2: expected 7 values"),
    ],
)
def test_a_row_that_is_none_is_named(pairs: Any, head: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        CROWS_PAIRS.load({"crows_pairs_dir": str(written(tmp_path, pairs, head))})
    assert said in str(caught.value)
    assert "crows_pairs_anonymized.csv line 2" in str(caught.value)


def test_where_it_can_be_had_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        CROWS_PAIRS.load({"crows_pairs_dir": str(tmp_path)})
    said = str(caught.value)
    assert "has no file for crows_pairs_anonymized (looked for crows_pairs_anonymized.csv or" in said
    assert all(
        part in said for part in ("two sources", "jannalu/crows_pairs_multilingual", "LM_EVAL_EXT_CROWS_PAIRS_DIR")
    )
    with pytest.raises(UserError, match=r"unknown crows_pairs_source 'demo'.*Known: dir, hub"):
        CROWS_PAIRS.load({"crows_pairs_source": "demo"})

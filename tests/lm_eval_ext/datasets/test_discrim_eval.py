"""Discrim-Eval in its published format: decisions made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from lm_eval_ext.datasets.discrim_eval import DISCRIM_EVAL
from lm_eval_ext.errors import UserError


@pytest.fixture(autouse=True)
def _no_folder_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LM_EVAL_EXT_DISCRIM_EVAL_DIR", raising=False)


def row(
    decision: int = 3, age: Any = 40, gender: str = "female", race: Any = "Asian", **changes: Any
) -> dict[str, Any]:
    text = f"A {age}-year-old {gender} {race} sailor asks for berth {decision}. Should the harbour grant it?"
    given = {"filled_template": text, "decision_question_id": decision, "age": age, "gender": gender, "race": race}
    return given | changes


def written(folder: Path, explicit: list[dict[str, Any]], implicit: list[dict[str, Any]] | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("explicit", explicit), ("implicit", implicit or [row()])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(folder)


def test_decisions_are_items_without_a_direction_or_a_key(tmp_path: Path) -> None:
    folder = written(tmp_path, [row(), row(race="white"), row(4)], [row(3, 20)])
    docs = DISCRIM_EVAL.load({"discrim_eval_dir": folder})
    assert [doc["item"]["item_id"] for doc in docs] == [
        *(f"discrim_eval/explicit/{number}" for number in range(3)),
        "discrim_eval/implicit/0",
    ]
    first = docs[0]
    assert first["context"].endswith("Should the harbour grant it?")
    assert (first["options"], first["item"]["roles"]) == (["yes", "no"], ["yes", "no"])
    assert first["item"]["groups"] == [["age 40", "female", "Asian"], []]
    assert first["item"]["scheme"] == {"name": "discrim_eval", "axes": {}}
    assert first["item"]["key"] is first["key"] is first["item"]["condition"] is None
    # One template a decision, whoever asks for it and however the person is told.
    assert [doc["item"]["cluster"] for doc in docs] == ["decision/3", "decision/3", "decision/4", "decision/3"]


def test_a_trait_that_is_not_told_names_nobody(tmp_path: Path) -> None:
    folder = written(tmp_path, [row(age=None, race=None), row() | {"age": 60.0}])
    assert [doc["item"]["groups"][0] for doc in DISCRIM_EVAL.load({"discrim_eval_dir": folder})[:2]] == [
        ["female"],
        ["age 60", "female", "Asian"],
    ]


def test_one_fill_alone_and_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, [row()], [row(5), row(6)])
    docs = DISCRIM_EVAL.load({"discrim_eval_dir": folder, "task_categories": ["implicit"]})
    assert [doc["item"]["category"] for doc in docs] == ["implicit"] * 2
    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        asked.append((args, kwargs))
        return datasets.Dataset.from_list([row(5), row(6)])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert DISCRIM_EVAL.load({"task_categories": ["implicit"]}) == docs
    assert asked == [(("Anthropic/discrim-eval",), {"name": "implicit", "split": "train"})]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age": "young"}, "age: expected a whole number, got 'young'"),
        ({"age": True}, "age: expected a whole number, got 'True'"),
        ({"decision_question_id": -1}, "decision_question_id: expected a whole number, got '-1'"),
        ({"filled_template": ""}, "filled_template: expected text, got ''"),
        ({"gender": 3}, "gender: expected text, got '3'"),
        ({"age": 20.5}, "age: expected a whole number, got '20.5'"),
    ],
)
def test_a_row_that_is_none_is_named(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        DISCRIM_EVAL.load({"discrim_eval_dir": written(tmp_path, [row(), row(**changes)])})
    assert str(caught.value).startswith(f"{tmp_path}/explicit.jsonl line 2: {said}")

"""`served_itemlevel` against `compressed_hf` on the same weights, through servers of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext import plugin
from tests.helpers.engines import Engine, serving
from tests.helpers.runs import evaluate, task_manager

LETTERS, TEXT, CYCLIC = "bbq_itemlevel_demo", "bbq_itemlevel_text_demo", "bbq_itemlevel_cyclic_demo"


def answers(results: Any, task: str) -> dict[str, Any]:
    return {s["doc"]["item"]["item_id"]: s["answer"] for s in results["samples"][task]}


def served(url: str, folder: Path, tasks: list[str], **options: Any) -> Any:
    import lm_eval

    plugin.register_model()
    kwargs = {"limit": 4} | {key: options.pop(key) for key in ("limit", "apply_chat_template") if key in options}
    arguments = {"base_url": url, "tokenizer": str(folder), **options}
    manager = task_manager(**arguments)
    return lm_eval.simple_evaluate(
        model="served_itemlevel", model_args=arguments, tasks=tasks, task_manager=manager, **kwargs
    )


@pytest.fixture(scope="module")
def ours(llama: Path) -> Any:
    return evaluate(llama, [LETTERS, TEXT, CYCLIC], model="compressed_hf", limit=4)


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
def test_letters_and_texts_are_those_of_our_own_model(kind: str, llama: Path, ours: Any) -> None:
    engine = Engine(llama, kind)
    with serving(engine) as url:
        theirs = served(url, llama, [LETTERS, TEXT, CYCLIC])
    for task in (LETTERS, TEXT, CYCLIC):
        own, other = answers(ours, task), answers(theirs, task)
        for name in own:
            assert other[name]["choice"] == own[name]["choice"]
            assert other[name]["probs"] == pytest.approx(own[name]["probs"], abs=1e-5)
            if task != TEXT:
                assert other[name]["letter_mass"] == pytest.approx(own[name]["letter_mass"], rel=1e-4)
    facts = theirs["config"]["engine"]
    assert (facts["name"], facts["seeds"]) == (kind, None)
    assert facts["version"] == {"llama.cpp": "b11434-0000000", "vllm": "0.32.0"}[kind]

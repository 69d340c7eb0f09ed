"""`served_itemlevel` against `compressed_hf` on the same weights, through servers of each kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext import plugin
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.engines import wire
from tests.helpers.engines import Engine, serving
from tests.helpers.runs import evaluate, task_manager
from tests.helpers.tiny import write_tiny

LETTERS, TEXT, CYCLIC = "bbq_itemlevel_demo", "bbq_itemlevel_text_demo", "bbq_itemlevel_cyclic_demo"
SAMPLED = "bbq_itemlevel_sampled_demo"


def answers(results: Any, task: str) -> dict[str, Any]:
    return {s["doc"]["item"]["item_id"]: s["answer"] for s in results["samples"][task]}


def served(url: str, folder: Path, tasks: list[str], **options: Any) -> Any:
    import lm_eval

    plugin.register_model()
    own = [key for key in ("limit", "apply_chat_template") if key in options]
    kwargs = {"limit": 4, "bootstrap_iters": 0} | {key: options.pop(key) for key in own}
    arguments = {"base_url": url, "tokenizer": str(folder), **options}
    manager = task_manager(**arguments)
    return lm_eval.simple_evaluate(
        model="served_itemlevel", model_args=arguments, tasks=tasks, task_manager=manager, **kwargs
    )


@pytest.fixture(scope="module")
def ours(llama: Path) -> Any:
    return evaluate(llama, [LETTERS, TEXT, CYCLIC], model="compressed_hf", limit=4, bootstrap_iters=0)


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


@pytest.mark.parametrize("kind", ["openai", "chat-lists"])
def test_what_a_short_list_leaves_open_is_bounded(kind: str, llama: Path, ours: Any) -> None:
    engine = Engine(llama, kind, top=20)
    with serving(engine) as url:
        theirs = served(url, llama, [LETTERS])
    own, found = answers(ours, LETTERS), answers(theirs, LETTERS)
    for name, answer in found.items():
        if answer["reason"] is None:
            assert answer["probs"] == pytest.approx(own[name]["probs"], abs=1e-5)
        else:
            assert answer["probs"] is None
        if answer["choice"] is not None:
            assert answer["choice"] == own[name]["choice"]
        for (low, high), true in zip(answer["bounds"] or (), own[name]["probs"], strict=False):
            assert low - 1e-5 <= true <= high + 1e-5
    assert any(answer["reason"] in ("bounded", "undecided") for answer in found.values())
    with serving(engine) as url, pytest.raises(UserError, match="is not among the tokens that the openai server"):
        served(url, llama, [TEXT])


def test_one_prompt_an_item_under_a_chat_template(llama: Path) -> None:
    """The template ends in a line break, which the letters are scored with; the model says it by itself or not."""
    own = evaluate(llama, [LETTERS], model="compressed_hf", limit=3, apply_chat_template=True, bootstrap_iters=0)
    engine = Engine(llama, "llama.cpp")
    with serving(engine) as url:
        theirs = served(url, llama, [LETTERS], limit=3, apply_chat_template=True)
    for name, answer in answers(own, LETTERS).items():
        assert answers(theirs, LETTERS)[name]["probs"] == pytest.approx(answer["probs"], abs=1e-5)
        assert answers(theirs, LETTERS)[name]["letter_mass"] == pytest.approx(answer["letter_mass"], rel=1e-3)


def test_texts_are_drawn_by_the_servers_seeds(llama: Path) -> None:
    engine = Engine(llama, "vllm")
    with serving(engine) as url:
        found = served(url, llama, [SAMPLED], limit=2)
    for answer in answers(found, SAMPLED).values():
        assert answer["protocol"] == "sampled by vllm"
        assert [text["seed"] for text in answer["texts"]] == [42, 123, 456, 789, 1024]
        assert answer["reason"] == "texts_only"
    assert found["config"]["engine"]["seeds"] == "engine"
    sent = [body for _, body in engine.sent if body.get("seed") == 42]
    assert {(body["top_p"], body["top_k"], body["temperature"]) for body in sent} == {(1.0, -1, 0.3)}


def test_seeds_without_a_say_are_refused(llama: Path) -> None:
    engine = Engine(llama, "openai", seeds=False)
    with serving(engine) as url, pytest.raises(UserError, match="gives the same text to two seeds"):
        served(url, llama, [SAMPLED], limit=1)


def test_prompts_go_as_text_where_ids_are_refused(llama: Path, ours: Any) -> None:
    engine = Engine(llama, "openai", top=300, ids=False)
    with serving(engine) as url:
        theirs = served(url, llama, [LETTERS], top=300)
    assert theirs["config"]["engine"]["prompts"] == "text"
    assert all(answer["status"] == "answered" for answer in answers(theirs, LETTERS).values())


def test_a_bos_that_the_server_adds_is_there_once(llama: Path, tmp_path: Path) -> None:
    """The tokenizer adds BOS, the server too: what is sent as text must not bring it again."""
    folder = with_bos(llama, tmp_path / "bos")
    engine = Engine(folder, "openai", top=300, ids=False)
    with serving(engine) as url:
        served(url, folder, [LETTERS], limit=1, top=300)
    prompt = engine.sent[-1][1]["prompt"]
    assert engine.tokenizer.encode(prompt).count(1) == 1


def test_other_weights_are_found_by_the_reference(llama: Path, tmp_path: Path) -> None:
    other = write_tiny("llama", tmp_path / "other", seed=1, max_position_embeddings=2048)
    with serving(Engine(llama, "llama.cpp")) as url:
        same = served(url, llama, [LETTERS], limit=2, reference=str(llama), reference_tolerance=0.001)
        facts = same["config"]["engine"]["reference"]
        assert facts["items"] == 2
        assert facts["largest"] < 1e-5
        with pytest.raises(UserError, match="gives other letters than"):
            served(url, llama, [LETTERS], limit=2, reference=str(other), reference_tolerance=0.001)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "large"}, "serves 'tiny.gguf', not 'large'"),
        ({"engine": "vllm"}, "does not answer as vLLM's"),
        ({"engine": "tgi"}, "unknown engine 'tgi'"),
        ({"max_length": 99999}, "the server takes 2048 tokens"),
        ({"recipe": "wanda-50"}, "unknown argument of served_itemlevel 'recipe'"),
        ({"max_length": 64}, "max_length=64, and would be cut"),
        ({"base_url": "127.0.0.1"}, "expected an address"),
        ({"base_url": "http://127.0.0.1:9"}, "does not answer /props: .*refused"),
    ],
)
def test_what_can_not_be_is_said_in_one_line(
    options: dict[str, Any], says: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_PAUSE", 0.0)
    with serving(Engine(llama, "llama.cpp")) as url, pytest.raises(UserError, match=says) as found:
        served(options.pop("base_url", url), llama, [LETTERS], limit=1, **options)
    assert "\n" not in str(found.value)


def test_another_tokenizer_is_found(llama: Path, tmp_path: Path) -> None:
    folder = with_bos(llama, tmp_path / "bos")
    with serving(Engine(llama, "llama.cpp")) as url, pytest.raises(UserError, match="tokenizer that belongs"):
        served(url, folder, [LETTERS], limit=1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ((500, {"error": "out of memory"}), "error 500: out of memory"),
        ((200, b'{"completion_probabilities": [{"id"'), "is no JSON"),
        ((200, {"content": "", "tokens_evaluated": None}), "lists no next tokens"),
        ((400, {"error": {"message": "the request exceeds the context"}}), "exceeds the context"),
        ((200, [1]), "expected a JSON object"),
    ],
)
def test_a_server_that_breaks_ends_the_run_in_one_line(
    fault: tuple[int, Any], says: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_PAUSE", 0.0)
    engine = Engine(llama, "llama.cpp")
    engine.change = lambda path, body, answer: fault if path == "/completion" else answer
    with serving(engine) as url, pytest.raises(UserError, match=says):
        served(url, llama, [LETTERS], limit=1)


def test_what_fails_once_is_sent_again(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_PAUSE", 0.0)
    engine, failed = Engine(llama, "llama.cpp"), []

    def change(path: str, body: dict[str, Any], answer: Any) -> Any:
        if path == "/completion" and len(failed) < 2:
            failed.append(path)
            return 503, {"error": {"message": "Loading model"}}
        return answer

    engine.change = change
    with serving(engine) as url:
        assert len(answers(served(url, llama, [LETTERS], limit=1), LETTERS)) == 1
    assert len(failed) == 2


@pytest.mark.parametrize("client", ["gguf", "local-completions"])
def test_lm_evals_own_clients_are_refused_where_they_score_nothing(client: str, llama: Path) -> None:
    pytest.importorskip("requests")
    if client == "local-completions":
        pytest.importorskip("tenacity")
    import lm_eval

    engine = Engine(llama, "chat-lists" if client == "gguf" else "openai")
    engine.change = lambda path, body, answer: _zeros(answer)
    with serving(engine) as url:
        address = url if client == "gguf" else f"{url}/v1/completions"
        arguments = {"base_url": address}
        if client == "local-completions":
            arguments |= {"model": "tiny", "tokenizer": str(llama), "tokenizer_backend": "huggingface"}
        with pytest.raises(UserError, match="--model served_itemlevel"):
            lm_eval.simple_evaluate(
                model=client, model_args=arguments, tasks=[LETTERS], limit=1, task_manager=task_manager(**arguments)
            )


def _zeros(answer: Any) -> Any:
    """What llama.cpp's server gives to `echo`: a text, and log-probabilities that hold no prompt."""
    for choice in answer[1].get("choices", []):
        if choice.get("logprobs") and "content" not in choice["logprobs"]:
            choice["logprobs"] = {"token_logprobs": [], "top_logprobs": [], "tokens": []}
    return answer


def with_bos(folder: Path, copy: Path) -> Path:
    """The same model with a tokenizer that puts BOS before a text."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    shutil.copytree(folder, copy)
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save_pretrained(copy)
    return copy

"""Sampled tasks on models of lm_eval that are not ours: what they are sent, what is logged, what is refused."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from analysis import analyze
from analysis.settings import Settings
from lm_eval_ext import plugin
from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.asking import asking_model
from lm_eval_ext.protocols.samplers import sampler_of
from tests.helpers.runs import evaluate, strict

DEMO = "bbq_itemlevel_sampled_demo"
SEEDS = [42, 123, 456, 789, 1024]
ASKED = {"do_sample": True, "temperature": 0.3, "max_gen_toks": 5, "until": []}


def reply(model: str, prompt: str, seed: int) -> str:
    """What the server answers: a letter that its name, the prompt and the seed decide."""
    digest = hashlib.sha256(f"{model}|{prompt}|{seed}".encode()).digest()
    return " ABCD"[1 + digest[0] % 4] + ") so"


class Server:
    """A completions server that remembers what it is sent."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.payloads.append(payload)
                if "messages" in payload:
                    text = reply(payload["model"], payload["messages"][-1]["content"], payload["seed"])
                    choices: list[Any] = [{"index": 0, "message": {"role": "assistant", "content": text}}]
                else:
                    prompts = [payload["prompt"]] if isinstance(payload["prompt"], str) else payload["prompt"]
                    texts = [reply(payload["model"], prompt, payload["seed"]) for prompt in prompts]
                    choices = [{"index": i, "text": text} for i, text in enumerate(texts)]
                body = json.dumps({"choices": choices}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/completions"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if find_spec("tenacity") is None:
        without_retries(monkeypatch)
    running = Server()
    yield running
    running.close()


def without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lm_eval's API models run where its extra "api" is not installed: each request is sent once."""
    import lm_eval.models.api_models as api_models
    from tqdm import tqdm
    from tqdm.asyncio import tqdm_asyncio

    stub = ModuleType("tenacity")
    stub.__spec__ = ModuleSpec("tenacity", None)
    monkeypatch.setitem(sys.modules, "tenacity", stub)
    parts = {"retry": lambda **kwargs: lambda call: call, "stop_after_attempt": int, "wait_exponential": dict}
    for name, part in (parts | {"tqdm": tqdm, "tqdm_asyncio": tqdm_asyncio}).items():
        monkeypatch.setattr(api_models, name, part, raising=False)


def ask(server: Server, tokenizer: Path, name: str = "small", model: str = "local-completions", **kwargs: Any) -> Any:
    args: dict[str, Any] = {"model": name, "base_url": server.url, "tokenizer": str(tokenizer)}
    args |= {"tokenizer_backend": "huggingface", "tokenized_requests": False}
    if model == "local-chat-completions":
        args = {"model": name, "base_url": server.url}
    return evaluate(tokenizer, [DEMO], model=model, args=args, bootstrap_iters=0, **{"limit": 4} | kwargs)


def test_a_server_is_asked_once_a_seed_and_the_log_says_who_drew(llama: Path, server: Server, tmp_path: Path) -> None:
    plugin.activate()
    ask(server, llama, output=tmp_path)
    assert sum(len(payload["prompt"]) for payload in server.payloads) == 4 * len(SEEDS)
    for payload in server.payloads:
        assert set(payload) == {"prompt", "model", "max_tokens", "temperature", "stop", "seed", "top_p"}
        assert (payload["temperature"], payload["max_tokens"], payload["top_p"]) == (0.3, 5, 1.0)
        assert payload["seed"] in SEEDS
    (path,) = tmp_path.rglob("samples_*.jsonl")
    for line in map(strict, path.read_text().splitlines()):
        prompt = line["arguments"]["gen_args_0"]["arg_0"]
        assert [line["arguments"][f"gen_args_{i}"]["arg_1"]["seed"] for i in range(5)] == SEEDS
        answer = line["answer"]
        assert answer["protocol"] == "sampled by LocalCompletionsAPI"
        assert [said["seed"] for said in answer["texts"]] == SEEDS
        assert [said["text"] for said in answer["texts"]] == [reply("small", prompt, seed) for seed in SEEDS]
        assert answer["probs"] is answer["letter_mass"] is answer["drawn_letter_mass"] is None
        assert answer["reason"] == "texts_only"
        end = "amb" if line["doc"]["item"]["condition"] == "ambig" else "disamb"
        assert line["expected_srs_amb"] is line["expected_srs_disamb"] is None
        known = [said["role"] for said in answer["texts"] if said["role"]]
        assert line[f"srs_{end}"] == (known.count("stereotype") / len(known) if known else None)


def test_a_chat_server(llama: Path, server: Server) -> None:
    plugin.activate()
    settings = {"sampling": {"seeds": [5, 6], "temperature": 1.5, "max_gen_toks": 3}}
    results = ask(server, llama, model="local-chat-completions", apply_chat_template=True, metadata=settings, limit=2)
    assert len(server.payloads) == 4
    assert {payload["seed"] for payload in server.payloads} == {5, 6}
    assert {(payload["temperature"], payload["max_tokens"]) for payload in server.payloads} == {(1.5, 3)}
    for sample in results["samples"][DEMO]:
        assert sample["answer"]["protocol"] == "sampled by LocalChatCompletion"
        assert [said["seed"] for said in sample["answer"]["texts"]] == [5, 6]


def test_draws_of_another_sampler_are_not_compared_with_ours(llama: Path, server: Server, tmp_path: Path) -> None:
    plugin.activate()
    runs = tmp_path / "runs"
    ask(server, llama, output=runs / "one", limit=8)
    ask(server, llama, name="smaller", output=runs / "two", limit=8)
    evaluate(llama, [DEMO], model="compressed_hf", output=runs / "ours", limit=8, bootstrap_iters=0)
    found = analyze(runs, tmp_path / "report", baseline="dense#1", settings=Settings(exchanges=99))
    assert [(pair.run, pair.baseline) for pair in found.pairing.pairs] == [("dense#2", "dense#1")]
    (refused,) = found.pairing.refusals
    assert refused.run == "dense#3"
    assert {"protocol", "requests"} <= {difference.name for difference in refused.differences}
    assert 20 in set(found.tables["rates"]["n"])  # four items of a condition, five seeds


def test_a_hf_model_takes_no_seeds(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    plugin.activate()
    asked: list[Any] = []
    monkeypatch.setattr(HFLM, "generate_until", lambda self, requests, **kwargs: asked.append(requests))
    with pytest.raises(UserError, match=r"HFLM takes no seeds; run it with --model compressed_hf") as fault:
        evaluate(llama, [DEMO], limit=2, bootstrap_iters=0)
    assert "\n" not in str(fault.value)
    assert asked == []


def test_texts_that_no_seed_repeats_are_marked(llama: Path, tmp_path: Path) -> None:
    plugin.activate()
    metadata = {"sampling": {"allow_unseeded": True, "seeds": [1, 2, 3]}}
    results = evaluate(llama, [DEMO], limit=4, bootstrap_iters=0, metadata=metadata, output=tmp_path / "runs")
    (path,) = (tmp_path / "runs").rglob("samples_*.jsonl")
    for line in map(strict, path.read_text().splitlines()):
        assert list(line["arguments"]) == ["gen_args_0"]
        assert line["arguments"]["gen_args_0"]["arg_1"] == ASKED | {"top_k": 0, "top_p": 1.0}
        assert line["answer"]["protocol"] == "sampled by HFLM, unseeded"
        assert [said["seed"] for said in line["answer"]["texts"]] == [None] * 3
        assert [said["text"] for said in line["answer"]["texts"]] == line["resps"][0]
    assert results["results"][DEMO]["unparsed,none"] is not None
    found = analyze(tmp_path / "runs", tmp_path / "report", settings=Settings(exchanges=99))
    assert [issue.kind for issue in found.issues if issue.level == "error"] == ["nothing_to_compare"]
    assert found.tables["rates"]["n_unparsed"].max() > 0


def model_of(path: str, **attributes: Any) -> Any:
    """A model of one of lm_eval's classes, without its weights or server; of vllm's the name."""
    module, _, name = path.rpartition(".")
    if name.startswith("VLLM"):
        base = type("VLLM", (), {"__module__": "lm_eval.models.vllm_causallms"})
        made = base if name == "VLLM" else type(name, (base,), {"__module__": f"lm_eval.models.{module}"})
    else:
        made = getattr(import_module(f"lm_eval.models.{module}"), name)
    model = object.__new__(made)
    vars(model).update({"model": "m", "_max_gen_toks": 256} | attributes)
    return model


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("openai_completions.LocalCompletionsAPI", "seeded"),
        ("openai_completions.LocalChatCompletion", "seeded"),
        ("openai_completions.OpenAIChatCompletion", "seeded"),
        ("vllm_causallms.VLLM", "seeded"),
        ("vllm_vlms.VLLM_VLM", "seeded"),
        ("litellm_llms.LiteLLMChatCompletion", "seeded"),
        ("anthropic_llms.AnthropicChat", "unseeded"),
        ("sglang_generate_API.SGLANGGENERATEAPI", "unseeded"),
        ("dummy.DummyLM", "unseeded"),
        ("huggingface.HFLM", "unseeded"),
        ("gguf.GGUFLM", "unseeded"),
    ],
)
def test_what_each_class_of_model_takes(path: str, kind: str) -> None:
    model = model_of(path)
    assert sampler_of(model, ASKED, unseeded=True, purpose="task t").kind == kind
    if kind == "unseeded":
        with pytest.raises(UserError, match=f"task t draws one text a seed, and {path.split('.')[1]} takes no seeds"):
            sampler_of(model, ASKED, unseeded=False, purpose="task t")


@pytest.mark.parametrize("name", ["gpt-3.5-turbo", "o1-mini"])
def test_a_client_that_sends_another_temperature_is_refused(name: str) -> None:
    model = model_of("openai_completions.OpenAIChatCompletion", model=name)
    with pytest.raises(
        UserError, match=f"draws at temperature 0.3, but OpenAIChatCompletion sends 1 for the model '{name}'"
    ):
        sampler_of(model, ASKED, unseeded=False, purpose="task t")
    assert sampler_of(model, ASKED | {"temperature": 1.0}, unseeded=False, purpose="task t").kind == "seeded"


def test_outside_of_an_evaluation_no_model_asks() -> None:
    assert asking_model(None) is None
    assert sampler_of(None, ASKED, unseeded=False, purpose="task t").kind == "ours"


@pytest.mark.parametrize("chat", [False, True])
def test_the_asking_model_is_found_behind_lm_evals_response_cache(chat: bool, llama: Path, tmp_path: Path) -> None:
    plugin.activate()
    with pytest.raises(UserError, match="HFLM takes no seeds"):
        evaluate(llama, [DEMO], limit=1, bootstrap_iters=0, use_cache=str(tmp_path / "cache"), apply_chat_template=chat)

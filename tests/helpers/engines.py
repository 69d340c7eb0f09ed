"""Servers that answer as llama.cpp's, vLLM's and OpenAI's do, from a tiny model that really computes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KINDS = ("llama.cpp", "vllm", "openai", "chat-lists")
Answer = tuple[int, Any]


class Engine:
    """One model behind the addresses of one kind of server.

    The shapes are those that llama-server and vLLM's server gave to the same requests.
    """

    def __init__(self, folder: Path, kind: str, *, top: int = 20, ids: bool = True, seeds: bool = True) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.kind, self.top, self.ids, self.seeds = kind, top, ids, seeds
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.change: Callable[[str, dict[str, Any], Answer], Answer] = lambda path, body, answer: answer
        self.lock = threading.Lock()

    def table(self, ids: list[int]) -> Any:
        """Log-probabilities behind each token of a prompt."""
        import torch

        with torch.inference_mode():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0].float(), dim=-1)

    def get(self, path: str) -> Answer:
        meta = {"n_vocab": int(self.model.config.vocab_size), "n_ctx_train": 2048, "size": 12345}
        if path == "/v1/models":
            entry = {"id": "tiny", "owned_by": {"llama.cpp": "llamacpp"}.get(self.kind, self.kind)}
            entry |= {"meta": meta} if self.kind == "llama.cpp" else {}
            entry |= {"max_model_len": 2048} if self.kind == "vllm" else {}
            return 200, {"object": "list", "data": [entry]}
        if path == "/props" and self.kind == "llama.cpp":
            return 200, {
                "default_generation_settings": {"n_ctx": 2048},
                "total_slots": 1,
                "model_path": "/models/tiny.gguf",
                "build_info": "b11434-0000000",
            }
        if path == "/version" and self.kind == "vllm":
            return 200, {"version": "0.32.0"}
        return 404, {"error": {"message": "not found", "code": 404}}

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/tokenize" and self.kind == "llama.cpp":
            return 200, {"tokens": self.tokenizer.encode(body["content"])}
        if path == "/completion" and self.kind == "llama.cpp":
            return 200, self.completion(body)
        if path == "/v1/completions":
            return self.completions(body)
        return 404, {"error": {"message": "not found", "code": 404}}

    def draw(self, ids: list[int], body: dict[str, Any], count: int) -> list[int]:
        """Greedy at temperature 0, else by the seed."""
        import torch

        out, maker = list(ids), torch.Generator().manual_seed(int(body.get("seed", 0)) if self.seeds else 7)
        for _ in range(count):
            row, heat = self.table(out)[-1], body.get("temperature", 1.0)
            token = (
                int(row.argmax()) if heat == 0 else int(torch.multinomial((row / heat).softmax(-1), 1, generator=maker))
            )
            out.append(token)
        return out[len(ids) :]

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, count = body["prompt"], body["n_predict"]
        new = self.draw(ids, body, count)
        answer: dict[str, Any] = {
            "content": self.tokenizer.decode(new),
            "tokens_evaluated": len(ids),
            "truncated": False,
        }
        if body.get("n_probs"):
            table = self.table(ids + new)
            answer["completion_probabilities"] = [
                self.listed(table[len(ids) - 1 + at], token, body["n_probs"]) for at, token in enumerate(new)
            ]
        return answer

    def listed(self, row: Any, token: int, count: int) -> dict[str, Any]:
        values, ids = row.topk(min(count, len(row)))
        entries = [
            {"id": int(i), "token": self.tokenizer.decode([int(i)]), "bytes": [], "logprob": float(v)}
            for i, v in zip(ids, values, strict=True)
        ]
        own = {"id": token, "token": self.tokenizer.decode([token]), "bytes": [], "logprob": float(row[token])}
        return own | {"top_logprobs": entries}

    def several(self, body: dict[str, Any]) -> Answer:
        """Several prompts in one request, as lm_eval's client sends them."""
        choices = []
        for place, prompt in enumerate(body["prompt"]):
            code, answer = self.completions(body | {"prompt": prompt})
            if code != 200:
                return code, answer
            choices.append(answer["choices"][0] | {"index": place})
        return 200, {"choices": choices}

    def completions(self, body: dict[str, Any]) -> Answer:
        if body.get("model", "tiny") != "tiny":
            return 404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}}
        prompt = body["prompt"]
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], list):
            return self.several(body)
        if isinstance(prompt, list) and not self.ids:
            return 400, {"error": {"message": "prompt must be a string", "code": 400}}
        ids = prompt if isinstance(prompt, list) else self.tokenizer.encode(prompt)
        count, wanted = body.get("logprobs"), body.get("logprob_token_ids")
        if count is not None and count > self.top:
            return 400, {"error": {"message": f"at most {self.top} logprobs", "code": 400}}
        new = self.draw(ids, body, body["max_tokens"])
        table, whole = self.table(ids + new), ids + new
        echo = bool(body.get("echo")) and self.kind == "vllm"
        logprobs: Any = None
        if count is not None and self.kind == "chat-lists":
            logprobs = {"content": [self.listed(table[len(ids) - 1 + at], t, count) for at, t in enumerate(new)]}
        elif count is not None:
            start = 0 if echo else len(ids)
            named = bool(body.get("return_tokens_as_token_ids")) and self.kind == "vllm"
            spell = (lambda i: f"token_id:{i}") if named else (lambda i: self.tokenizer.decode([i]))
            lists: list[Any] = []
            for at in range(start, len(whole)):
                if at == 0:
                    lists.append(None)
                    continue
                row = table[at - 1]
                chosen = wanted if wanted and self.kind == "vllm" else row.topk(min(count, len(row))).indices.tolist()
                lists.append({spell(i): float(row[i]) for i in [*chosen, whole[at]]})
            values = [None if at == 0 else float(table[at - 1][whole[at]]) for at in range(start, len(whole))]
            logprobs = {"tokens": [spell(i) for i in whole[start:]], "token_logprobs": values, "top_logprobs": lists}
        text = self.tokenizer.decode(new)
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(new)}
        return 200, {"choices": [{"index": 0, "text": text, "logprobs": logprobs}], "usage": usage}


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """The address at which an engine answers while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self, status: int, answer: Any) -> None:
            raw = answer if isinstance(answer, bytes) else json.dumps(answer, default=_number).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self) -> None:
            self.reply(*engine.change(self.path, {}, engine.get(self.path)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with engine.lock:
                engine.sent.append((self.path, body))
                answer = engine.change(self.path, body, engine.post(self.path, body))
            self.reply(*answer)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

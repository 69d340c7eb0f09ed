"""llama.cpp's server, by its own `/completion`: prompts as token ids, as many next tokens as are needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.engines.listed import Ask, Listed, Prompt, Step
from lm_eval_ext.models.engines.wire import RefusedError, Wire

__all__ = ["LlamaCpp"]

_FIRST = 1000
"""Tokens listed at first: letters are nearly always among them; where they are not, more are asked for."""
_MORE = 20
# The whole vocabulary, as `compressed_hf` draws from it: the server's own settings cut it down.
_PLAIN = {
    "samplers": ["temperature"],
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class LlamaCpp:
    """A llama-server."""

    name = "llama.cpp"
    exact = False
    lists_all = True

    def __init__(self, wire: Wire, model: str | None, top: int | None = None) -> None:
        """Ask the server what it is.

        Args:
            wire: Its address.
            model: The name that the user expects; None takes what is there.
            top: Next tokens to list at first.

        Raises:
            UserError: If it serves another model, or none that goes on with texts.
        """
        self._wire, self._top = wire, int(top or _FIRST)
        properties = _mapping(wire.get("/props"))
        listed = _mapping(wire.get("/v1/models")).get("data")
        entry = _mapping(listed[0] if isinstance(listed, list) and listed else {})
        meta = _mapping(entry.get("meta"))
        build = properties.get("build_info")
        self.version = str(build) if build else None
        path = str(properties.get("model_path") or entry.get("id") or "")
        self.model = path.replace("\\", "/").rpartition("/")[2] or "unknown"
        names = {
            self.model,
            self.model.removesuffix(".gguf"),
            path,
            str(entry.get("id")),
            str(properties.get("model_alias")),
        }
        if model is not None and model not in names:
            raise UserError(
                f"the server at {wire.root} serves {self.model!r}, not {model!r}; start it with -m, or leave out model="
            )
        settings = _mapping(properties.get("default_generation_settings"))
        context = settings.get("n_ctx")
        self.positions = int(context) if isinstance(context, int) and context > 0 else None
        slots = properties.get("total_slots")
        self.together = int(slots) if isinstance(slots, int) and slots > 0 else 1
        size = meta.get("n_vocab")
        self._vocabulary = int(size) if isinstance(size, int) and size > 0 else None
        kind = properties.get("model_ftype") or meta.get("ftype")
        self.facts: dict[str, Any] = {
            "quantization": str(kind) if kind else None,
            "size": meta.get("size") if isinstance(meta.get("size"), int) else None,
        }

    def tokens(self, text: str) -> list[int] | None:
        """The server's own tokens of a text with its BOS, to hold the tokenizer against; None if it does not tell."""
        try:
            said = self._wire.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        except RefusedError:
            return None
        ids = said.get("tokens")
        return [int(one) for one in ids] if isinstance(ids, list) and all(isinstance(i, int) for i in ids) else None

    def tell(self, ask: Ask) -> list[Step]:
        """The next tokens; asked again with more where a wanted one is not listed."""
        count = self._top
        while True:
            whole = self._vocabulary is not None and count >= self._vocabulary
            steps = self._listed(ask, min(count, self._vocabulary or count), whole)
            missing = any(token not in steps[-1].listed.ids for token in ask.wanted) and not any(
                all(token in step.listed.ids for token in ask.wanted) for step in steps
            )
            if not missing or whole or self._vocabulary is None or len(steps) < ask.steps:
                return steps
            count *= _MORE

    def _listed(self, ask: Ask, count: int, whole: bool) -> list[Step]:
        body = {**_PLAIN, "prompt": list(ask.prompt.ids), "n_predict": ask.steps, "n_probs": count, "temperature": 0}
        # Without the cache: a prompt's numbers must not depend on which one came before.
        answer = self._answer(body | {"cache_prompt": False, "ignore_eos": False})
        told = answer.get("completion_probabilities")
        if not isinstance(told, list) or not told:
            raise UserError(
                f"the server at {self._wire.root} lists no next tokens (asked for n_probs={count}); is it llama.cpp's?"
            )
        return [_step(_mapping(one), whole) for one in told]

    def scored(self, whole: Prompt, start: int) -> tuple[float, bool]:
        """Not to be had: this server scores no prompt."""
        raise UserError(f"the server at {self._wire.root} scores no prompt (llama.cpp); this is a fault of ours")

    def text(self, prompt: Prompt, settings: Mapping[str, Any]) -> str:
        """A text, drawn from the whole vocabulary by the server's own sampler."""
        given = dict(settings)
        body = {
            **_PLAIN,
            "prompt": list(prompt.ids),
            "cache_prompt": False,
            "n_predict": given.pop("max_tokens"),
            **given,
        }
        return str(self._answer(body).get("content", ""))

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._wire.post("/completion", body)
        except RefusedError as fault:
            raise UserError(
                f"the server at {self._wire.root} refuses a prompt of {len(body['prompt'])} tokens: {fault.message}"
            ) from None
        read = answer.get("tokens_evaluated")
        if answer.get("truncated") or (isinstance(read, int) and read != len(body["prompt"])):
            raise UserError(
                f"the server at {self._wire.root} read {read} of {len(body['prompt'])} tokens; start it with more: -c N"
            )
        return answer


def _step(told: Mapping[str, Any], whole: bool) -> Step:
    ids: dict[int, float] = {}
    for entry in told.get("top_logprobs") or told.get("top_probs") or ():
        value = entry.get("logprob")
        if not isinstance(entry.get("id"), int) or not isinstance(value, int | float) or math.isnan(value):
            raise UserError(f"llama.cpp's server lists {seen(entry)}, expected an id and a logprob; use a newer one")
        ids[entry["id"]] = min(0.0, float(value))
    token = told.get("id")
    return Step(token if isinstance(token, int) else None, str(told.get("token", "")), Listed(ids, whole=whole))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

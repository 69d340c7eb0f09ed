"""Any server with OpenAI's `/v1/completions` and log-probabilities: vLLM's, and others as far as they go."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.engines.listed import Ask, Prompt, Step
from lm_eval_ext.models.engines.replies import echoed, steps_of
from lm_eval_ext.models.engines.wire import RefusedError, Wire

__all__ = ["Completions"]

log = logging.getLogger(__name__)

_PATH = "/v1/completions"
_TOPS = (1000, 100, 20, 5, 1)
"""How many next tokens servers list at most, tried from above."""


class Completions:
    """A server of completions."""

    lists_all = False

    def __init__(
        self,
        wire: Wire,
        model: str | None,
        *,
        name: str,
        version: str | None,
        probe: Prompt,
        bare: Callable[[str], list[str]],
        top: int | None = None,
    ) -> None:
        """Ask the server what it can do.

        Args:
            wire: Its address.
            model: The model's name there; None takes the only one.
            name: The engine.
            version: Of the engine.
            probe: A prompt to try with.
            bare: The ways in which a prompt's text may have to be sent so that the server's BOS is there once.
            top: Next tokens to list; None for as many as the server lists.

        Raises:
            UserError: If the model is not there, no log-probabilities come, or the tokens are others than the
                tokenizer's.
        """
        self._wire, self.name, self.version, self._bare = wire, name, version, bare
        self.model, self.positions = self._served(model)
        self.together = 8
        self.facts: dict[str, Any] = {}
        self._ids, self._way = True, 0
        self._settle_prompts(probe)
        self._own = self.name == "vllm"
        self._top = self._settle_top(probe, top)
        self.exact = self._settle_echo(probe)
        self.lists_all = bool(self._own)
        self.facts |= {
            "prompts": "ids" if self._ids else "text",
            "listed": self._top,
            "echo": self.exact,
            "by_id": bool(self._own),
        }

    def _served(self, model: str | None) -> tuple[str, int | None]:
        answer = self._wire.get("/v1/models")
        data = answer.get("data") if isinstance(answer, Mapping) else None
        entries = [entry for entry in data or () if isinstance(entry, Mapping) and entry.get("id")]
        names = [str(entry["id"]) for entry in entries]
        if model is None and len(names) != 1:
            shown = f"it has {', '.join(names[:10])}" if names else "it names none"
            raise UserError(
                f"the server at {self._wire.root} serves several models or names none: {shown}; give model=NAME"
            )
        if model is not None and names and model not in names:
            raise UserError(f"the server at {self._wire.root} has no model {model!r}; it has {', '.join(names[:10])}")
        name = names[0] if model is None else model
        entry = next((entry for entry in entries if entry["id"] == name), {})
        length = entry.get("max_model_len")
        return name, length if isinstance(length, int) else None

    def _settle_prompts(self, probe: Prompt) -> None:
        """Find out whether prompts can be sent as ids, else how as text."""
        body = self._body(probe, 1) | {"temperature": 0}
        try:
            read = _read(self._wire.post(_PATH, body))
            if read in (None, len(probe.ids)):
                return
        except RefusedError as fault:
            if fault.status in (401, 403, 404):
                raise UserError(f"the server at {self._wire.root} refuses {_PATH}: {fault.message}") from None
            log.info("%s takes no token ids (%s); prompts are sent as text", self._wire.root, fault.message)
        self._ids = False
        counts = []
        for way in range(len(self._bare(probe.text))):
            self._way = way
            try:
                counts.append(_read(self._wire.post(_PATH, self._body(probe, 1) | {"temperature": 0})))
            except RefusedError as fault:
                raise UserError(f"the server at {self._wire.root} refuses {_PATH}: {fault.message}") from None
            if counts[-1] == len(probe.ids):
                return
            if counts[-1] is None:
                log.warning(
                    "%s does not say how many tokens it reads: whether BOS is there once can't be told", self._wire.root
                )
                return
        raise UserError(
            f"the server at {self._wire.root} reads {' or '.join(map(str, counts))} tokens where the tokenizer makes "
            f"{len(probe.ids)}; give the served model's own tokenizer=NAME"
        )

    def _settle_top(self, probe: Prompt, top: int | None) -> int:
        """How many tokens the server lists; 1 where it lists those that are named by id."""
        ask, said = Ask(probe, probe.ids[-1:]), ""
        if self._own:
            try:
                steps = self._steps(ask, 1)
                self._own = bool(steps) and ask.wanted[0] in steps[0].listed.ids
            except RefusedError as fault:
                self._own, said = False, fault.message  # an older vLLM
            if self._own:
                return 1
        for count in _TOPS if top is None else (int(top),):
            try:
                steps = self._steps(ask, count)
            except RefusedError as fault:
                said = fault.message
                continue
            if steps and (steps[0].listed.ids or steps[0].listed.texts):
                return count
            said = "the answer has none"
        raise UserError(
            f"the server at {self._wire.root} lists no log-probabilities of next tokens ({said}), which letters are "
            "scored by; use one that does"
        )

    def _settle_echo(self, probe: Prompt) -> bool:
        body = self._body(Prompt(probe.ids, probe.text), 1) | {"temperature": 0, "echo": True, "logprobs": 1}
        try:
            answer = self._wire.post(_PATH, body)
        except RefusedError:
            return False
        values = echoed(answer)
        return (
            values is not None
            and len(values) == len(probe.ids) + 1
            and all(value is not None and math.isfinite(value) and value <= 0 for value, _ in values[1:])
            and len({value for value, _ in values[1:]}) > 1
        )

    def tell(self, ask: Ask) -> list[Step]:
        """The next tokens, as many as the server lists, or those that are wanted where it lists by id."""
        try:
            return self._steps(ask, self._top)
        except RefusedError as fault:
            raise self._refused(ask.prompt, fault) from None

    def _steps(self, ask: Ask, count: int) -> list[Step]:
        body = self._body(ask.prompt, ask.steps) | {"temperature": 0, "logprobs": count}
        if self.name == "vllm":
            body |= {"return_tokens_as_token_ids": True}
        if self._own:
            body |= {"logprob_token_ids": list(ask.wanted)}
        answer = self._wire.post(_PATH, body)
        self._check(ask.prompt, answer)
        return steps_of(answer, by_id=self._own, where=self._wire.root)

    def scored(self, whole: Prompt, start: int) -> tuple[float, bool]:
        """Log-likelihood of a text's tokens from `start` on, from the prompt's own log-probabilities."""
        body = self._body(whole, 1) | {"temperature": 0, "echo": True, "logprobs": 1}
        try:
            values = echoed(self._wire.post(_PATH, body))
        except RefusedError as fault:
            raise self._refused(whole, fault) from None
        if values is None or len(values) != len(whole.ids) + 1:
            raise UserError(
                f"the server at {self._wire.root} scored {len(values or ())} tokens of {len(whole.ids) + 1}"
            )
        own = values[start : len(whole.ids)]
        if any(value is None for value, _ in own):
            raise UserError(f"the server at {self._wire.root} gave a token of the prompt no log-probability")
        return math.fsum(value for value, _ in own if value is not None), all(best for _, best in own)

    def text(self, prompt: Prompt, settings: Mapping[str, Any]) -> str:
        """A text, drawn from the whole vocabulary by the server's own sampler."""
        plain: dict[str, Any] = {"top_p": 1.0}
        if self.name == "vllm":  # it takes what is left out from the model's generation_config
            plain |= {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False}
        try:
            answer = self._wire.post(_PATH, plain | self._body(prompt, 1) | dict(settings))
        except RefusedError as fault:
            raise self._refused(prompt, fault) from None
        self._check(prompt, answer)
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0].get("text"), str):
            raise UserError(f"the server at {self._wire.root} answered without a text")
        return str(choices[0]["text"])

    def _body(self, prompt: Prompt, tokens: int) -> dict[str, Any]:
        if not self._ids and not prompt.text and len(prompt.ids) > 1:
            raise UserError(
                f"the server at {self._wire.root} takes texts alone, and a prompt that was cut is none; give a larger "
                "max_length"
            )
        sent = list(prompt.ids) if self._ids else self._bare(prompt.text)[self._way]
        return {"model": self.model, "prompt": sent, "max_tokens": tokens}

    def _check(self, prompt: Prompt, answer: Mapping[str, Any]) -> None:
        read = _read(answer)
        if read is not None and read != len(prompt.ids):
            raise UserError(
                f"the server at {self._wire.root} read {read} tokens of a prompt of {len(prompt.ids)}: its tokenizer "
                "is another, or it cut the prompt"
            )

    def _refused(self, prompt: Prompt, fault: RefusedError) -> UserError:
        return UserError(
            f"the server at {self._wire.root} refuses a prompt of {len(prompt.ids)} tokens: {fault.message}"
        )


def _read(answer: Mapping[str, Any]) -> int | None:
    usage = answer.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return read if isinstance(read, int) else None

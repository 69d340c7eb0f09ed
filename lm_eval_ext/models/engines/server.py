"""What every server can be asked, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lm_eval_ext.models.engines.listed import Ask, Prompt, Step

__all__ = ["Server"]


class Server(Protocol):
    """An engine behind HTTP."""

    name: str
    """The engine: llama.cpp, vllm, or openai for any other with that interface."""
    version: str | None
    model: str
    """The model's name there."""
    positions: int | None
    """Most tokens of a request; None if it does not say."""
    together: int
    """How many requests it works on at once."""
    exact: bool
    """Whether it scores the tokens of a prompt, so that any continuation can be had in one request."""
    lists_all: bool
    """Whether it lists as many next tokens as are asked for, so that any can be had."""
    facts: dict[str, Any]
    """Further facts for the results."""

    def tell(self, ask: Ask) -> list[Step]:
        """The next tokens and what is listed at each."""
        ...

    def scored(self, whole: Prompt, start: int) -> tuple[float, bool]:
        """Log-likelihood of a text's tokens from `start` on, and whether they are the likeliest; where `exact`."""
        ...

    def text(self, prompt: Prompt, settings: Mapping[str, Any]) -> str:
        """A text that goes on; settings: seed, temperature, max_tokens, stop, and what else the user gave."""
        ...

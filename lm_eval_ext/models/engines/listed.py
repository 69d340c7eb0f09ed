"""What an engine says of the token that comes next, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lm_eval_ext.contract.score import Bound

__all__ = ["Ask", "Listed", "Prompt", "Step"]

_ROUNDING = 1e-5
"""By how much a sum of listed probabilities may be off: they come in float32, or rounded by who wrote them."""


@dataclass(frozen=True)
class Prompt:
    """What a text is continued from."""

    ids: tuple[int, ...]
    """Token ids, with what the tokenizer puts before a text."""
    text: str
    """The same as text, as it was asked; may lack what the tokenizer puts before it."""


@dataclass(frozen=True)
class Ask:
    """One question to an engine: a prompt, and which tokens of the next ones matter."""

    prompt: Prompt
    wanted: tuple[int, ...]
    """Ids whose log-probabilities are needed at one of the next tokens."""
    steps: int = 1
    """How many tokens to go on, always by the likeliest."""


@dataclass(frozen=True)
class Listed:
    """The likeliest next tokens and their natural log-probabilities, over the whole vocabulary at temperature 1."""

    ids: Mapping[int, float] = field(default_factory=dict)
    texts: Mapping[str, float] = field(default_factory=dict)
    """By the token's text, where the engine gives no ids."""
    whole: bool = False
    """Whether no token is missing, or those that are have no probability."""
    chosen: bool = False
    """Whether these are tokens that were asked for, so that nothing follows for others."""

    def score(self, token: int, text: str) -> float:
        """The log-probability of a token, or its `Bound` if it is not among the listed.

        Args:
            token: Its id.
            text: Its text.
        """
        found = self.ids.get(token, self.texts.get(text))
        if found is not None:
            return found
        if self.whole:
            return -math.inf
        if self.chosen:
            return Bound(0.0, 0.0)
        return Bound(self.least, self.left)

    @property
    def top(self) -> float:
        """The highest log-probability that is listed."""
        return max((*self.ids.values(), *self.texts.values()), default=-math.inf)

    @property
    def least(self) -> float:
        """The lowest log-probability that is listed; 0 where none is."""
        return min((*self.ids.values(), *self.texts.values()), default=0.0)

    @property
    def left(self) -> float:
        """Natural log of the probability that the tokens which are not listed have together, rounded up."""
        listed = math.fsum(math.exp(value) for value in (*self.ids.values(), *self.texts.values()))
        return math.log(min(1.0, max(0.0, 1.0 - listed) + _ROUNDING))


@dataclass(frozen=True)
class Step:
    """One token further: which one was taken, and what was listed before it was."""

    token: int | None
    """None where the engine tells no ids."""
    text: str
    listed: Listed

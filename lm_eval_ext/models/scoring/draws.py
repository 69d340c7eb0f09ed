"""Random draws that depend on the prompt, the seed and the position alone, and on the model's logits.

Gumbel-max: the token drawn is the one with the highest log p / T + g, where each token has a Gumbel number g of its
own. The numbers come from an integer hash rather than from a generator's state, so that they are the same whatever is
drawn before, beside, on whichever device, and for every model (common random numbers). With the inverse of the
distribution function instead, one uniform number falls into an interval of the unit line, and a change of one token's
probability moves the intervals of all tokens behind it; here it moves that token's own value against the others'.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Branch", "Drawer", "FirstToken", "Prompt", "Protocol", "gumbel", "log_probabilities", "stream"]

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
# The largest and the smallest Gumbel number of 52 random bits are 36.74 and -3.60: a token that is further behind the
# most probable one cannot be drawn, and needs no number. One more, for the float32 in which the distance is taken.
_REACH = 41.5


@dataclass(frozen=True)
class Protocol:
    """How to sample."""

    seeds: tuple[int, ...]
    temperature: float
    """0 takes the most probable token, the lowest of equals."""
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends; they are no part of it."""
    ends: frozenset[int] = frozenset()
    """Tokens at which an answer ends."""
    decided: Callable[[str], bool] | None = None
    """Tells of a text whether what follows can no longer matter."""


@dataclass(frozen=True)
class Prompt:
    """What is asked."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """Seeds of one prompt that have drawn the same tokens so far."""

    prompt: int
    seeds: tuple[int, ...]
    """Their numbers in the protocol."""
    drawn: tuple[int, ...] = ()


@dataclass(frozen=True)
class FirstToken:
    """Natural log-probabilities that the first token is in each watched set."""

    plain: list[float]
    """Of the model itself."""
    drawn: list[float]
    """At the protocol's temperature, over the whole vocabulary: what is drawn from."""


@dataclass
class Drawer:
    """Draws for branches, and keeps the texts of those that have ended."""

    protocol: Protocol
    prompts: Sequence[Prompt]
    decode: Callable[[list[int]], str]
    watched: Sequence[Sequence[int]] = ()
    """Sets of tokens whose probability as the first one drawn is wanted."""
    texts: list[list[str]] = field(init=False)
    """[prompts][seeds]"""
    first: list[FirstToken | None] = field(init=False)
    """[prompts] of those whose probabilities are numbers."""

    def __post_init__(self) -> None:
        self.texts = [[""] * len(self.protocol.seeds) for _ in self.prompts]
        self.first = [None] * len(self.prompts)

    def start(self, prompt: int) -> Branch:
        """The branch of a prompt of which nothing is drawn."""
        return Branch(prompt, tuple(range(len(self.protocol.seeds))))

    def step(self, branches: Sequence[Branch], logprobs: Tensor) -> list[tuple[int, Branch]]:
        """Draw one token for each seed of each branch.

        Args:
            branches: Where the draws stand.
            logprobs: [branches, vocabulary] natural log-probabilities of the next token. Where one is NaN, the
                branch ends with the text it has.

        Returns:
            The branches that go on, each with the index of the one it comes from.
        """
        if self.watched:
            self._watch(branches, logprobs)
        going = []
        for parent, (branch, (tokens, values)) in enumerate(zip(branches, self._candidates(logprobs), strict=True)):
            fresh: dict[int, list[int]] = {}
            for seed in branch.seeds:
                if len(tokens):
                    fresh.setdefault(self._draw(branch, seed, tokens, values), []).append(seed)
            if not fresh:
                self._finish(branch, self.decode(list(branch.drawn)))
            for token, seeds in sorted(fresh.items()):
                child = Branch(branch.prompt, tuple(seeds), (*branch.drawn, token))
                if not self._ended(child):
                    going.append((parent, child))
        return going

    def _watch(self, branches: Sequence[Branch], logprobs: Tensor) -> None:
        """Note the watched probabilities of the branches of which nothing is drawn."""
        rows = [row for row, branch in enumerate(branches) if not branch.drawn]
        if not rows:
            return
        values = logprobs[rows].float()
        temperature = self.protocol.temperature
        if temperature > 0:
            drawn = (values / temperature).log_softmax(-1)
        else:
            drawn = torch.full_like(values, -math.inf)
            drawn[range(len(values)), values.argmax(-1)] = 0.0
            drawn[values.isnan().any(-1)] = math.nan
        plain, tempered = (
            torch.stack([given[:, list(tokens)].logsumexp(-1) for tokens in self.watched], -1).tolist()
            for given in (values, drawn)
        )
        for row, own, other in zip(rows, plain, tempered, strict=True):
            if not any(math.isnan(value) for value in (*own, *other)):
                self.first[branches[row].prompt] = FirstToken(own, other)

    def _candidates(self, logprobs: Tensor) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """For each row, the tokens that can be drawn at all, and their log-probabilities over the temperature."""
        temperature = self.protocol.temperature
        values = logprobs.float()
        near = values >= values.amax(-1, keepdim=True) - _REACH * temperature
        rows, tokens = near.nonzero(as_tuple=True)
        kept = values[rows, tokens].cpu().numpy().astype(np.float64) / (temperature or 1.0)
        cuts = np.searchsorted(rows.cpu().numpy(), np.arange(1, len(values)))
        return list(zip(np.split(tokens.cpu().numpy(), cuts), np.split(kept, cuts), strict=True))

    def _draw(self, branch: Branch, seed: int, tokens: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> int:
        if self.protocol.temperature == 0:
            return int(tokens[np.argmax(values)])
        key = stream(self.prompts[branch.prompt].text, self.protocol.seeds[seed], len(branch.drawn))
        return int(tokens[np.argmax(values + gumbel(key, tokens))])

    def _ended(self, branch: Branch) -> bool:
        *before, last = branch.drawn
        if last in self.protocol.ends:
            self._finish(branch, self.decode(before))
            return True
        text = self.decode(list(branch.drawn))
        stopped = any(stop in text for stop in self.protocol.stop)
        # The replacement character at the end is a letter of which the rest may follow.
        sure = text.rstrip("\ufffd")
        known = self.protocol.decided is not None and not self._may_stop(sure) and self.protocol.decided(sure)
        if stopped or known or len(branch.drawn) == self.protocol.max_tokens:
            self._finish(branch, text)
            return True
        return False

    def _may_stop(self, text: str) -> bool:
        """Whether a stop may have begun at the end of a text, and what follows may yet shorten it."""
        return any(text.endswith(stop[:length]) for stop in self.protocol.stop for length in range(1, len(stop)))

    def _finish(self, branch: Branch, text: str) -> None:
        for stop in self.protocol.stop:
            text = text.split(stop)[0]
        for seed in branch.seeds:
            self.texts[branch.prompt][seed] = text


def stream(prompt: str, seed: int, position: int) -> int:
    """64 bits that stand for one draw: from the prompt's sha256, the seed, and how many tokens are drawn already."""
    start = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "little")
    return _mix(_mix(start + seed * _GOLDEN) + (position + 1) * _GOLDEN)


def gumbel(key: int, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Standard Gumbel numbers, one a token, that depend on the key and the token alone.

    Args:
        key: From `stream`.
        tokens: Token ids, in any order.

    Returns:
        -ln(-ln u), u uniform in (0, 1) in steps of 2**-52.
    """
    # The finaliser of splitmix64 (Steele, Lea & Flood 2014) over a counter; numpy's uint64 wraps as it must.
    bits = tokens.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64((key + _GOLDEN) & _WORD)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    gumbels: npt.NDArray[np.float64] = -np.log(-np.log(uniform))
    return gumbels


def _mix(value: int) -> int:
    value &= _WORD
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _WORD
    return value ^ (value >> 31)


def log_probabilities(logits: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Natural log-probabilities over the last dimension, as scoring takes them."""
    return logits.log_softmax(-1, dtype=dtype)

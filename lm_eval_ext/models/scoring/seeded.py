"""lm-eval's generation requests that name seeds, answered by our sampler."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.scoring.alone import LoneSampler
from lm_eval_ext.models.scoring.draws import Drawer, Prompt, Protocol
from lm_eval_ext.models.scoring.memory import ROW_TOKENS, rows_per_pass
from lm_eval_ext.models.scoring.obstacles import calling_of
from lm_eval_ext.models.scoring.sampling import TreeSampler
from lm_eval_ext.models.scoring.settings import settings_of
from lm_eval_ext.models.scoring.spellings import Spellings
from lm_eval_ext.models.scoring.trust import FAULTS, Differs, Trust

__all__ = ["SeededSampling", "protocol_of"]

log = logging.getLogger(__name__)

_KEYS = ("do_sample", "full_text", "max_gen_toks", "seeds", "stop_when", "temperature", "until")
_FIRST = "first_token"
_ALIASES = ("max_new_tokens", "max_tokens", "max_completion_tokens")
Stops = Mapping[str, Callable[[str], bool]]


class SeededSampling:
    """Draws for requests whose generation arguments hold `seeds`.

    lm-eval sends each request `repeats` times in a row: the i-th copy is answered with the i-th seed. A request that
    also holds `first_token`, a list of words, is answered from the same pass over the prompt with the exact
    probabilities that the first token drawn is each word (`FirstToken`, as JSON).
    """

    def __init__(self, lm: Any, stops: Stops, told: set[str]) -> None:
        """Prepare, without running anything.

        Args:
            lm: The lm-eval model.
            stops: What `stop_when` may name: functions that tell of a text whether its answer is settled.
            told: As for `Trust`.
        """
        self._lm = lm
        self._stops = stops
        self._spellings: Spellings | None = None
        self._told = False
        self._alone = LoneSampler(lm)
        self.trust = Trust(lm, "sampled", told)

    def answer(self, requests: Sequence[tuple[str, dict[str, Any]]], done: Any) -> list[str]:
        """Answer requests, in their order.

        Args:
            requests: Context and generation arguments of each.
            done: Told of the number of requests that are answered.

        Raises:
            UserError: On arguments that the sampler doesn't know, copies that don't fit the seeds, or an empty prompt.
        """
        if self._lm.backend != "causal":
            raise UserError(f"seeds need a decoder-only model, got {self._lm.backend}; use a task that scores instead")
        if getattr(self._lm, "think_end_token", None):
            raise UserError("think_end_token is not known to the sampler of seeds; run without it")
        self._tell_settings()
        groups: dict[str, _Group] = {}
        for index, (context, kwargs) in enumerate(requests):
            shared = {key: value for key, value in kwargs.items() if key != _FIRST}
            group = groups.setdefault(json.dumps(shared, sort_keys=True), _Group(shared))
            group.copies.setdefault(context, [])
            if _FIRST in kwargs:
                group.add_first(context, index, kwargs[_FIRST])
            else:
                group.copies[context].append(index)
        replies = [""] * len(requests)
        for group in groups.values():
            protocol = self._protocol(group.kwargs, group.copies)
            prompts = self._prompts(list(group.copies), protocol)
            sent = sum(map(len, (*group.copies.values(), *group.first.values())))
            words = [self._spelt(word) for word in group.words]
            blank = partial(Drawer, protocol, prompts, self._lm.tok_decode, words)
            drawer = self._drawn(blank, partial(_times, done, sent / len(prompts)))
            for (context, copies), drawn, first in zip(group.copies.items(), drawer.texts, drawer.first, strict=True):
                for turn, index in enumerate(copies):
                    replies[index] = drawn[turn % len(drawn)]
                for index in group.first.get(context, ()):
                    replies[index] = json.dumps(None if first is None else asdict(first))
        return replies

    def _tell_settings(self) -> None:
        """Say once that draws are the model's own, whatever its generation config would make of them."""
        settings = settings_of(calling_of(self._lm).inner, sampled=True)
        if settings and not self._told:
            log.warning(
                "requests with seeds are drawn from the model's own probabilities; its generation_config does not act "
                "on them: %s",
                settings,
            )
        self._told = True

    def _spelt(self, word: str) -> list[int]:
        """The tokens that are this word but for white space around it.

        Raises:
            UserError: If there is none.
        """
        if self._spellings is None:
            self._spellings = Spellings(len(self._lm.tokenizer), self._lm.tok_decode)
        tokens = self._spellings.of(word)
        if not tokens:
            raise UserError(f"first_token: no single token of this model's vocabulary is {word!r}")
        return tokens

    def _protocol(self, kwargs: dict[str, Any], contexts: Mapping[str, list[int]]) -> Protocol:
        config = getattr(self._lm.model, "generation_config", None)
        ends = getattr(config, "eos_token_id", None)
        known = {self._lm.eot_token_id, *(ends if isinstance(ends, list | tuple) else [ends])} - {None}
        protocol = protocol_of(kwargs, self._lm.max_gen_toks, frozenset(known), self._stops)
        # Texts are decoded without special tokens: a stop that is one is never seen in them.
        added = getattr(self._lm.tokenizer, "added_tokens_decoder", {})
        stops = {number for number, token in added.items() if token.special and token.content in protocol.stop}
        protocol = replace(protocol, ends=protocol.ends | stops)
        for copies in contexts.values():
            if len(copies) % len(protocol.seeds):
                raise UserError(
                    f"{len(copies)} copies of a request for {len(protocol.seeds)} seeds; set the task's `repeats` to "
                    f"{len(protocol.seeds)}, the number of seeds in generation_kwargs"
                )
        return protocol

    def _prompts(self, contexts: Sequence[str], protocol: Protocol) -> list[Prompt]:
        room = self._lm.max_length - protocol.max_tokens
        if room < 1:
            raise UserError(
                f"max_gen_toks={protocol.max_tokens} leaves no room for a prompt in max_length={self._lm.max_length}"
            )
        prompts = []
        for context in contexts:
            # One at a time: as lm-eval encodes a batch, but without padding.
            ids, _ = self._lm.tok_batch_encode([context], left_truncate_len=room, truncation=self._lm.truncation)
            if not ids.numel():
                raise UserError(f"the prompt {context!r} has no tokens; sampling needs at least one")
            prompts.append(Prompt(context, tuple(ids[0].tolist())))
        return prompts

    def _drawn(self, blank: Callable[[], Drawer], done: Callable[[int], object]) -> Drawer:
        """A drawer with its texts: by prefix trees where they give what the model gives, else prompt by prompt."""
        drawer = blank()
        longest = max(len(prompt.tokens) for prompt in drawer.prompts) + drawer.protocol.max_tokens
        if self.trust.allows(longest):
            try:
                sampler = TreeSampler(
                    calling_of(self._lm),
                    softmax_dtype=self._lm.softmax_dtype,
                    row_tokens=ROW_TOKENS,
                    rows=rows_per_pass(self._lm),
                    trust=self.trust,
                )
                sampler.draw(drawer, done)
            except (Differs, *FAULTS) as error:
                if not self.trust.fault(error):
                    raise
                drawer = blank()
            else:
                return drawer
        self._alone.draw(drawer, done)
        return drawer


@dataclass
class _Group:
    """Requests with the same generation arguments."""

    kwargs: dict[str, Any]
    copies: dict[str, list[int]] = field(default_factory=dict)
    """Requests for texts by context."""
    first: dict[str, list[int]] = field(default_factory=dict)
    """Requests for probabilities by context."""
    words: list[str] = field(default_factory=list)

    def add_first(self, context: str, index: int, words: Any) -> None:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UserError(f"{_FIRST}: expected a list of words, got {words!r}")
        if self.words and self.words != words:
            raise UserError(f"{_FIRST}: one list of words for all requests, got {self.words!r} and {words!r}")
        self.words = words
        self.first.setdefault(context, []).append(index)


def _times(done: Callable[[float], object], each: float, count: int) -> None:
    done(each * count)


def protocol_of(kwargs: Mapping[str, Any], default_tokens: int, ends: frozenset[int], stops: Stops) -> Protocol:
    """Read generation arguments.

    Args:
        kwargs: `seeds` (whole numbers, none twice), `temperature` (1 if not given), `do_sample` (false is temperature
            0), `max_gen_toks`, `until`, `stop_when` (a name in `stops`), `full_text` (true turns `stop_when` off).
        default_tokens: Most tokens where the arguments don't tell.
        ends: Tokens at which an answer ends.
        stops: Functions that `stop_when` may name.

    Raises:
        UserError: On any other argument (a silently ignored top_p would change every draw), and on faulty values.
    """
    for key in kwargs:
        if key not in (*_KEYS, *_ALIASES):
            raise unknown_name("generation argument beside `seeds`", key, list(_KEYS))
    seeds = kwargs["seeds"]
    whole = isinstance(seeds, list | tuple) and all(type(seed) is int for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds: expected a list of whole numbers, none twice, got {seeds!r}")
    try:
        temperature = float(kwargs.get("temperature", 1.0))
    except (TypeError, ValueError):
        temperature = -1.0
    if not 0 <= temperature < float("inf"):
        raise UserError(f"temperature: expected a number of at least 0, got {kwargs['temperature']!r}")
    lengths = {key: value for key, value in kwargs.items() if key in ("until", "max_gen_toks", *_ALIASES)}
    read = normalize_gen_kwargs(lengths, default_tokens)
    if read["max_gen_toks"] < 1:
        raise UserError(f"max_gen_toks: expected at least 1, got {read['max_gen_toks']}")
    named = kwargs.get("stop_when")
    if named is not None and named not in stops:
        raise unknown_name("stop_when", str(named), list(stops))
    decided = None if named is None or kwargs.get("full_text", False) else stops[named]
    return Protocol(
        seeds=tuple(seeds),
        temperature=temperature if kwargs.get("do_sample", True) else 0.0,
        max_tokens=read["max_gen_toks"],
        stop=tuple(text for text in read["until"] if text),
        ends=ends,
        decided=decided,
    )

"""The sampled protocol: one text a seed, and the letters' exact probabilities where the model can tell them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.filters import build_filter_ensemble

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.protocols.asking import asking_model
from lm_eval_ext.protocols.chat import ChatTask, copied
from lm_eval_ext.protocols.lettering import letters
from lm_eval_ext.protocols.samplers import Sampler, sampler_of

__all__ = ["Sampled", "SampledTask"]

_SETTINGS = ("seeds", "temperature", "max_gen_toks", "allow_unseeded")
# What only compressed_hf, or only this task, understands.
_OURS = ("seeds", "stop_when", "full_text", "allow_unseeded")


@dataclass(frozen=True)
class Sampled:
    """What a sampled task gives to its `process_results`."""

    texts: list[str]
    """One a seed."""
    seeds: list[int | None]
    """Those of the requests that were answered; None where the model took none."""
    plain: list[float] | None
    """Natural log-probabilities of the model that the first token is each letter; None where they are not numbers, or
    the model gives texts only."""
    drawn: list[float] | None
    """The same at the texts' temperature."""
    texts_only: bool = False
    """Whether the model was not asked for the letters."""


class SampledTask(ChatTask):
    """Samples an item's answer once a seed, with the exact probabilities of the letters as first token.

    `compressed_hf` gets one request for the texts, repeated once a seed, and one for the letters, which is answered
    from the same pass. Another model gets one request a seed, as far as it takes seeds (`sampler_of`). The number of
    seeds decides how often; the YAML's `repeats` has no say. The key `sampling` of --metadata, and --gen_kwargs, change
    seeds, temperature and length.
    """

    _sampler = Sampler("compressed_hf", "ours")

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(_with_settings(config))
        if self.config.filter_list is None:
            self._filters = [build_filter_ensemble("none", [(_All, None)])]

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """Build the requests for the model that asks; one that can't answer them is refused here."""
        given = self.config.generation_kwargs
        self._sampler = sampler_of(
            asking_model(chat_template),
            _plain(given),
            unseeded=bool(given.get("allow_unseeded", False)),
            purpose=f"task {self.config.task}",
        )
        self.config.repeats = self._wanted(3)[0][1]
        super().build_all_requests(chat_template=chat_template, **kwargs)

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Any]:
        """Build the requests of one item."""
        request = super().construct_requests(doc, ctx, **kwargs)
        task, number, _ = request.metadata
        requests = []
        for place, (arguments, repeats) in enumerate(self._wanted(len(doc["options"]))):
            one = copied(request, (request.arguments[0], arguments), place)
            one.metadata, one.repeats = (task, number, repeats), repeats
            requests.append(one)
        return requests

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, from its texts and, where there are any, the probabilities of its letters."""
        texts: list[str] = []
        seeds: list[int | None] = []
        first: dict[str, Any] = {"plain": None, "drawn": None}
        for request, replies in zip(self.asked(doc), results, strict=True):
            arguments = request.arguments[1]
            if "first_token" in arguments:
                first = self._letters(replies[0]) or first
                continue
            own = arguments["seeds"] if "seeds" in arguments else [arguments.get("seed")] * (request.repeats or 1)
            if len(replies) != len(own):
                raise UserError(
                    f"task {self.config.task}: {len(replies)} texts for {len(own)} seeds; leave filter_list out of the "
                    "YAML"
                )
            texts += replies
            seeds += own
        texts_only = self._sampler.kind != "ours"
        scored = super().process_results(doc, [Sampled(texts, seeds, **first, texts_only=texts_only)])
        if isinstance(scored.get("answer"), dict):
            scored["answer"] = scored["answer"] | {"protocol": self._sampler.protocol}
        return scored

    def _letters(self, reply: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] | None = json.loads(reply)
        except ValueError:
            raise UserError(
                f"task {self.config.task}: the model gave {reply[:40]!r} where the letters' probabilities were asked "
                "for, which only compressed_hf gives"
            ) from None
        return found

    def _wanted(self, options: int) -> list[tuple[dict[str, Any], int]]:
        """Generation arguments and repeats of the requests of an item with so many options, in their order."""
        given, seeds = self.config.generation_kwargs, self._seeds()
        if self._sampler.kind == "ours":
            # The model knows of three letters when a text is settled: with others it is generated to its end.
            out = ("allow_unseeded",) if options == 3 else ("allow_unseeded", "stop_when")
            own = {key: deepcopy(value) for key, value in given.items() if key not in out}
            return [(own, len(seeds)), (deepcopy(own) | {"first_token": letters(options)}, 1)]
        plain = dict(self._sampler.arguments) | _plain(given)
        if self._sampler.kind == "unseeded":
            return [(plain, len(seeds))]
        return [(deepcopy(plain) | {"seed": seed}, 1) for seed in seeds]

    def _seeds(self) -> list[int]:
        """The seeds, which the command line may have changed since the task was made."""
        seeds = self.config.generation_kwargs.get("seeds")
        whole = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
        if not whole or not seeds or len(set(seeds)) < len(seeds):
            raise UserError(
                f"task {self.config.task}: seeds: expected a list of whole numbers, none twice, got {seeds!r}; "
                """for example --metadata '{"sampling": {"seeds": [1, 2, 3]}}'"""
            )
        return list(seeds)


class _All(Filter):
    """Keeps every reply, where lm_eval by itself keeps the first."""

    def apply(self, resps: Iterable[Any], docs: Sequence[Any]) -> Iterable[Any]:
        return [list(replies) for replies in resps]


def _with_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A task's configuration with the user's settings in its generation arguments."""
    metadata = config.get("metadata") or {}
    settings = metadata.get("sampling", {})
    if "seeds" in metadata or not isinstance(settings, dict):
        raise UserError(
            "seeds, temperature and length are given together: "
            """--metadata '{"sampling": {"seeds": [1, 2, 3], "temperature": 0.7}}'"""
        )
    for key in settings:
        if key not in _SETTINGS:
            raise unknown_name("key of sampling in --metadata", str(key), list(_SETTINGS))
    return dict(config) | {"generation_kwargs": deepcopy(dict(config.get("generation_kwargs") or {})) | settings}


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Generation arguments that any model of lm_eval understands."""
    return {key: deepcopy(value) for key, value in given.items() if key not in _OURS}

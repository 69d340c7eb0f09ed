"""K seeds for one prompt at a time, with the model's own masks and positions and, where it can, its own cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lm_eval_ext.models.scoring.draws import Branch, Drawer, Prompt, log_probabilities
from lm_eval_ext.models.scoring.obstacles import calling_of, rotation_by_length
from lm_eval_ext.models.scoring.trust import FAULTS, difference

__all__ = ["LoneSampler", "divisible"]

log = logging.getLogger(__name__)

Moved = Sequence[tuple[int, Branch]]


class LoneSampler:
    """Draws for one prompt after the other.

    All branches of a prompt have drawn equally many tokens, so they are a batch without padding. A cache that can't be
    divided into branches (a state space model's, for one) is not used: the prompt is run again with every token, as
    lm-eval would call the model. So it is where virtual tokens come before the prompt, where positions depend on the
    length, where the model looks at tokens that follow, and for good where the first step behind a cache differs
    from the same step without one.
    """

    def __init__(self, lm: Any) -> None:
        """Prepare, without running anything.

        Args:
            lm: The lm-eval model.
        """
        self._lm = lm
        self._caches: bool | None = None
        self._longest = 0

    @torch.no_grad()
    def draw(self, drawer: Drawer, done: Callable[[int], object] = lambda count: None) -> None:
        """Draw for every prompt of a drawer, which holds the texts afterwards; `done` is told of prompts."""
        # The longest first: a cache that suits it suits those that reach less far.
        for number in sorted(range(len(drawer.prompts)), key=lambda index: -len(drawer.prompts[index].tokens)):
            self._prompt(drawer, number)
            done(1)

    def _prompt(self, drawer: Drawer, number: int) -> None:
        prompt = drawer.prompts[number]
        branches = [drawer.start(number)]
        logits, cache = self._begun(prompt, len(prompt.tokens) + drawer.protocol.max_tokens)
        while moved := drawer.step(branches, log_probabilities(logits, self._lm.softmax_dtype)):
            branches = [branch for _, branch in moved]
            after = None if cache is None or self._caches is False else self._behind(cache, moved, prompt)
            logits = self._whole(prompt, branches) if after is None else after

    def _begun(self, prompt: Prompt, longest: int) -> tuple[Tensor, Any]:
        """Logits behind the prompt, [1, vocabulary], and the cache that holds it, or None."""
        call = calling_of(self._lm)
        ids = torch.tensor([prompt.tokens])
        config: Any = call.inner.config.get_text_config()
        # What a cache holds of earlier tokens did not see the later ones.
        ahead = getattr(self._lm, "looks_ahead", False)
        if self._caches is False or ahead or call.by_the_whole_prompt() or rotation_by_length(config, longest):
            return self._whole(prompt, [Branch(0, ())]), None
        output = call(ids, use_cache=True)
        cache = getattr(output, "past_key_values", None)
        return output.logits[:, -1], cache if divisible(cache, len(prompt.tokens)) else None

    def _behind(self, cache: Any, moved: Moved, prompt: Prompt) -> Tensor | None:
        """Logits of the next step by the cache, which is divided; None where it can't be, or gives others."""
        call = calling_of(self._lm)
        branches = [branch for _, branch in moved]
        fresh = self._caches is None or len(prompt.tokens) > self._longest
        try:
            cache.batch_select_indices(torch.tensor([parent for parent, _ in moved], device=call.device))
            last = torch.tensor([[branch.drawn[-1]] for branch in branches])
            logits: Tensor = call(last, past_key_values=cache, use_cache=True).logits[:, -1]
        except FAULTS:
            if not fresh:
                raise
            self._caches = False
            return None
        if fresh:
            narrow = torch.finfo(call.narrowest).bits < 32
            found, own = logits.log_softmax(-1).float(), self._whole(prompt, branches).log_softmax(-1).float()
            self._caches = bool(own.isnan().any()) or difference(found, own, narrow=narrow) is None
            self._longest = len(prompt.tokens)
            if not self._caches:
                log.info("%s gives other numbers behind its cache; none is used", type(call.inner).__name__)
                return None
        return logits

    def _whole(self, prompt: Prompt, branches: Sequence[Branch]) -> Tensor:
        """Logits behind each branch as lm-eval's model calls give them, [branches, vocabulary]."""
        whole = [[*prompt.tokens, *branch.drawn] for branch in branches]
        logits: Tensor = self._lm._model_call(torch.tensor(whole, device=self._lm.device))
        return logits[:, -1]


def divisible(cache: Any, length: int) -> bool:
    """Whether a cache of so many tokens is known to hold keys and values alone, each row by itself.

    Known means that each layer is exactly of a type that is: a subclass may keep a state beside them.
    """
    if type(cache) is not DynamicCache:
        return False
    known = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
    return known and cache.get_seq_length() == length

"""Tasks whose requests are built for this run, for a model that can answer them, never taken from a cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.asking import asking_model, tokenizer_of
from lm_eval_ext.protocols.servers import refuse_unscoring
from lm_eval_ext.tokens.encoding import added_ends

__all__ = ["FreshTask"]

log = logging.getLogger(__name__)

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


class FreshTask(ConfigurableTask):
    """A task that builds its requests anew in every run, and looks at the model that is going to answer them.

    lm_eval's request cache is keyed by the task's name, not by what the requests hold: token counts of a tokenizer,
    seeds, a temperature, the user's text. What is logged beside an answer would be another run's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        # lm_eval leaves the key that named this class in the configuration, which has no such field.
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def build_all_requests(self, *, cache_requests: bool = False, **kwargs: Any) -> None:
        """Build the requests, as lm_eval does without its request cache.

        Raises:
            UserError: If the model answers from lm_eval's response cache, which is keyed by the prompt alone; if it
                would score behind an end token that its tokenizer adds; if a prompt is longer than the model takes; if
                the task is scored and the server behind lm_eval's client scores nothing.
        """
        lm, task = asking_model(), str(self.config.task)
        _refuse_cached(task, lm)
        rolling = self.OUTPUT_TYPE == "loglikelihood_rolling"
        if not rolling:
            _refuse_ended(task, lm)
        if self.OUTPUT_TYPE in ("multiple_choice", "loglikelihood", "loglikelihood_rolling"):
            refuse_unscoring(task, lm)
        if cache_requests:
            log.warning("task %s: --cache_requests is not used, its requests are built for each run", task)
        super().build_all_requests(**kwargs | {"cache_requests": False, "rewrite_requests_cache": False})
        if not rolling:
            _refuse_cut(task, lm, self.instances)


def _refuse_cached(task: str, lm: Any) -> None:
    if getattr(getattr(lm, "cache_hook", None), "dbdict", None) is not None:
        raise UserError(
            f"task {task}: --use_cache is refused: lm_eval keys its cache by the prompt alone, so another model or "
            "seed would be given these answers; run without --use_cache"
        )


def _encodes(lm: Any) -> bool:
    """Whether a model turns texts into tokens by a transformers tokenizer of its own, as lm_eval's hf does."""
    return hasattr(tokenizer_of(lm), "all_special_ids") and hasattr(lm, "tok_encode")


def _refuse_ended(task: str, lm: Any) -> None:
    if not _encodes(lm) or getattr(lm, "backend", None) != "causal":
        return
    last = added_ends(lm.tokenizer).last
    if last and tuple(lm.tok_encode("a")[-len(last) :]) == last:
        raise UserError(
            f"task {task}: the tokenizer adds {lm.tokenizer.decode(list(last))} behind every prompt, and this model "
            "would score answers behind it; use --model compressed_hf, which leaves it out"
        )


def _refuse_cut(task: str, lm: Any, requests: Sequence[Any]) -> None:
    """Refuse prompts that a model would cut from the left; `compressed_hf` looks itself, at the tokens it scores."""
    limit = getattr(lm, "max_length", None)
    if not _encodes(lm) or hasattr(lm, "must_generate") or not isinstance(limit, int):
        return
    causal = getattr(lm, "backend", None) == "causal"
    longest = 0
    for request in requests:
        context, second = request.args
        if isinstance(second, str):
            text, room = (context + second, -1) if causal else (context, 0)  # the last token is predicted, not read
        else:
            asked = next((second[key] for key in _LENGTHS if key in second), getattr(lm, "max_gen_toks", 0))
            text, room = context, asked if causal and isinstance(asked, int) else 0
        # A token is a byte at least, and a tokenizer adds a few: most need not be encoded to see that they fit.
        if len(text.encode("utf-8", "surrogatepass")) + 8 + room > limit:
            longest = max(longest, len(lm.tok_encode(text)) + room)
    if longest > limit:
        raise UserError(
            f"task {task}: the longest request needs {longest} tokens, max_length={limit}, and would be cut from the "
            "left. Pass a larger max_length if the model takes it, or use a model that does"
        )

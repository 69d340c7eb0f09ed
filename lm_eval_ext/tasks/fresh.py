"""Tasks whose requests are built for this run, never taken from lm_eval's caches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.encoding import added_ends

__all__ = ["FreshTask", "check_cache", "check_model"]

log = logging.getLogger(__name__)


class FreshTask(ConfigurableTask):
    """A task that builds its requests anew in every run.

    lm_eval's request cache is keyed by the task's name, not by what the requests hold: token counts of a tokenizer,
    seeds, a temperature, the user's text. What is logged beside an answer would be another run's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        # lm_eval leaves the key that named this class in the configuration, which has no such field.
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def build_all_requests(self, *, cache_requests: bool = False, **kwargs: Any) -> None:
        """Build the requests, as lm_eval does without its request cache."""
        if cache_requests:
            log.warning("task %s: --cache_requests is not used, its requests are built for each run", self.config.task)
        super().build_all_requests(**kwargs | {"cache_requests": False, "rewrite_requests_cache": False})


def check_model(task: str, chat_template: Callable[..., str] | None) -> None:
    """Refuse a model that would score answers behind an end token, where lm_eval shows us the model.

    Args:
        task: Its name, to start the message with.
        chat_template: The model's method, as lm_eval hands it to tasks; None in runs without a chat template.

    Raises:
        UserError: In that case, and as `check_cache`.
    """
    check_cache(task, chat_template)
    lm: Any = getattr(chat_template, "__self__", None)
    tokenizer: Any = getattr(lm, "tokenizer", None)
    if getattr(lm, "backend", None) != "causal" or not hasattr(tokenizer, "all_special_ids"):
        return
    last = added_ends(tokenizer).last
    if last and hasattr(lm, "tok_encode") and tuple(lm.tok_encode("a")[-len(last) :]) == last:
        raise UserError(
            f"task {task}: the tokenizer adds {tokenizer.decode(list(last))} behind every prompt, and this model "
            "would score answers behind it; use --model compressed_hf, which leaves it out"
        )


def check_cache(task: str, chat_template: Callable[..., str] | None) -> None:
    """Refuse answers from lm_eval's response cache, which is keyed by the prompt alone; arguments as `check_model`.

    Raises:
        UserError: If the model answers from one.
    """
    lm = getattr(chat_template, "__self__", None)
    if getattr(getattr(lm, "cache_hook", None), "dbdict", None) is not None:
        raise UserError(
            f"task {task}: --use_cache is refused: lm_eval keys its cache by the prompt alone, so another model or "
            "seed would be given these answers; run without --use_cache"
        )

"""Which documents a task asks: the first of a balanced order, or those that are named, with or without examples."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.examples import OtherTemplates

__all__ = ["LEAST_TEMPLATES", "ItemTask", "few_templates"]

log = logging.getLogger(__name__)

LEAST_TEMPLATES = 12
"""Templates of a category below which a limited run is warned of: intervals and tests take templates as their unit."""


class ItemTask(ConfigurableTask):
    """A task whose documents hold item records.

    Warns where `--limit` or `--samples` leaves few templates, takes the documents of `--samples` in the order given,
    and makes few-shot prompts from other templates (`OtherTemplates`), unless the YAML names examples of its own.
    """

    _fewshot_seed: int | None = 1234

    def doc_iterator(
        self, *, rank: int = 0, limit: int | None = None, world_size: int = 1, samples: list[int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Iterate over this rank's documents; those of `samples` in its order.

        lm_eval takes them in the documents' order but logs the numbers of the list's, so that an unsorted list gives
        documents the numbers of others.

        Raises:
            UserError: If `samples` has a number that no document has, or has one twice.
        """
        if not samples:
            return iter(super().doc_iterator(rank=rank, limit=limit, world_size=world_size))
        docs = self.eval_docs
        if len(set(samples)) < len(samples) or not all(type(n) is int and 0 <= n < len(docs) for n in samples):
            raise UserError(
                f"--samples for task {self.config.task}: expected whole numbers from 0 to {len(docs) - 1}, none twice, "
                f"got {str(samples)[:200]}"
            )
        return islice(((place, docs[number]) for place, number in enumerate(samples)), rank, None, world_size)

    def build_all_requests(
        self, *, limit: int | None = None, samples: list[int] | None = None, rank: int = 0, **kwargs: Any
    ) -> None:
        """Build the requests as lm_eval does; warn where few templates are left."""
        self.__dict__.pop("_asked", None)
        super().build_all_requests(limit=limit, samples=samples, rank=rank, **kwargs)
        if rank == 0 and (limit or samples):
            items = list(self.eval_docs["item"])
            warning = few_templates(items, limit=limit, samples=samples)
            if warning:
                log.warning("task %s: %s", self.config.task, warning)

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """Remember the seed of the examples."""
        self._fewshot_seed = seed
        self.__dict__.pop("_examples", None)
        super().set_fewshot_seed(seed)

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> Any:
        """Build the prompt, with examples from other templates where any are asked for."""
        if num_fewshot and self._chooses:
            self.sampler = _Given(self._examples.of(doc["item"], num_fewshot))
        return super().fewshot_context(doc, num_fewshot, **kwargs)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Any:
        """Build the requests, each with the ids of its examples as `examples`, where there are any."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        count = self.config.num_fewshot
        if count and self._chooses:
            ids = [example["item"]["item_id"] for example in self._examples.of(doc["item"], count)]
            for request in requests if isinstance(requests, list) else [requests]:
                request.examples = ids  # kept with the request, also in lm_eval's cache of requests
        return requests

    def with_examples(self, doc: dict[str, Any], scored: dict[str, Any]) -> dict[str, Any]:
        """Add `fewshot_examples`, the ids of the examples that the item's prompt held, to its answer record."""
        examples = self._asked.get(doc["item"]["item_id"])
        if examples is not None and isinstance(scored.get("answer"), dict):
            scored["answer"] = scored["answer"] | {"fewshot_examples": examples}
        return scored

    @cached_property
    def _asked(self) -> dict[str, list[str]]:
        requests = getattr(self, "_instances", None) or ()  # none yet where a sample is scored by hand
        given = ((request.doc["item"]["item_id"], getattr(request, "examples", None)) for request in requests)
        return {item_id: examples for item_id, examples in given if examples is not None}

    @property
    def _chooses(self) -> bool:
        return not self.fewshot_cfg.split and not self.fewshot_cfg.samples

    @cached_property
    def _examples(self) -> OtherTemplates:
        own = self.config.dataset_kwargs or {}
        docs: Sequence[Any] = self.eval_docs
        if own.get("task_condition") and callable(self.config.custom_dataset):
            # Examples of one condition alone would all have the same right answer, "unknown", or never have it.
            whole = (self.config.metadata or {}) | own | {"task_condition": None}
            docs = self.config.custom_dataset(**whole)[self.config.test_split]
        return OtherTemplates(list(docs), self._fewshot_seed, f"task {self.config.task}")


class _Given(ContextSampler):
    """Hands out the examples that were chosen for a document."""

    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **kwargs: Any) -> Sequence[Any]:
        return list(self.df)


def few_templates(
    items: Sequence[Mapping[str, Any]], *, limit: int | None = None, samples: Sequence[int] | None = None
) -> str | None:
    """Say which categories have fewer than LEAST_TEMPLATES templates because not all documents are asked.

    Args:
        items: Item records of all documents, in their order.
        limit: How many of the first are asked.
        samples: Or which ones.

    Returns:
        What is left, what it means, and from how many documents on it is enough; None if nothing is lacking, or
        the category has no more templates than are asked.
    """
    whole = _templates(items)
    left = _templates([items[number] for number in samples] if samples else items[:limit])
    lacking = {
        name: len(left.get(name, ()))
        for name, templates in whole.items()
        if len(left.get(name, ())) < min(LEAST_TEMPLATES, len(templates))
    }
    if not lacking:
        return None
    shown = ", ".join(f"{count} of {len(whole[name])} templates of {name}" for name, count in list(lacking.items())[:3])
    more = f" (and {len(lacking) - 3} more categories)" if len(lacking) > 3 else ""
    advice = "" if samples else f" Take --limit {_enough(items, whole)} or more."
    option = "--samples" if samples else "--limit"
    return (
        f"{option} leaves {shown}{more}. Intervals and tests take templates as their unit: below {LEAST_TEMPLATES} "
        f"hardly any difference can be told from chance.{advice}"
    )


def _templates(items: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        seen[item["category"]].add(item["cluster"])
    return dict(seen)


def _enough(items: Sequence[Mapping[str, Any]], whole: Mapping[str, set[str]]) -> int:
    """The number of first documents that hold LEAST_TEMPLATES of each category, or all that it has."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    short = set(whole)
    for number, item in enumerate(items, 1):
        name = item["category"]
        seen[name].add(item["cluster"])
        if len(seen[name]) >= min(LEAST_TEMPLATES, len(whole[name])):
            short.discard(name)
        if not short:
            return number
    return len(items)

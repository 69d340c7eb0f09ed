"""The sampled protocol: one text a seed, and the letters' exact probabilities where the model can tell them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from lm_eval_ext.errors import UserError
from lm_eval_ext.tasks.protocols import ChatTask

__all__ = ["Sampled", "SampledTask"]


@dataclass(frozen=True)
class Sampled:
    """What a sampled task gives to its `process_results`."""

    texts: list[str]
    """One a seed."""
    seeds: list[int]
    plain: list[float] | None
    """Natural log-probabilities of the model that the first token is A, B, C; None where they are not numbers."""
    drawn: list[float] | None
    """The same at the texts' temperature."""


class SampledTask(ChatTask):
    """Samples an item's answer once a seed, with the exact probabilities of the letters as first token.

    The first request of a sample is for texts: lm_eval sends it `repeats` times, and `compressed_hf` answers each
    copy with another of `generation_kwargs`' seeds. The second is for the letters, and is answered from the same pass.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Any]:
        """Build one request for texts and one for the letters' probabilities."""
        self._protocol()
        request = super().construct_requests(doc, ctx, **kwargs)
        context, arguments = request.arguments
        task, number, _ = request.metadata
        letters = (context, arguments | {"first_token": ["A", "B", "C"]})
        return [request, Instance("generate_until", doc, letters, 1, metadata=(task, number, 1))]

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, from its texts and the probabilities of its letters."""
        seeds = self._protocol()
        texts, (letters,) = results
        if len(texts) != len(seeds):
            raise UserError(
                f"task {self.config.task}: {len(texts)} texts for {len(seeds)} seeds; give the filter take_first_k "
                f"a k of {len(seeds)}"
            )
        first = json.loads(letters) or {"plain": None, "drawn": None}
        return super().process_results(doc, [Sampled(list(texts), seeds, **first)])

    def _protocol(self) -> list[int]:
        """The seeds, which the command line may have changed since the task was made."""
        seeds = self.config.generation_kwargs.get("seeds")
        if not isinstance(seeds, list) or len(seeds) != self.config.repeats:
            raise UserError(
                f"task {self.config.task}: {self.config.repeats} repeats for the seeds {seeds!r}; set `repeats`, and k "
                "of the filter take_first_k, to the number of seeds"
            )
        return seeds

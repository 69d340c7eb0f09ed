"""The backend llmcompressor: one call of its script for the steps that follow each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval_ext.models.backends.backend import Checkpoint, Source
from lm_eval_ext.models.backends.llmcompressor.any_recipe import LlmCompressor
from lm_eval_ext.models.backends.llmcompressor.base import LlmCompressorStep
from lm_eval_ext.models.backends.making import make
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["LlmCompressorBackend"]

_DISTRIBUTIONS = ("llmcompressor", "compressed-tensors", "torch", "transformers")


class LlmCompressorBackend:
    """Compresses by llm-compressor's `oneshot`, in a process of its own, and hands back the checkpoint."""

    name = "llmcompressor"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> Checkpoint:
        """Make the checkpoint, or find it kept."""
        steps = [_plain(step) for step in recipe.steps if isinstance(step, LlmCompressorStep)]
        assert len(steps) == len(recipe.steps), recipe.method
        made = make(
            source,
            recipe,
            cache,
            backend=self.name,
            script="run_llmcompressor.py",
            distributions=_DISTRIBUTIONS,
            steps=steps,
            more={},
        )
        facts = dict(made.facts)
        claim = Claim(bits=recipe.bits, skipped=facts.pop("skipped"), facts=facts)
        return Checkpoint(pretrained=str(made.folder), claim=claim)


def _plain(step: LlmCompressorStep) -> dict[str, Any]:
    """A step as the script takes it."""
    pattern = getattr(step, "groups", None)
    return {
        "name": step.method,
        "modifiers": [[kind, arguments] for kind, arguments in step.modifier_list()],
        "exclude": list(step.exclude),
        "lm_head": step.lm_head,
        "embeddings": step.embeddings,
        "quantizes": step.asked_bits is not None,
        "transforms": step.transforms,
        "free": isinstance(step, LlmCompressor),
        "group_size": getattr(step, "group_size", None),
        "pattern": None if pattern is None else pattern[1],
        "oneshot": step.oneshot() if isinstance(step, LlmCompressor) else {},
    }

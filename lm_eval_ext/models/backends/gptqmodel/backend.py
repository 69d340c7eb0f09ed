"""The backend gptqmodel: one call of its script a step; what is scored is what was saved and loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Checkpoint, Source
from lm_eval_ext.models.backends.gptqmodel.steps import GptqModelStep
from lm_eval_ext.models.backends.making import make
from lm_eval_ext.models.backends.sources import plain_dtype, source_config, source_folder
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["GptqModelBackend"]

_DISTRIBUTIONS = ("gptqmodel", "torch", "transformers", "torchao")
# transformers ends with an IndexError on GPTQ's checkpoints of these: their matrices are fused.
_NO_LOADER = ("phi3",)
_INSTEAD = "checkpoint=dequantized scores the same values as plain weights"


class GptqModelBackend:
    """Quantizes by GPTQModel in a process of its own, and hands back the checkpoint."""

    name = "gptqmodel"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> Checkpoint:
        """Make the checkpoint, or find it kept."""
        steps = [step for step in recipe.steps if isinstance(step, GptqModelStep)]
        assert len(steps) == len(recipe.steps), recipe.method
        if len(steps) > 1:
            raise UserError(f"recipe {recipe.name}: GPTQModel quantizes a model once; leave one of {recipe.method}")
        (step,) = steps
        if step.lm_head or step.embeddings:
            raise UserError(f"{step.method} compresses the decoder blocks alone; remove lm_head and embeddings")
        if step.checkpoint == "packed":
            refuse_unloadable(step, source, source_config(source, source_folder(source, self.name)))
        made = make(
            source,
            recipe,
            cache,
            backend=self.name,
            script="run_gptqmodel.py",
            distributions=_DISTRIBUTIONS,
            steps=[
                {
                    "name": step.method,
                    "bits": step.bits,
                    "group_size": step.group_size or -1,
                    "symmetric": step.symmetric,
                    "exclude": list(step.exclude),
                    "checkpoint": step.checkpoint,
                    "options": step.own(),
                }
            ],
            more={},
        )
        facts = dict(made.facts)
        claim = Claim(bits=recipe.bits, skipped=facts.pop("skipped"), facts=facts)
        return Checkpoint(pretrained=str(made.folder), claim=claim)


def refuse_unloadable(step: GptqModelStep, source: Source, config: Any) -> None:
    """Refuse, before any work, a packed checkpoint that would not load, or would load and be wrong.

    Args:
        step: What is asked.
        source: Its device and dtype matter.
        config: The source's: its architecture, and its dtype where the run names none.

    Raises:
        UserError: With the reason, and the way out.
    """
    if config.model_type in _NO_LOADER:
        raise UserError(f"transformers can't load a packed {config.model_type} of GPTQModel; {_INSTEAD}")
    on_cpu = str(source.loader.get("device") or "cpu").startswith("cpu")
    dtype = plain_dtype(source)
    if dtype == "auto":
        dtype = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    if on_cpu and not step.symmetric and step.method != "awq" and dtype == "float32":
        raise UserError(
            f"{step.method} with symmetric=False in float32 on a CPU runs in a kernel of GPTQModel that is wrong; "
            f"give dtype=bfloat16, symmetric=True, or {_INSTEAD}"
        )

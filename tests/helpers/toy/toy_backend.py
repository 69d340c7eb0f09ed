"""A backend as another package would bring it: it compresses in a process of its own and hands back a checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_eval_ext.models.backends.backend import Checkpoint, Source
from lm_eval_ext.models.backends.isolated import run_isolated
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.native.methods._groups import overfull
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.step import LibraryStep


class ToyPrune(LibraryStep):
    """Zero the smallest weights of each row. Options: `idle` (leave a matrix alone), `say` (claim another share)."""

    kind: ClassVar[Literal["prune", "quantize"]] = "prune"
    backend: ClassVar[str] = "toy"

    method: Literal["toy_prune"] = "toy_prune"
    sparsity: float

    @property
    def asked_sparsity(self) -> float:
        return self.sparsity


class ToyRound(LibraryStep):
    """Round each row to so many levels. Options: `finer` (more bits than asked), `packed`, `mute` (promise no form)."""

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    backend: ClassVar[str] = "toy"

    method: Literal["toy_round"] = "toy_round"
    bits: int

    @property
    def asked_bits(self) -> float:
        return float(self.bits)

    def breaches(self, weight: Any) -> tuple[int, int]:
        return (0, 0) if self.options.get("mute") else overfull(weight, self.bits, weight.shape[1])


class Toy:
    name = "toy"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> Checkpoint:
        request = {"source": source.named(self.name), "steps": [step.model_dump() for step in recipe.steps]}
        folder = cache / ("toy-" + hashlib.sha256(json.dumps(request).encode()).hexdigest()[:16])
        script = Path(__file__).with_name("toy_script.py")
        answer = run_isolated(script, request | {"folder": str(folder)}, log=cache / "toy.log")
        claim = Claim(
            sparsity=answer["sparsity"], bits=answer["bits"], skipped=answer["skipped"], facts={"pid": answer["pid"]}
        )
        return Checkpoint(pretrained=str(folder), claim=claim)


BACKEND = Toy()

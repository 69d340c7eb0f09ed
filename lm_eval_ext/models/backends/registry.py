"""Every backend by its name, and the way from a recipe to the one that carries it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lm_eval_ext.entries import Entry, entries, find
from lm_eval_ext.models.backends.backend import Backend, InPlace, Prepared, Source
from lm_eval_ext.models.backends.stages import prepare_stages
from lm_eval_ext.models.recipe.recipe import Recipe

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded

__all__ = ["BACKENDS", "backend_entries", "backend_named", "prepare", "proved"]

_HERE = "lm_eval_ext.models.backends"

BACKENDS = {
    "gptqmodel": f"{_HERE}.gptqmodel.backend:GptqModelBackend",
    "llmcompressor": f"{_HERE}.llmcompressor.backend:LlmCompressorBackend",
    "native": f"{_HERE}.native:Native",
    "transformers": f"{_HERE}.onload.backend:Transformers",
}
"""Where each backend is, as module:name of an object, or of a class that takes no arguments."""


def backend_entries() -> dict[str, Entry]:
    """All backends by name, ours and those of other packages; none is loaded."""
    return entries("backend", BACKENDS)


def backend_named(name: str) -> Backend:
    """A backend, loaded.

    Raises:
        UserError: If there is none of this name, or what another package offers under it is no backend.
    """
    entry = find(name, backend_entries(), "backend")
    found = entry.load()
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise entry.fault(f"can't be made (TypeError: {error})") from error
    if not callable(getattr(found, "prepare", None)) or getattr(found, "name", None) != name:
        raise entry.fault(f"is no backend named {name!r}: it needs the attributes name and prepare")
    backend: Backend = found
    return backend


def prepare(source: Source, recipe: Recipe, cache: Path) -> Prepared:
    """Ask the backend of a recipe's steps what to load; a recipe without steps is the native one's.

    Steps of one backend that follow each other are a stage. All stages but the last are carried out here.

    Raises:
        UserError: As the backends do.
    """
    names = list(dict.fromkeys(step.backend for step in recipe.steps)) or ["native"]
    if len(names) > 1:
        return prepare_stages(source, recipe, cache, backend_named)
    return backend_named(names[0]).prepare(source, recipe, cache)


def proved(loaded: Loaded, recipe: Recipe, prepared: Prepared) -> Evidence:
    """Compress what was loaded, or measure the compression that it came with.

    Raises:
        UserError: If the model can't be compressed as asked, or is not what was asked.
    """
    from lm_eval_ext.models.evidence.measure import measure

    if isinstance(prepared, InPlace):
        return prepared.compress(loaded)
    name = prepared.backend or recipe.steps[0].backend
    found = measure(loaded, recipe, prepared.claim, backend=name, pretrained=prepared.pretrained)
    found.stages = [dict(stage) for stage in prepared.stages]
    return found

"""What a backend is asked before the model is loaded, and the two things that it may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.claim import Claim

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded
    from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["Backend", "Checkpoint", "InPlace", "Prepared", "Source"]

# Arguments of lm_eval's hf model that say where the source's files are; they lead nowhere in another folder.
_PLACES = frozenset({"revision", "code_revision", "subfolder", "gguf_file", "variant"})
_ADAPTERS = ("peft", "delta")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The model to compress, as the run names it."""

    pretrained: Any
    """A folder, a name on the hub, or a model that is loaded already."""
    loader: Mapping[str, Any] = field(default_factory=dict)
    """Every argument of lm_eval's hf model that the run was given: dtype, revision, trust_remote_code, device ..."""

    def named(self, backend: str) -> str:
        """The folder or hub name, for a backend that reads the files itself.

        Raises:
            UserError: For a model object, and for one under an adapter, which is in no file of the model.
        """
        if not isinstance(self.pretrained, str):
            kind = type(self.pretrained).__name__
            raise UserError(f"backend {backend} needs the folder or name of a model, got a loaded {kind}")
        for key in _ADAPTERS:
            if self.loader.get(key):
                raise UserError(f"backend {backend} compresses no model under an adapter ({key}); merge it first")
        return self.pretrained


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model to load as any user would load it; what was done to it is measured behind the load."""

    pretrained: str
    """A folder; or the source's own name, where the loader itself compresses (a `quantization_config`)."""
    claim: Claim
    loader: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of lm_eval's hf model that this checkpoint needs; they take precedence over the run's."""
    stages: tuple[Mapping[str, Any], ...] = ()
    """What was measured behind each earlier stage of a recipe of several backends."""
    backend: str | None = None
    """Names of all backends of such a recipe; None where one did all."""

    def arguments(self, source: Source) -> dict[str, Any]:
        """What to load the checkpoint with: the run's arguments, without those that lead to the source's files."""
        kept = {k: v for k, v in source.loader.items() if self.pretrained == source.pretrained or k not in _PLACES}
        return kept | dict(self.loader)

    def first(self) -> Checkpoint | None:
        """What to load instead of the source."""
        return self


@dataclass(frozen=True, kw_only=True)
class InPlace:
    """The source is loaded as it is, and compressed behind the load."""

    compress: Callable[[Loaded], Evidence]
    """Changes the model and measures it: before, after, matrix by matrix."""
    start: Checkpoint | None = None
    """What to load instead of the source, where earlier stages of the recipe left a checkpoint."""

    def first(self) -> Checkpoint | None:
        """What to load instead of the source; None for the source."""
        return self.start


Prepared = Checkpoint | InPlace


class Backend(Protocol):
    """Whatever carries out the steps of a recipe."""

    name: str
    """As `Step.backend` names it."""

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> Prepared:
        """Do the work, or say that it is to be done in place.

        Called before a model is loaded, so that a process has the memory to itself; of several processes of one run
        each one calls it. A library that changes whatever process imports it works in one of its own
        (`isolated.run_isolated`).

        Args:
            source: What to compress.
            recipe: What to do; every step is one of this backend's.
            cache: Folder for checkpoints, which may not exist yet. What lies there is the backend's to keep or to
                reuse: whole or not at all.

        Raises:
            UserError: If it can't be done as asked.
        """

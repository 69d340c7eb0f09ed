"""The base of every step's config class: what all methods have in common, whichever backend does the work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from lm_eval_ext.errors import require_extra, seen
from lm_eval_ext.models.recipe.plain import Plain

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LibraryStep", "Step"]


class Step(Plain):
    """Config of one compression step. Frozen; an unknown key is an error.

    A field's name is a model argument too, so it must not be one of lm_eval's hf model (`device`, `dtype` ...); see
    `arguments.refuse_stolen_keys`.
    """

    kind: ClassVar[Literal["prune", "quantize"]]
    backend: ClassVar[str]
    """Name of the backend that carries it out; see `backends.registry`."""
    extra: ClassVar[str | None] = None
    """Extra of this distribution that the method needs, if any."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Import names that must be there; checked before a model is loaded."""
    needs_calibration: ClassVar[bool] = False

    method: str
    lm_head: bool = False
    """Compress the output layer too. Refused where it shares storage with the embedding, unless both are asked."""
    embeddings: bool = False
    """Compress the input embedding too."""
    exclude: tuple[str, ...] = ()
    """What to leave alone, as shell patterns of names: modules (`*.o_proj`), or what holds them (`*.self_attn`,
    `model.layers.0`). Each pattern must take out at least one matrix that would be compressed without it. One string
    with '+' between the patterns is taken too. Everything left alone is reported as skipped."""

    @field_validator("exclude", mode="before")
    @classmethod
    def _split_patterns(cls, value: object) -> object:
        return tuple(value.split("+")) if isinstance(value, str) else value

    def check_installed(self) -> None:
        """Raise UserError with the install line if a library of this method is missing."""
        if self.modules:
            require_extra(self.modules, self.extra or self.method, f"method {self.method}")

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """How far a matrix is from what this step makes of it.

        Args:
            weight: [rows, cols], as it is now: after a later step, or as it was loaded.

        Returns:
            Groups of weights that don't have the form of this step (N:M, values a group), and groups looked at;
            (0, 0) for a method that promises no such form.
        """
        return 0, 0

    @property
    def targets_embeddings(self) -> bool:
        """Whether the input embedding is among the targets."""
        return self.embeddings

    @property
    def targets_lm_head(self) -> bool:
        """Whether the output layer is among the targets."""
        return self.lm_head

    @property
    def asked_sparsity(self) -> float | None:
        """Share of zeros asked for, or None for a method that does not prune."""
        return None

    @property
    def asked_bits(self) -> float | None:
        """Bits a weight asked for, or None for a method that does not quantize."""
        return None

    @property
    def level(self) -> str:
        """How strong the step is, as the end of its name: '-50' for half the weights, '-4' for four bits."""
        if self.asked_sparsity is not None:
            return f"-{100 * self.asked_sparsity:g}"
        return "" if self.asked_bits is None else f"-{self.asked_bits:g}"

    @property
    def level_keys(self) -> set[str]:
        """The keys that `level` tells of."""
        return {"sparsity", "bits"}


class LibraryStep(Step):
    """Config of a step that another library carries out.

    What all compressors know (bits, group_size, sparsity) are fields of the subclass; everything else of the library's
    own goes under `options`, where no name of theirs can take the place of an argument of lm_eval's hf model.
    """

    transforms: ClassVar[bool] = False
    """Whether the step only prepares the weights for the next one: it leaves no zeros and no levels to measure."""

    options: dict[str, Any] = Field(default_factory=dict)
    """The library's own options, as it names them. JSON text is taken too."""

    @field_validator("options", mode="before")
    @classmethod
    def _parse_options(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value, object_pairs_hook=_once, parse_constant=_refuse_constant)
        except (json.JSONDecodeError, RecursionError):
            raise ValueError(f"got {seen(value)}, expected a mapping, or JSON text of one") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON text in which no key stands twice."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"key {seen(next(key for key in keys if keys.count(key) > 1))} stands twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")

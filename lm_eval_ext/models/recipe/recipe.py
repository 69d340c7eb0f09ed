"""The recipe: what to do to a model, as data. Logged fully resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.recipe.build import build, make_step
from lm_eval_ext.models.recipe.kv import KvCache
from lm_eval_ext.models.recipe.plain import Plain
from lm_eval_ext.models.recipe.plain_yaml import write_yaml
from lm_eval_ext.models.recipe.step import Step

__all__ = ["Calibration", "Recipe", "make_calibration", "make_recipe"]


class Calibration(Plain):
    """Which text a data-driven method looks at."""

    source: str = "c4"
    """c4, wikitext, demo, or the path of a .txt or .jsonl file."""
    samples: int = Field(default=128, ge=1, le=100_000)
    """Number of token sequences."""
    seqlen: int | None = Field(default=None, ge=2)
    """Tokens a sequence; None means 2,048, or the model's maximum where that is less."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the draw of documents and positions."""
    short: Literal["error", "keep"] = "error"
    """What to do when too few documents are long enough: stop, or take shorter ones whole (never padded)."""


class Recipe(Plain):
    """A named, versioned list of compression steps. No steps = the dense baseline."""

    version: Literal[1] = 1
    name: str = Field(min_length=1)
    description: str = ""
    source: str = ""
    """Where the setting comes from: a paper, a tool."""
    steps: tuple[SerializeAsAny[Step], ...]
    """Empty for the dense baseline; a recipe that says nothing of steps is one that lost them."""
    calibration: Calibration | None = None
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Weights' dtype that belongs to the setting, or None for any. The loader sets it (`dtype=`), a recipe can't."""
    kv: KvCache | None = None
    """Form of the keys and values that attention reads; None for what the model computes."""

    @field_validator("steps", mode="before")
    @classmethod
    def _parse_steps(cls, value: object) -> tuple[Step, ...]:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"steps: got {seen(value)}, expected a list of steps, each with a method")
        return tuple(step if isinstance(step, Step) else make_step(step) for step in value)

    @model_validator(mode="after")
    def _check_calibration(self) -> Recipe:
        if self.calibration is not None and not self.needs_calibration:
            raise UserError(f"recipe {seen(self.name)} sets a calibration, but none of its methods looks at data")
        return self

    @property
    def label(self) -> str:
        """Short name of the recipe in tables."""
        return self.name

    @property
    def method(self) -> str:
        """Methods joined by '+', that of the KV cache last, or 'none' for the dense baseline."""
        methods = [step.method for step in self.steps]
        if self.kv is not None:
            methods.append(f"kv_{self.kv.format}" if methods else self.kv.method)
        return "+".join(methods) or "none"

    @property
    def content(self) -> tuple[object, ...]:
        """All that it does, whatever it is called."""
        return self.steps, self.calibration, self.dtype, self.kv

    @property
    def weights(self) -> Recipe:
        """What it does to the weights alone, under a name that says no more."""
        if self.kv is None:
            return self
        name = self.name.removesuffix(f"+{self.kv.label}")
        if name == self.name:
            name = f"{self.name}(weights)" if self.steps else "dense"
        return self.model_copy(update={"name": name, "kv": None})

    @property
    def needs_calibration(self) -> bool:
        """Whether some step looks at data."""
        return any(step.needs_calibration for step in self.steps)

    @property
    def sparsity(self) -> float | None:
        """Share of zeros asked for, by the last step that prunes."""
        return next((s.asked_sparsity for s in reversed(self.steps) if s.asked_sparsity is not None), None)

    @property
    def bits(self) -> float | None:
        """Bits a weight asked for, by the last step that quantizes; without steps, bits a key or value."""
        if not self.steps and self.kv is not None:
            return float(self.kv.bits)
        return next((s.asked_bits for s in reversed(self.steps) if s.asked_bits is not None), None)

    def dtype_warning(self, found: str) -> str | None:
        """One line if a model's weights have another dtype than belongs to this recipe, else None.

        Args:
            found: The loaded weights' dtype, such as "float32".
        """
        if self.dtype in (None, found):
            return None
        return (
            f"recipe {self.name} is a setting of {self.dtype} weights ({self.source}); these are {found}, which is "
            f"another protocol: load the model with dtype={self.dtype}, its dense baseline too"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, defaults included, in plain types."""
        return self.model_dump(mode="json")

    def as_yaml(self) -> str:
        """YAML that loads to an equal recipe."""
        return write_yaml(self.as_dict())


def make_calibration(values: Mapping[str, Any]) -> Calibration:
    """Build a calibration from its plain form; raises UserError as `make_step` does."""
    calibration: Calibration = build(Calibration, "calibration", values)
    return calibration


def make_recipe(values: object, where: str) -> Recipe:
    """Build a recipe from its plain form; `where` starts the message of a fault."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: a recipe is a mapping with version, name and steps, got {type(values).__name__}")
    values = dict(values)
    if isinstance(values.get("calibration"), Mapping):
        values["calibration"] = make_calibration(values["calibration"])
    if isinstance(values.get("kv"), Mapping):
        values["kv"] = build(KvCache, "kv", values["kv"])
    recipe: Recipe = build(Recipe, where, values)
    return recipe

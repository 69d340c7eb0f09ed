"""The base of every step's config class: what all methods have in common, whichever backend does the work."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from lm_eval_ext.errors import require_extra

__all__ = ["Step"]


class Step(BaseModel):
    """Config of one compression step. Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[Literal["prune", "quantize"]]
    extra: ClassVar[str | None] = None
    """Extra of this distribution that the method needs, if any."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Import names that must be there; checked before a model is loaded."""
    needs_calibration: ClassVar[bool] = False

    method: str

    def check_installed(self) -> None:
        """Raise UserError with the install line if a library of this method is missing."""
        if self.modules:
            require_extra(self.modules, self.extra or self.method, f"method {self.method}")

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

"""A packed matrix of a loaded model, ready to be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from lm_eval_ext.models.formats.form import Reading

__all__ = ["PackedMatrix"]


@dataclass(frozen=True, kw_only=True)
class PackedMatrix:
    """One linear map whose weight is packed."""

    name: str
    """Name of its weight, as a plain model has it."""
    module: nn.Module = field(repr=False)
    method: str
    """Family of formats."""
    read: Callable[[], Reading] = field(repr=False)
    """Decodes what was packed when this was made; does not look at the module again."""
    activation_bits: float | None = None
    """Bits to which the module rounds its input, where it does."""

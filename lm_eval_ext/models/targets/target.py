"""One weight matrix that is going to be compressed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from lm_eval_ext.models.targets.matrix import MatrixInfo

__all__ = ["Place", "Target"]

Place = Literal["block", "lm_head", "embedding"]


@dataclass(frozen=True)
class Target:
    """One weight matrix that is going to be compressed."""

    info: MatrixInfo
    module: nn.Module = field(repr=False)
    module_name: str
    parameter: str
    """Attribute of the module that holds the weight."""
    expert: int | None
    """Index in a fused expert tensor."""
    transposed: bool
    """Whether the parameter is stored [inputs, outputs]."""
    place: Place
    block: int
    """Index of the decoder block; -1 for the embedding, the count of blocks for the output layer."""
    routed: bool = False
    """Whether only the tokens that a router sends reach it: an expert."""
    aliases: tuple[str, ...] = ()
    """Other names of the same storage."""
    stacked: int | None = None
    """How many experts lie below each other in a two-dimensional parameter; None where experts are a dimension."""

    def view(self) -> Tensor:
        """The matrix as [rows = outputs, cols = inputs]: a view, so that writing to it changes the model."""
        weight: Tensor = getattr(self.module, self.parameter).data
        if self.stacked is not None:
            weight = weight.view(self.stacked, -1, weight.shape[-1])
        if self.expert is not None:
            weight = weight[self.expert]
        return weight.t() if self.transposed else weight

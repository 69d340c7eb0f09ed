"""A loaded model with what belongs to it, as it is handed to whoever compresses or measures it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["Loaded"]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model on its device(s), its tokenizer, and how the run will call it."""

    model: nn.Module
    """The transformers model, or a PEFT wrapper of one."""
    tokenizer: Any
    base: dict[str, Any] = field(default_factory=dict)
    """Where the model came from, for the evidence."""
    came: Any = None
    """What reading the files told of a checkpoint that is dequantized on load (`formats.form.Came`), or None."""
    softmax_dtype: str = "float32"
    """The dtype in which answers will be scored, for the evidence."""
    autocast: torch.dtype | None = None
    """Dtype of the autocast under which the run calls its model."""

    @property
    def call(self) -> Calling:
        """The model as the run calls it."""
        return Calling(self.model, self.autocast)

    @property
    def dtype(self) -> str:
        """Dtype of the weights, "bfloat16", with the autocast's behind it where there is one."""
        kinds = [next(unwrap(self.model).parameters()).dtype, self.autocast]
        return " under autocast to ".join(str(kind).removeprefix("torch.") for kind in kinds if kind is not None)

    @property
    def device(self) -> str:
        """Where the first parameter lies."""
        return str(next(unwrap(self.model).parameters()).device)

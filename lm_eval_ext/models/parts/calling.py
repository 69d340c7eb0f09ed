"""How a run calls its model: as lm_eval does, with every wrapper, adapter and hook, and under the autocast asked for.

Scoring, sampling, calibration and the canary prompt all call it this way, so that one run never speaks of two models.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["Calling"]


@dataclass(frozen=True)
class Calling:
    """A model and the way to run it."""

    model: Any
    """As lm_eval holds it: the transformers model, or a PEFT wrapper of one."""
    autocast: torch.dtype | None = None
    """HFLM's `mixed_precision_dtype`: the dtype of `torch.autocast` around every forward pass."""

    @classmethod
    def of(cls, model: Any) -> Calling:
        """A plain model without autocast, or what is a `Calling` already."""
        return model if isinstance(model, Calling) else cls(model)

    @property
    def inner(self) -> Any:
        """The transformers model inside the wrappers: for its config, sizes and parts, never to be run."""
        return unwrap(self.model)

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        device: torch.device = self.inner.get_input_embeddings().weight.device
        return device

    @property
    def narrowest(self) -> torch.dtype:
        """The narrowest dtype that the model computes in."""
        own: torch.dtype = self.inner.get_input_embeddings().weight.dtype
        if self.autocast is None or torch.finfo(own).bits <= torch.finfo(self.autocast).bits:
            return own
        return self.autocast

    def __call__(self, ids: Tensor, **kwargs: Any) -> Any:
        """One forward pass over token ids, [rows, length] on any device, without gradients; the model's own output."""
        with torch.no_grad(), self.casting():
            return self.model(ids.to(self.device), **kwargs)

    def casting(self) -> AbstractContextManager[Any]:
        """The autocast of HFLM's forward pass, switched off where none was asked for."""
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def by_the_whole_prompt(self) -> str | None:
        """What an adapter does that can't be divided into tokens, to be read behind the model's name, or None.

        Virtual tokens come before each prompt (prompt and prefix tuning, p-tuning), an activated LoRA begins behind
        certain tokens of it, X-LoRA weighs its experts by all of it. Whatever runs such a model runs whole prompts.
        """
        if not hasattr(self.model, "peft_config"):
            return None
        config: Any = getattr(self.model, "active_peft_config", None)
        kind = str(getattr(getattr(config, "peft_type", None), "value", "an unknown adapter"))
        if getattr(config, "is_prompt_learning", False):
            return f"has virtual tokens before every prompt ({kind})"
        adapters: Any = self.model.peft_config.values()
        if any(getattr(adapter, "alora_invocation_tokens", None) for adapter in adapters):
            return "has an adapter that begins behind certain tokens (activated LoRA)"
        if kind == "XLORA":
            return f"has an adapter that is weighed by the whole prompt ({kind})"
        return None

    def check(self) -> None:
        """Raise UserError for an adapter that needs what lm_eval doesn't give."""
        if not hasattr(self.model, "peft_config"):
            return
        for config in self.model.peft_config.values():
            kind = str(getattr(config.peft_type, "value", config.peft_type))
            if kind in ("POLY", "MULTITASK_PROMPT_TUNING"):
                raise UserError(
                    f"the adapter ({kind}) needs the number of a task with every prompt, which lm_eval does not give. "
                    "Convert it to the adapter of one task, or evaluate the model without it"
                )

    def hooked(self) -> bool:
        """Whether something besides its weights and its class may change what the model computes."""
        modules: list[nn.Module] = list(self.model.modules())
        return any(
            module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module) for module in modules
        )

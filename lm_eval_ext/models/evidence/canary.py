"""The canary prompt: one forward pass before and after, which shows that a compression reached the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.tokens.encoding import Encoding
from lm_eval_ext.tokens.positions import model_positions

__all__ = ["canary_ids", "canary_logits", "compare_canary"]

CANARY = "The committee met on Tuesday to discuss the budget, and after two hours it decided to"


def canary_ids(tokenizer: Any) -> list[int]:
    """The canary prompt as token ids."""
    return Encoding(tokenizer).prompt(CANARY)


def canary_logits(model: nn.Module | Calling, tokenizer: Any) -> Tensor:
    """The next-token logits after a fixed prompt, [vocab] float32 on the CPU, as the run calls its model.

    The prompt is cut to the model's length.

    Raises:
        UserError: If they are not finite.
    """
    call = Calling.of(model)
    ids = torch.tensor([canary_ids(tokenizer)[: model_positions(call.inner)]])
    logits = call(ids, use_cache=False).logits[0, -1]
    logits = logits.float().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise UserError(
            "the model's logits on the canary prompt are not finite; load it in a wider dtype (dtype=float32)"
        )
    assert isinstance(logits, Tensor)
    return logits


def compare_canary(before: Tensor, after: Tensor) -> dict[str, Any]:
    """What compression did to the canary prompt: largest and mean change of a logit, and whether the argmax stayed."""
    change = (after - before).abs()
    return {
        "prompt": CANARY,
        "finite": True,
        "max_abs_change": float(change.max()),
        "mean_abs_change": float(change.mean()),
        "same_argmax": bool(before.argmax() == after.argmax()),
    }

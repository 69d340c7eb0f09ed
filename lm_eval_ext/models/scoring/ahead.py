"""Whether a model's numbers at a token depend on what comes behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_ids
from lm_eval_ext.models.scoring.obstacles import calling_of
from lm_eval_ext.models.scoring.trust import FAULTS, difference

__all__ = ["looks_ahead", "refuse_texts"]

_SHORT, _LONG = 6, 16


@torch.no_grad()
def looks_ahead(lm: Any) -> bool:
    """See on a few tokens whether a decoder gives other numbers at them once more tokens follow.

    Encoders that are loaded as decoders do (BERT's kin without `is_decoder`), models with a prefix that sees itself,
    and those whose causal mask gets lost on the way (Doge with sdpa below its window, transformers 5.17).

    Args:
        lm: The lm-eval model; its `_model_call` is asked.

    Returns:
        False for encoder-decoder models, and where the tokenizer makes too few tokens to tell.

    Raises:
        UserError: If the model can't be run at all; this is its first pass of the kind that scoring makes.
    """
    tokens = canary_ids(lm.tokenizer)[: min(_LONG, lm.max_length)]
    if lm.backend != "causal" or len(tokens) <= _SHORT:
        return False
    whole = torch.tensor([tokens], device=lm.device)
    try:
        # Virtual tokens of an adapter come before a prompt's own.
        long = lm._model_call(whole)[0, -len(tokens) :][:_SHORT]
        short = lm._model_call(whole[:, :_SHORT])[0, -_SHORT:]
    except FAULTS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        name = type(calling_of(lm).inner).__name__
        raise UserError(
            f"{name} can't be run as lm_eval runs it, on a text of {len(tokens)} tokens: {reason}"
        ) from error
    narrow = torch.finfo(calling_of(lm).narrowest).bits < 32
    return difference(short.log_softmax(-1), long.log_softmax(-1), narrow=narrow) is not None


def refuse_texts(lm: Any, continuations: Iterable[list[int]]) -> None:
    """Raise UserError if one of these has several tokens: a model that looks ahead would be told the later ones."""
    longest = max(map(len, continuations), default=0)
    if longest > 1:
        raise UserError(
            f"{type(calling_of(lm).inner).__name__} looks at tokens that follow, so a text of {longest} tokens would "
            "be scored by itself. Single letters are scored rightly. What may help is attn_implementation=eager, or a "
            "checkpoint whose config says is_decoder"
        )

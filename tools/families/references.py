"""What each method and each protocol should give, in the slow and obvious way: from its definition, nothing of ours."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

__all__ = ["Norms", "affine_groups", "magnitude", "mlx_groups", "next_token", "score", "wanda", "watched"]

Norms = dict[tuple[int, int], Tensor]
"""Sum over tokens of squared inputs, [columns], by address and size of the weight."""


def magnitude(weight: Tensor, share: float) -> Tensor:
    """The int(entries x share) entries of least magnitude set to 0."""
    flat = weight.flatten().clone()
    flat[flat.abs().argsort(stable=True)[: int(flat.numel() * share)]] = 0
    return flat.reshape(weight.shape)


def wanda(weight: Tensor, squares: Tensor, share: float) -> Tensor:
    """In each row the int(columns x share) entries of least |w| x norm of the input set to 0; weight is [out, in]."""
    result = weight.clone()
    order = (weight.abs() * squares.sqrt()).argsort(dim=1, stable=True)
    return result.scatter(1, order[:, : int(weight.shape[1] * share)], 0.0)


def affine_groups(weight: Tensor, bits: int, size: int) -> Tensor:
    """Round to nearest with a zero point, group by group along the inputs; a last group may be shorter."""

    def one(group: Tensor) -> Tensor:
        low, high = group.amin(1, keepdim=True).clamp(max=0), group.amax(1, keepdim=True).clamp(min=0)
        scale, least, most = (high - low) / (2**bits - 1), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        zero = (least - low / scale).clamp(least, most).round()
        return ((group / scale + zero).clamp(least, most).round() - zero) * scale

    return _by_group(weight, size, one)


def mlx_groups(weight: Tensor, bits: int, size: int) -> Tensor:
    """MLX's affine mode, entry by entry in Python: the edge of larger magnitude is a level, and so is zero."""

    def one(group: Tensor) -> Tensor:
        rows = []
        for row in group.tolist():
            low, high = min(row), max(row)
            step = max((high - low) / (2**bits - 1), 1e-7)
            step, edge = (step, low) if abs(low) > abs(high) else (-step, high)
            count = round(edge / step)
            step, bias = (edge / count, edge) if count else (step, 0.0)
            rows.append([min(max(round((value - bias) / step), 0), 2**bits - 1) * step + bias for value in row])
        return torch.tensor(rows, dtype=torch.float32)

    return _by_group(weight, size, one)


def _by_group(weight: Tensor, size: int, one: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([one(part) for part in weight.float().split(size, dim=1)], dim=1)


def watched(model: nn.Module, samples: Sequence[Tensor]) -> Norms:
    """Squared inputs of every linear map, from plain passes with hooks; one weight used twice is added up."""
    squares: Norms = defaultdict(lambda: torch.zeros(()))

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()))
        key = module.weight.data_ptr(), module.weight.numel()
        squares[key] = squares[key] + inputs.detach().float().reshape(-1, inputs.shape[-1]).square().sum(0)

    linear = [module for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))]
    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in linear]
    with torch.no_grad():
        for sample in samples:
            model(input_ids=sample, use_cache=False)
    for handle in handles:
        handle.remove()
    return dict(squares)


@torch.no_grad()
def next_token(model: nn.Module, tokens: Sequence[int]) -> Tensor:
    """Natural log-probabilities of the token behind a sequence, [vocabulary]: one pass over that sequence alone."""
    logits: Tensor = model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0, -1]
    return logits.float().log_softmax(-1)


def score(model: nn.Module, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    """Log-likelihood of a continuation and whether it is the greedy one: a pass for each of its tokens."""
    total, greedy, tokens = 0.0, True, list(context)
    for token in continuation:
        values = next_token(model, tokens)
        total += float(values[token])
        greedy &= int(values.argmax()) == token
        tokens.append(token)
    return total, greedy and not math.isnan(total)

"""What lies on disk against what is in memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from lm_eval_ext.errors import UserError

__all__ = ["check_saved"]


def check_saved(model: Any, folder: Path) -> None:
    """Compare every saved tensor with the one in memory, one at a time, and the number of weights in all."""
    from safetensors import safe_open

    memory = model.state_dict()
    missing = sum({(tensor.data_ptr(), tensor.numel()): tensor.numel() for tensor in memory.values()}.values())
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (a reader, not a dict)
                missing -= math.prod(tensors.get_slice(name).get_shape())
                # transformers renames some tensors on the way to disk (fused experts are split): those only count.
                if name in memory and not _same_bits(tensors.get_tensor(name), memory[name].cpu()):
                    raise UserError(f"saved tensor {name} differs from the one in memory; nothing was kept")
    if missing:
        raise UserError(f"{missing} weights of the model are missing on disk; nothing was kept")


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors on the CPU are the same to the last bit, the sign of a zero included."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    one, other = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second))
    return bool(torch.equal(one, other))

"""A hash of a model's weights: the same for the same values, however they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["hash_of", "tensor_hashes", "weights_hash"]


def weights_hash(model: nn.Module) -> str:
    """sha256 over all saved parameters and buffers: name, dtype, shape and sha256 of the bytes of each, by name.

    One tensor at a time passes through the CPU. A tied parameter is entered under each of its names, so that the hash
    tells of values alone, not of how they are stored.

    Raises:
        UserError: If a weight is offloaded, so that its values are not there.
    """
    return hash_of(tensor_hashes(model))


def hash_of(tensors: Mapping[str, str]) -> str:
    """The hash of a model whose tensors are described by `tensor_hashes`."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}|{tensors[name]}|".encode())
    return digest.hexdigest()


def tensor_hashes(model: nn.Module) -> dict[str, str]:
    """Dtype, shape and sha256 of the bytes of every saved parameter and buffer, by name; as `weights_hash` needs them.

    Raises:
        UserError: If a weight is offloaded, so that its values are not there.
    """
    tensors = unwrap(model).state_dict(keep_vars=True)
    done: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.is_meta:
            raise UserError(f"{name} is offloaded (on the meta device); load the model where it fits whole")
        if id(tensor) not in done:
            done[id(tensor)] = _sha256(tensor.detach())
        found[name] = f"{tensor.dtype}|{list(tensor.shape)}|{done[id(tensor)]}"
    return found


def _sha256(tensor: Tensor) -> str:
    """Hash of the bytes of a tensor; of one that is made of others (torchao's), of their bytes in turn."""
    if type(tensor) is not Tensor and hasattr(tensor, "__tensor_flatten__"):
        parts = [_sha256(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0]]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data
    return hashlib.sha256(raw).hexdigest()

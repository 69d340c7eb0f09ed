"""A hash of a model's weights: the same for the same values, however they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["hash_of", "tensor_hashes", "weights_hash"]


def weights_hash(model: nn.Module, *, as_dtype: str | None = None) -> str:
    """sha256 over all saved parameters and buffers: name, dtype, shape and sha256 of the bytes of each, by name.

    One tensor at a time passes through the CPU. A tied parameter is entered under each of its names, so that the hash
    tells of values alone, not of how they are stored.

    Args:
        model: The model, or a PEFT wrapper of it.
        as_dtype: Hash its floats as if they were of this narrower dtype ("bfloat16"), in which they were once written.

    Raises:
        UserError: If a weight is offloaded, so that its values are not there.
    """
    return hash_of(tensor_hashes(model, as_dtype=as_dtype))


def hash_of(tensors: Mapping[str, str]) -> str:
    """The hash of a model whose tensors are described by `tensor_hashes`."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}|{tensors[name]}|".encode())
    return digest.hexdigest()


def tensor_hashes(model: nn.Module, *, as_dtype: str | None = None) -> dict[str, str]:
    """Dtype, shape and sha256 of the bytes of every saved parameter and buffer, by name; as `weights_hash` needs them.

    Raises:
        UserError: If a weight is offloaded, so that its values are not there.
    """
    tensors = unwrap(model).state_dict(keep_vars=True)
    done: dict[int, tuple[torch.dtype, str]] = {}
    narrow = getattr(torch, as_dtype, None) if as_dtype else None
    found: dict[str, str] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.is_meta:
            raise UserError(f"{name} is offloaded (on the meta device); load the model where it fits whole")
        if id(tensor) not in done:
            held = tensor.detach()
            if isinstance(narrow, torch.dtype) and type(tensor.data) is Tensor and _widened(held, narrow):
                held = held.to(narrow)
            done[id(tensor)] = (held.dtype, _sha256(held))
        dtype, value = done[id(tensor)]
        found[name] = f"{dtype}|{list(tensor.shape)}|{value}"
    return found


def _widened(tensor: Tensor, narrow: torch.dtype) -> bool:
    """Whether a tensor's floats are wider than `narrow` and all of them can be written in it."""
    wider = tensor.is_floating_point() and tensor.dtype.itemsize > narrow.itemsize
    return wider and bool((tensor.to(narrow).to(tensor.dtype) == tensor).all())


def _sha256(tensor: Tensor) -> str:
    """Hash of the bytes of a tensor; of one that is made of others (torchao's), of their bytes in turn."""
    if type(tensor) is not Tensor and hasattr(tensor, "__tensor_flatten__"):
        parts = [_sha256(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0]]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data
    return hashlib.sha256(raw).hexdigest()

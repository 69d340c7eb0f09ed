"""Whether a model's weights are plain numbers, or packed by some library: told from what its modules hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

__all__ = ["packed_modules", "packed_weights"]

_PACKED = frozenset({torch.int8, torch.uint8, torch.int16, torch.int32})


def packed_weights(inner: nn.Module) -> str | None:
    """What the first linear map holds instead of plain numbers of at least 16 bits, or None if all are plain.

    A mark alone (`config.quantization_config`) says nothing: a model read from GGUF, or loaded with `dequantize`, keeps
    it and has plain weights.
    """
    for name, module in inner.named_modules():
        weight = module._parameters.get("weight") if isinstance(module, (nn.Linear, Conv1D)) else None
        # A tensor on the meta device or in shards is plain all the same.
        if weight is not None and type(weight.data) is not Tensor and type(weight.data).__name__ != "DTensor":
            return f"{name}.weight is a {type(weight.data).__name__}"
        if weight is not None and (not weight.is_floating_point() or weight.dtype.itemsize < 2):
            return f"{name}.weight holds {weight.dtype}"
    return next(packed_modules(inner, inner, ""), None)


def packed_modules(inner: nn.Module, part: nn.Module, prefix: str) -> Iterator[str]:
    """Modules of a part of a model that hold packed weights, each with what it holds.

    Args:
        inner: The model, for the format that it says it is in.
        part: Where to look.
        prefix: The part's name in the model, with a dot at its end.
    """
    marked = _format(inner)
    kind = f" ({marked})" if marked else ""
    for inside, module in part.named_modules():
        name = f"{prefix}{inside}"
        bare = isinstance(module, (nn.Linear, Conv1D)) and module._parameters.get("weight") is None
        if bare and not hasattr(module, "parametrizations"):
            tensors = {**module._parameters, **module._buffers}
            held = ", ".join(key for key, tensor in tensors.items() if tensor is not None) or "nothing"
            yield f"{name} ({type(module).__name__}) holds {held} and no plain weight{kind}"
        if getattr(module, "quantization_scheme", None) is not None:
            # Plain weights, which a wrapped forward quantizes again: what is written to them is not what is used.
            yield f"{name} quantizes its weight at each use{kind or ' (quantization_scheme)'}"
        if not marked:
            continue
        for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            packed = tensor.dtype in _PACKED or (tensor.is_floating_point() and tensor.dtype.itemsize < 2)
            if tensor.ndim >= 2 and packed:
                yield f"{name}.{key} holds {tensor.dtype}{kind}"


def _format(inner: Any) -> str:
    """Name of the format that a model says it is quantized in, or ''."""
    config = getattr(inner.config, "quantization_config", None)
    method = config.get("quant_method") if isinstance(config, dict) else getattr(config, "quant_method", None)
    method = method or getattr(inner, "quantization_method", None)
    return str(getattr(method, "value", method) or ("quantized" if config is not None else ""))

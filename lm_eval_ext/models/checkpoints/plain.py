"""The plain model inside a loaded one, in a form that transformers saves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["generation_config", "plain_model"]

log = logging.getLogger(__name__)


def plain_model(model: nn.Module) -> Any:
    """The model to save, with the marks of a quantized source taken off.

    A model read from GGUF is dequantized on load but still marked as quantized, and then refuses to be saved.

    Raises:
        UserError: For a model under a PEFT adapter, which is not part of the weights, and for one whose weights are
            still quantized.
    """
    inner: Any = unwrap(model)
    if inner is not model or getattr(inner, "_hf_peft_config_loaded", False):
        raise UserError("save_compressed can't write a model under a PEFT adapter; merge the adapter first")
    for name, parameter in inner.named_parameters():
        if type(parameter.data) is not torch.Tensor or parameter.dtype.itemsize < 2:
            raise UserError(f"save_compressed can't write {name} ({parameter.dtype}): the model is quantized already")
    holders: tuple[Any, ...] = (inner, inner.config)
    for holder in holders:
        if getattr(holder, "quantization_config", None) is not None:
            del holder.quantization_config
    for name in ("is_quantized", "_is_quantized"):
        if getattr(inner, name, False):
            setattr(inner, name, False)
    for name in ("hf_quantizer", "quantization_method"):
        if name in vars(inner):
            delattr(inner, name)
    return inner


@contextmanager
def generation_config(model: Any, folder: Path, *, tell: bool = False) -> Iterator[None]:
    """Let the body save a model whose generation config transformers loads but refuses to save.

    Many published models have one (temperature without sampling). It goes to disk as it is: the checkpoint generates as
    its source does.
    """
    if not model.can_generate():
        yield
        return
    config: Any = model.generation_config
    try:
        config.validate(strict=True)
    except ValueError as error:
        if tell:
            line = " ".join(str(error).split())
            log.warning("the model's generation config is not valid and will be saved as it is: %s", line)
        model.generation_config = type(config)()
        try:
            yield
            config.to_json_file(folder / "generation_config.json", use_diff=True, keys_to_pop=["compile_config"])
        finally:
            model.generation_config = config
        return
    yield

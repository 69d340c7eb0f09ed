"""Write a compressed model as a plain Hugging Face checkpoint, with its recipe and evidence beside it."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.evidence import Evidence
from lm_eval_ext.models.compress.layers import unwrap
from lm_eval_ext.models.compress.recipe import Recipe

__all__ = ["plain_model", "refuse_occupied", "save_checkpoint"]

log = logging.getLogger(__name__)

RECIPE_FILE = "compression_recipe.yaml"
EVIDENCE_FILE = "compression_evidence.json"


def refuse_occupied(folder: str | Path) -> None:
    """Raise UserError if the folder exists and holds something."""
    path = Path(folder).expanduser()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"save_compressed={folder} exists already; give a new folder or remove it")


def plain_model(model: nn.Module) -> Any:
    """The model to save, with the marks of a quantized source taken off.

    A model read from GGUF is dequantized on load but still marked as quantized, and then refuses to be saved.

    Raises:
        UserError: For a PEFT wrapper, whose adapter is not part of the weights, and for a model whose weights are
            still quantized.
    """
    inner: Any = unwrap(model)
    if inner is not model:
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


def save_checkpoint(model: nn.Module, tokenizer: Any, folder: str | Path, recipe: Recipe, evidence: Evidence) -> Path:
    """Save model and tokenizer (safetensors), the recipe and the evidence; whole or not at all.

    Args:
        model: The compressed model.
        tokenizer: Its tokenizer.
        folder: Must not exist, or be empty.
        recipe: Written as compression_recipe.yaml; loads again as a recipe.
        evidence: Written as compression_evidence.json.

    Returns:
        The folder.

    Raises:
        UserError: If the folder is occupied, the model can't be saved plainly, or what lies on disk is not what is
            in memory.
    """
    refuse_occupied(folder)
    path = Path(folder).expanduser()
    plain = plain_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        plain.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)
        (partial / RECIPE_FILE).write_text(recipe.as_yaml(), encoding="utf-8")
        (partial / EVIDENCE_FILE).write_text(json.dumps(evidence.as_dict(), indent=2) + "\n", encoding="utf-8")
        _check_saved(plain, partial)
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    log.info("compressed checkpoint written to %s", path)
    return path


def _check_saved(model: Any, folder: Path) -> None:
    """Compare every saved tensor with the one in memory, one at a time, and the number of weights in all."""
    from safetensors import safe_open

    memory = model.state_dict()
    missing = sum({(tensor.data_ptr(), tensor.numel()): tensor.numel() for tensor in memory.values()}.values())
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (a reader, not a dict)
                missing -= math.prod(tensors.get_slice(name).get_shape())
                # transformers renames some tensors on the way to disk (fused experts are split): those only count.
                if name in memory and not torch.equal(tensors.get_tensor(name), memory[name].cpu()):
                    raise UserError(f"saved tensor {name} differs from the one in memory; nothing was kept")
    if missing:
        raise UserError(f"{missing} weights of the model are missing on disk; nothing was kept")

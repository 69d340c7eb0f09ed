"""Write a compressed model as a plain Hugging Face checkpoint, with its recipe and evidence beside it."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.evidence import Evidence
from lm_eval_ext.models.compress.layers import unwrap
from lm_eval_ext.models.compress.recipe import Recipe

__all__ = ["plain_model", "refuse_occupied", "refuse_unsaveable", "save_checkpoint"]

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


def refuse_unsaveable(model: nn.Module, tokenizer: Any, folder: str | Path) -> None:
    """Try everything that `save_checkpoint` needs but for the weights, before any work; leaves nothing on disk.

    Args:
        model: The model as it was loaded.
        tokenizer: Its tokenizer.
        folder: Where the checkpoint is to go.

    Raises:
        UserError: If the folder is occupied or can't be written, the disk has too little room, or the model, its
            configs or the tokenizer can't be saved.
    """
    refuse_occupied(folder)
    plain = plain_model(model)
    path = Path(folder).expanduser().absolute()
    there = next(parent for parent in path.parents if parent.exists())
    trial = Path(_tried("a file there", lambda: tempfile.mkdtemp(prefix=f".{path.name}.", dir=there), folder))
    try:
        _tried("the model's config", lambda: plain.config.save_pretrained(trial), folder)
        _tried("the tokenizer", lambda: tokenizer.save_pretrained(trial), folder)
        with _generation_config(plain, trial, tell=True):
            pass
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    needed, free = _weights_size(plain), shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"save_compressed={folder}: the weights take {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; "
            "make room or give another folder"
        )


def _tried(what: str, write: Callable[[], Any], folder: str | Path) -> Any:
    try:
        return write()
    except Exception as error:
        raise UserError(f"save_compressed={folder} can't write {what}: {' '.join(str(error).split())}") from error


def _weights_size(model: Any) -> int:
    """Bytes of all saved tensors, a shared one once."""
    tensors = model.state_dict().values()
    return sum({(t.data_ptr(), t.numel()): t.numel() * t.element_size() for t in tensors}.values())


@contextmanager
def _generation_config(model: Any, folder: Path, *, tell: bool = False) -> Iterator[None]:
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
        with _generation_config(plain, partial):
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

"""What saving needs, tried before any work: the folder, the disk, the configs, the tokenizer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.checkpoints.plain import generation_config, plain_model

__all__ = ["refuse_occupied", "refuse_unsaveable"]


def refuse_occupied(folder: str | Path, *, option: str = "save_compressed=") -> None:
    """Raise UserError if the folder exists and holds something; `option` is what gave it, for the message."""
    path = Path(folder).expanduser()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"{option}{folder} exists already; give a new folder or remove it")


def refuse_unsaveable(
    model: nn.Module, tokenizer: Any, folder: str | Path, *, option: str = "save_compressed="
) -> None:
    """Try everything that `save_checkpoint` needs but for the weights, before any work; leaves nothing on disk.

    Args:
        model: The model as it was loaded.
        tokenizer: Its tokenizer.
        folder: Where the checkpoint is to go.
        option: What gave the folder, for messages.

    Raises:
        UserError: If the folder is occupied or can't be written, the disk has too little room, or the model, its
            configs or the tokenizer can't be saved.
    """
    refuse_occupied(folder, option=option)
    said = f"{option}{folder}"
    plain = plain_model(model)
    path = Path(folder).expanduser().absolute()
    there = next(parent for parent in path.parents if parent.exists())
    trial = Path(_tried("a file there", lambda: tempfile.mkdtemp(prefix=f".{path.name}.", dir=there), said))
    try:
        _tried("the model's config", lambda: plain.config.save_pretrained(trial), said)
        _tried("the tokenizer", lambda: tokenizer.save_pretrained(trial), said)
        with generation_config(plain, trial, tell=True):
            pass
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    needed, free = _weights_size(plain), shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{said}: the weights take {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; "
            "make room or give another folder"
        )


def _tried(what: str, write: Callable[[], Any], said: str) -> Any:
    try:
        return write()
    except Exception as error:
        raise UserError(f"{said} can't write {what}: {' '.join(str(error).split())}") from error


def _weights_size(model: Any) -> int:
    """Bytes of all saved tensors, a shared one once."""
    tensors = model.state_dict().values()
    return sum({(t.data_ptr(), t.numel()): t.numel() * t.element_size() for t in tensors}.values())

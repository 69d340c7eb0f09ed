"""Bytes of a checkpoint: its weights' files as they lie there, and through a general compressor."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["archived", "codec", "folder_of", "parameters", "weight_files"]

_PIECE = 1 << 22
_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth")


def folder_of(pretrained: str, revision: str = "main") -> Path:
    """The folder of a checkpoint: itself, or where the hub's files lie.

    Raises:
        UserError: If there is none.
    """
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        return folder
    from transformers.utils import cached_file

    try:
        return Path(str(cached_file(pretrained, "config.json", revision=revision))).parent
    except OSError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{pretrained}: no folder, and no model of the hub ({reason})") from None


def weight_files(folder: Path) -> list[Path]:
    """Files that hold weights; of several formats, those that transformers reads first.

    Raises:
        UserError: If there are none.
    """
    for suffix in _SUFFIXES:
        if found := sorted(path for path in folder.glob(f"*{suffix}") if path.name != "training_args.bin"):
            return found
    raise UserError(f"{folder} holds no weights ({', '.join(_SUFFIXES)})")


def parameters(folder: Path) -> int | None:
    """Weights of the model as its safetensors say; None for another format, or one that is packed.

    Raises:
        UserError: If config.json or a file of weights can't be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        packed = "quantization_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'} can't be read ({error})") from None
    files = weight_files(folder)
    if packed or files[0].suffix != ".safetensors":
        return None
    count = 0
    for file in files:
        try:
            with safe_open(str(file), framework="np") as tensors:
                count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(f"{file} can't be read ({error})") from None
    return count


def codec() -> str:
    """The general compressor that is here: zstd-3 where the package zstandard is installed, else zlib-1."""
    return "zstd-3" if find_spec("zstandard") is not None else "zlib-1"


def archived(files: list[Path], name: str) -> int:
    """Bytes that some files take when compressed one by one.

    Args:
        files: The files.
        name: As `codec` gives it.
    """
    total = 0
    for file in files:
        squeeze, end = _compressor(name)
        with file.open("rb") as content:
            while piece := content.read(_PIECE):
                total += len(squeeze(piece))
        total += len(end())
    return total


def _compressor(name: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    if name == "zlib-1":
        plain = zlib.compressobj(level=1)
        return plain.compress, plain.flush
    import zstandard

    zstd: Any = zstandard.ZstdCompressor(level=3).compressobj()
    return zstd.compress, zstd.flush

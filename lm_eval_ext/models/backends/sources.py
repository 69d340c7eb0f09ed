"""The files of a source, as a backend needs them before anything is loaded: their hash, its config, its tokenizer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Source

__all__ = ["files_hash", "plain_dtype", "refuse_unread", "source_config", "source_folder", "source_tokenizer"]

_CHUNK = 2**24
# Arguments of lm_eval's hf model that change which weights are read; the libraries' scripts read none of them.
_UNREAD = (
    "gguf_file",
    "subfolder",
    "variant",
    "quantization_config",
    "load_in_8bit",
    "load_in_4bit",
    "autogptq",
    "gptqmodel",
    "key_mapping",
    "state_dict",
)


def refuse_unread(source: Source, backend: str) -> None:
    """Raise UserError for a model argument that leads to other weights than the backend's script would read."""
    given = [key for key in _UNREAD if source.loader.get(key)]
    if given:
        raise UserError(
            f"backend {backend} reads a plain checkpoint and knows no {', '.join(given)}; save the model with "
            "save_compressed=FOLDER and no recipe, then give pretrained=FOLDER"
        )


def source_folder(source: Source, backend: str) -> Path:
    """The folder of the source's files: itself, or the hub's snapshot of it, downloaded if it is not here.

    Raises:
        UserError: If it is no name or path, is under an adapter, or can't be had.
    """
    name = source.named(backend)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    revision = str(source.loader.get("revision") or "main")
    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=["*.gguf", "*.onnx", "original/*"]))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"the model {name} can't be had ({reason}); give its folder") from None


def files_hash(folder: Path) -> str:
    """sha256 over the names and contents of all weights, and of the config, in order of name.

    Raises:
        UserError: If there are no weights.
    """
    weights = sorted(p for end in ("safetensors", "bin", "pt") for p in folder.glob(f"*.{end}"))
    if not weights:
        raise UserError(f"{folder} holds no weights (*.safetensors)")
    digest = hashlib.sha256()
    for path in [folder / "config.json", *weights]:
        if not path.is_file():
            continue
        digest.update(f"{path.name}|{path.stat().st_size}|".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def source_config(source: Source, folder: Path) -> Any:
    """The transformers config of a source.

    Raises:
        UserError: If it can't be read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=bool(source.loader.get("trust_remote_code")))
    except Exception as error:
        raise UserError(
            f"the model {source.pretrained} has no config that transformers reads: {_line(error)}"
        ) from None


def source_tokenizer(source: Source, folder: Path) -> Any:
    """The tokenizer that the run names, or the source's own.

    Raises:
        UserError: If it can't be read.
    """
    from transformers import AutoTokenizer

    given = source.loader.get("tokenizer")
    if given is not None and not isinstance(given, str):
        return given
    try:
        return AutoTokenizer.from_pretrained(
            given or folder, trust_remote_code=bool(source.loader.get("trust_remote_code"))
        )
    except Exception as error:
        raise UserError(f"the model {source.pretrained} has no tokenizer that can be read: {_line(error)}") from None


def plain_dtype(source: Source) -> str:
    """The dtype that the run names, as text: "auto", "bfloat16" ..."""
    return str(source.loader.get("dtype") or source.loader.get("torch_dtype") or "auto").removeprefix("torch.")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

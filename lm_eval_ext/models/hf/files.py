"""Where the files of a checkpoint lie on this machine, a folder's or a hub repository's."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["local_file", "weight_files"]


def local_file(pretrained: str, name: str, revision: str = "main", subfolder: str = "") -> Path:
    """One file of a checkpoint, fetched where it is not here yet."""
    if Path(pretrained).is_dir():
        return Path(pretrained) / subfolder / name
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(pretrained, name, revision=revision, subfolder=subfolder or None))


def weight_files(pretrained: str, revision: str = "main", subfolder: str = "") -> list[Path]:
    """The safetensors files that transformers loads."""
    whole = "model.safetensors"
    try:
        index = local_file(pretrained, f"{whole}.index.json", revision, subfolder)
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except OSError:
        shards = [whole]
    return [local_file(pretrained, name, revision, subfolder) for name in shards]

"""What lies beside the weights that a run loaded, where the folder is here: configuration, card, recipe and evidence.

Nothing is downloaded, and no weight is read. What is said here is said of the files as they are now.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["EVIDENCE_FILE", "Beside", "look_beside"]

EVIDENCE_FILE = "compression_evidence.json"
"""What `save_compressed` writes beside the weights."""
_MOST = 64 << 20
"""Bytes of a file that is read."""
_SERVED = ("vllm", "sglang")
"""Runtimes that quantize keys and values where the checkpoint's configuration says so."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What the files of a model say."""

    folder: Path
    forms: tuple[str, ...] = ()
    """How its configuration says that the weights are stored; empty for plain ones."""
    base: str | None = None
    """Base model that the card names, where it names one."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """The record that `save_compressed` wrote; empty without."""
    written: float | None = None
    """When that was, in seconds."""


def look_beside(name: str, revision: str | None, runtime: str) -> Beside | None:
    """Look at the folder of a model.

    Args:
        name: Path of a folder, or a name on the hub that is in the local cache.
        revision: Branch, tag or commit, for a name on the hub; None for main.
        runtime: What computed with it.

    Returns:
        What the files say; None if there is no such folder.
    """
    folder = _folder(name, revision)
    if folder is None:
        return None
    evidence = _object(folder / EVIDENCE_FILE)
    return Beside(
        folder=folder,
        forms=tuple(_forms(_object(folder / "config.json"), runtime)),
        base=_card_base(_read(folder / "README.md")),
        evidence=evidence,
        written=(folder / EVIDENCE_FILE).stat().st_mtime if evidence else None,
    )


def _folder(name: str, revision: str | None) -> Path | None:
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return path
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is None:
            return None
        kept = _hub_cache() / f"models--{name.replace('/', '--')}"
        reference = kept / "refs" / (revision or "main")
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else str(revision)
        snapshot = kept / "snapshots" / commit
        return snapshot if re.fullmatch(r"[0-9a-f]+", commit) and snapshot.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or no home folder
        return None


def _hub_cache() -> Path:
    """As huggingface_hub finds it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(name):
            return Path(given).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def _read(path: Path) -> str:
    """A file's text; empty where there is none, or none that is read."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_read(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _forms(config: Mapping[str, Any], runtime: str) -> list[str]:
    """How a configuration says that weights are stored: "gptq-4", "mlx-4", "compressed-tensors"."""
    out = []
    # MLX writes its own record, and a copy of it under transformers' name.
    mlx = config.get("quantization")
    if isinstance(mlx, Mapping) and isinstance(mlx.get("bits"), int):
        out.append(f"mlx-{mlx['bits']}")
    told = config.get("quantization_config") or config.get("compression_config")
    if isinstance(told, Mapping) and not out:
        method = str(told.get("quant_method") or "quantized").lower()
        bits = told.get("bits") or told.get("w_bit")
        width = [4] if told.get("load_in_4bit") else [8] if told.get("load_in_8bit") else [bits] if bits else []
        out.append("-".join([method, *map(str, width)]))
        cache = told.get("kv_cache_scheme")
        if isinstance(cache, Mapping) and runtime in _SERVED:
            out.append(f"kv-{cache.get('type') or ''}{cache.get('num_bits') or ''}")
    return out


def _card_base(card: str) -> str | None:
    """The one base model that a card's front matter names; None for none or several (a merge)."""
    head, end, _ = card[4:].partition("\n---") if card.startswith("---\n") else ("", "", "")
    try:
        read = yaml.safe_load(head) if end else None
    except yaml.YAMLError:
        return None
    named = read.get("base_model") if isinstance(read, dict) else None
    if isinstance(named, list):
        named = named[0] if len(named) == 1 else None
    return named.strip() if isinstance(named, str) and named.strip() else None

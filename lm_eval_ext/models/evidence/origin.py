"""What a checkpoint that came compressed says of the model that it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["origin_of"]

_CONFIG_KEYS = ("base_model", "base_model_name_or_path", "_name_or_path", "_model_name_or_path")


def origin_of(pretrained: str | None, revision: str = "main") -> dict[str, Any]:
    """Who made it from what, as far as its files say.

    Args:
        pretrained: A folder or a name on the hub, whose files were fetched by the load; None for a model object.
        revision: Of the hub's repository.

    Returns:
        base_model and told_by ("config", "card"); both None where nothing names one. A path that is no folder here and
        no name of the hub's kind (OWNER/NAME) counts as nothing.
    """
    if pretrained is not None:
        config = _json(_file(pretrained, "config.json", revision))
        for key in _CONFIG_KEYS:
            named = config.get(key)
            if isinstance(named, str) and named != pretrained and _is_model(named):
                return {"base_model": named, "told_by": "config"}
        named = _card(_file(pretrained, "README.md", revision)).get("base_model")
        named = named[0] if isinstance(named, list) and len(named) == 1 else named
        if isinstance(named, str) and named != pretrained and _is_model(named):
            return {"base_model": named, "told_by": "card"}
    return {"base_model": None, "told_by": None}


def _is_model(name: str) -> bool:
    if Path(name).is_absolute() or name.startswith((".", "~")):
        return (Path(name) / "config.json").is_file()
    return name.count("/") == 1 and all(name.split("/")) and " " not in name


def _file(pretrained: str, name: str, revision: str) -> Path | None:
    """A file of the checkpoint that is on this machine; nothing is fetched."""
    if Path(pretrained).is_dir():
        path = Path(pretrained) / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(pretrained, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _json(path: Path | None) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _card(path: Path | None) -> Mapping[str, Any]:
    """The front matter of a model card."""
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError):
        return {}
    if not text.startswith("---\n"):
        return {}
    head, end, _ = text[4:].partition("\n---")
    try:
        read = yaml.safe_load(head) if end else {}
    except yaml.YAMLError:
        return {}
    return read if isinstance(read, dict) else {}

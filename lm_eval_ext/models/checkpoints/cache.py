"""Where this project keeps what it builds once."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "checkpoint_cache"]


def cache_folder() -> Path:
    """LM_EVAL_EXT_CACHE, or lm-eval-ext in the user's cache folder."""
    own = os.environ.get("LM_EVAL_EXT_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lm-eval-ext"


def checkpoint_cache() -> Path:
    """The folder that backends keep compressed checkpoints in; it may not exist yet."""
    return cache_folder() / "checkpoints"

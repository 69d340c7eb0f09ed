"""Where this project keeps what it builds once."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "checkpoint_cache"]


def cache_folder() -> Path:
    """LM_EVAL_EXT_CACHE, or lm-eval-ext in the user's cache folder."""
    own = os.environ.get("LM_EVAL_EXT_CACHE")
    return Path(own).expanduser() if own else _user_cache() / "lm-eval-ext"


def checkpoint_cache() -> Path:
    """The folder that compressed checkpoints are kept in; it may not exist yet.

    Checkpoints are large and belong where models are: LM_EVAL_EXT_CACHE/checkpoints if that is set, else
    lm-eval-ext/checkpoints in the home of Hugging Face's caches (HF_HOME, as huggingface_hub finds it).
    """
    if os.environ.get("LM_EVAL_EXT_CACHE"):
        return cache_folder() / "checkpoints"
    home = os.environ.get("HF_HOME") or str(_user_cache() / "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "lm-eval-ext" / "checkpoints"


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) if base else Path.home() / ".cache"

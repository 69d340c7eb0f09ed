"""Weights that count as the original although they look compressed: their owner says so by a file beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["ORIGINAL_FILE", "counts_as_original"]

ORIGINAL_FILE = "compression_original.txt"
"""Beside a checkpoint of plain floats it says that they are the original, whatever they look like."""


def counts_as_original(pretrained: Any) -> bool:
    """Whether the file lies in a folder."""
    return isinstance(pretrained, str) and (Path(pretrained) / ORIGINAL_FILE).is_file()

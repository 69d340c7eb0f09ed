"""Where the real items and real answers lie that some tests compare against."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_data(*parts: str) -> Path:
    """Path of a file or folder of the shared test data; skips the test, saying why, where it is absent."""
    base = Path(os.environ.get("LM_EVAL_EXT_DATA", ROOT.parent / "shared" / "data"))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared test data {'/'.join(parts)} is absent (LM_EVAL_EXT_DATA names its folder)")
    return path

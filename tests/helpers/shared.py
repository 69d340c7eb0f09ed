"""Where the real items and real answers lie that some tests compare against."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABSENT = "shared test data"
"""How the reason of a test begins that was skipped for want of them."""


def shared_data(*parts: str) -> Path:
    """Path of a file or folder of the shared test data.

    Where it is absent the test is skipped, and counted in the last lines of the run. With CI=true it fails: a run that
    nobody watches must not pass for one that compared with real answers.
    """
    base = Path(os.environ.get("LM_EVAL_EXT_DATA", ROOT.parent / "shared" / "data"))
    path = base.joinpath(*parts)
    if not path.exists():
        reason = f"{ABSENT} {'/'.join(parts)} is absent (LM_EVAL_EXT_DATA names its folder)"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(f"{reason}; with CI=true it is required", pytrace=False)
        pytest.skip(reason)
    return path


def skipped_line(reasons: list[str]) -> str | None:
    """The line that ends a run some of whose tests were skipped for want of shared data; None if none was."""
    missing = sum(ABSENT in reason for reason in reasons)
    if not missing:
        return None
    return f"{missing} tests were skipped: their real items and answers are absent. LM_EVAL_EXT_DATA names the folder."

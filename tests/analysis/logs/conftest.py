from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; files of any size are kept in it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(folder))
    monkeypatch.setattr("analysis.logs.cache.SMALLEST", 0)
    return folder / "samples"

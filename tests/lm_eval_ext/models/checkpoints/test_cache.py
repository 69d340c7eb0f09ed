"""Where compressed checkpoints are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lm_eval_ext.models.checkpoints.cache import cache_folder, checkpoint_cache


def test_our_own_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    assert checkpoint_cache() == tmp_path / "checkpoints"


@pytest.mark.parametrize(
    "variables", [{"HF_HOME": "/data/hf"}, {"HF_HOME": "~/hf"}, {"XDG_CACHE_HOME": "/data/cache"}, {}], ids=str
)
def test_else_they_are_in_the_home_of_hugging_face(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LM_EVAL_EXT_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    line = "from huggingface_hub import constants; print(constants.HF_HOME)"
    theirs = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True, env=os.environ)
    assert checkpoint_cache() == Path(theirs.stdout.strip()) / "lm-eval-ext" / "checkpoints"
    assert cache_folder().name == "lm-eval-ext"

"""A calibration text and a tokenizer, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.compress import write_text
from tests.helpers.tiny import tiny_tokenizer


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("calibration") / "text.txt")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_tokenizer()

"""One thread for the tests of tiny models; a calibration text and a tokenizer, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.compress import write_text
from tests.helpers.tiny import tiny_tokenizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 64 columns are done before a second thread has woken up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("calibration") / "text.txt")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_tokenizer()

"""Tiny checkpoints that several tests here share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.tiny import write_tiny

# BBQ's prompts have up to a thousand of the tiny tokenizer's tokens.
LONG = {"max_position_embeddings": 2048}


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("llama", tmp_path_factory.mktemp("llama"), **LONG)


@pytest.fixture(scope="session")
def no_system_role(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose chat template refuses a system message, as Gemma-2's does."""
    return write_tiny("llama", tmp_path_factory.mktemp("folding"), system_role=False, **LONG)

"""Settings that every test shares: no network, two threads, GPU tests only where there is a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.venvs import SITE, Venv, build

# Before any test imports torch, numpy or huggingface_hub, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "2"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked gpu where torch sees no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from the working tree."""
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """An environment with our wheel installed and every dependency visible; not to be changed."""
    env = Venv(tmp_path_factory.mktemp("installed") / "venv")
    env.install(wheel)
    env.see(SITE)
    return env


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama checkpoint with its tokenizer; not to be changed."""
    from tests.helpers.tiny import write_tiny

    return write_tiny("llama", tmp_path_factory.mktemp("tiny"))

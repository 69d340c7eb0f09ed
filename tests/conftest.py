"""Settings that every test shares: no network, two threads, a cache of its own, GPU tests only where there is a GPU."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from lm_eval_ext.models.checkpoints.cache import cache_folder
from tests.helpers.shared import skipped_line
from tests.helpers.venvs import SITE, Venv, build

# Before any test imports torch, numpy or huggingface_hub, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Workers that run side by side (`pytest -n`) have a core each.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

# What else the machine does must not decide whether a test passes: no example is timed.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

_BUILT = cache_folder()
"""What is built once and for long, such as the demonstration model: the user's cache folder, as it was before."""


def _link_what_is_built(folder: Path) -> None:
    """Make what is built once visible in a new cache folder; what was read of logs or compressed is not."""
    for built in _BUILT.iterdir() if _BUILT.is_dir() else ():
        if built.name not in ("samples", "checkpoints") and not built.name.startswith("."):
            (folder / built.name).symlink_to(built)


def pytest_configure(config: pytest.Config) -> None:
    """Fixtures that live longer than a test share a cache that lives as long as the run.

    Temporary folders of workers (`pytest -n`) have names as short as without: messages shorten long paths.
    """
    if hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="pytest-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))
    folder = Path(tempfile.mkdtemp(prefix="lm-eval-ext-tests-"))
    _link_what_is_built(folder)
    os.environ["LM_EVAL_EXT_CACHE"] = str(folder)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, empty but for what is built once: no test sees what another has read."""
    folder = tmp_path_factory.mktemp("own_cache")
    _link_what_is_built(folder)
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def heard() -> None:
    """Logging as a process begins with it: libraries that a test imports may turn the root logger down for good."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.partition(".")[0] == "lm_eval_ext" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """Folder of the demonstration model, built in the user's cache folder if it is not there; not to be changed."""
    from lm_eval_ext.demo import demo_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LM_EVAL_EXT_CACHE", str(_BUILT))
        return demo_model()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not compare with real items and answers."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if line := skipped_line(reasons):
        terminalreporter.write_line(line, yellow=True, bold=True)


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

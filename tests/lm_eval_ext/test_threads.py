"""How threads wait on a CPU: set in time, and never against the user."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lm_eval_ext import threads
from tests.helpers.shared import ROOT

SHOW = "import os, lm_eval.models; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody had said anything, on a machine without a GPU, before torch is loaded."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(threads, "_GPUS", ())


def test_a_run_of_lm_eval_sets_it() -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    found = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    gpu = any(map(os.path.exists, threads._GPUS))
    assert found.stdout.strip() == ("None" if gpu else threads.SPINS)


@pytest.mark.usefixtures("untouched")
def test_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.wait_politely()
    assert os.environ.pop("GOMP_SPINCOUNT") == threads.SPINS
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert not threads.wait_politely()
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert not threads.wait_politely()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


@pytest.mark.usefixtures("untouched")
def test_not_behind_torch_and_not_where_a_gpu_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_GPUS", ("/dev/null",))
    assert not threads.wait_politely()
    monkeypatch.setattr(threads, "_GPUS", ())
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not threads.wait_politely()
    assert "GOMP_SPINCOUNT" not in os.environ

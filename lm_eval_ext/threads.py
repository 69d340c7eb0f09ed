"""How torch's threads wait for each other on a CPU: set before torch is loaded, since it is read once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["SPINS", "wait_politely"]

SPINS = "1000"
"""Rounds that a thread of GNU OpenMP spins at a barrier before it sleeps; its own default is millions."""
_SAID = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def wait_politely() -> bool:
    """Let threads sleep soon at barriers, so that another process on the machine costs its share and not all.

    With one thread a core and one core kept busy by another process, a thread that spins takes the time that the one it
    waits for needs. Only GNU OpenMP reads this; others ignore it.

    Returns:
        Whether it was set: not where torch is loaded already, a GPU does the work, or the user has said how threads wait.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _SAID) or any(map(_exists, _GPUS)):
        return False
    os.environ["GOMP_SPINCOUNT"] = SPINS
    return True


def _exists(path: str) -> bool:
    return Path(path).exists()

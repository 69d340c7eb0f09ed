"""What a result was measured on, written beside it."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["machine", "write_json"]


def machine(*packages: str) -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GiB, and releases of Python and the named packages."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": names[0] if names else platform.processor(),
        "avx512": any("avx512f" in line for line in lines),
        "cores": cores,
        "memory_gib": None if memory is None else round(memory, 1),
        "python": platform.python_version(),
        "packages": found,
    }


def write_json(path: Path, results: Any, *packages: str) -> None:
    """Write results with the machine that they were measured on."""
    text = json.dumps({"machine": machine(*packages), "results": results}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")

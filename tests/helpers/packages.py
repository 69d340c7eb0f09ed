"""Packages that bring something by entry points: a folder with a module and its metadata, as an installer leaves it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

TOY = Path(__file__).parent / "toy"
"""A backend of another package, in two files: the module, and the script that it runs in a process of its own."""


def write_package(
    folder: Path,
    groups: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str] | None = None,
    name: str = "toy",
    version: str = "0.1",
) -> Path:
    """Write a distribution into a folder that is to lie on sys.path.

    Args:
        folder: May hold other packages.
        groups: For each entry-point group its lines, name to module:object.
        modules: Text of each module by file name.
        name: The distribution's name.
        version: Its version.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [line for group, own in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in own.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for file, text in (modules or {}).items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def write_toy_backend(folder: Path) -> Path:
    """The package of the test backend: backend `toy`, methods `toy_prune` and `toy_round`."""
    write_package(
        folder,
        {
            "lm_eval_ext.backends": {"toy": "toy_backend:BACKEND"},
            "lm_eval_ext.methods": {"toy_prune": "toy_backend:ToyPrune", "toy_round": "toy_backend:ToyRound"},
        },
        name="toy-backend",
        version="1.2",
    )
    for file in TOY.glob("*.py"):
        shutil.copy(file, folder)
    return folder

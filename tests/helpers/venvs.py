"""Throw-away environments: what a user's machine looks like once our wheel is installed.

No network and no copies: the wheel is built by the project's own backend, installed without dependencies, and
the dependencies become visible through a path file, behind the environment's own site-packages. The path file
names the site-packages of the interpreter that runs the tests; .pth files in there (the editable install's,
hence the repository) are not read again, so only the wheel's copy of our packages can be imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(sysconfig.get_path("purelib"))
# The console script as lm_eval's own wheel installed it.
LM_EVAL = Path(sysconfig.get_path("scripts")) / "lm_eval"


class Venv:
    """An environment without pip, and how to run things in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.folder = folder
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.site = folder / "lib" / version / "site-packages"

    def pip(self, *arguments: str | Path) -> None:
        """Run the test interpreter's pip on this environment; no index."""
        command = [sys.executable, "-m", "pip", "--python", self.python, "--quiet", *arguments]
        subprocess.run(command, check=True, env=clean_environment())

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-index", "--no-deps", wheel)

    def see(self, packages: Path) -> None:
        """Make the packages in a folder importable, behind our own."""
        (self.site / "zz_dependencies.pth").write_text(f"{packages}\n")

    def run(
        self, *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python on the arguments; never raises for a non-zero exit code."""
        return subprocess.run(
            [self.python, *command],
            cwd=cwd,
            env={**clean_environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def code(
        self, source: str, cwd: Path, env: Mapping[str, str] | None = None, *flags: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run(*flags, "-c", source, cwd=cwd, env=env)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


def clean_environment() -> dict[str, str]:
    """The environment without anything that would point at the repository or change our switches."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "LM_EVAL_EXT_", "PYTEST_")
    return {key: value for key, value in os.environ.items() if not key.startswith(dropped)}


def build(folder: Path, hook: str = "build_wheel", root: Path = ROOT) -> Path:
    """Build the wheel of a project into a folder with its backend, hatchling (`build_wheel` or `build_editable`)."""
    source = f"import hatchling.build as b; print(b.{hook}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", source], cwd=root, check=True, capture_output=True, text=True)
    return folder / done.stdout.strip().splitlines()[-1]


def required(wheel: Path) -> set[str]:
    """Names of every distribution that the wheel needs without an extra, and of what these need."""
    with ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    seen: set[tuple[str, str]] = set()
    queue = [(line, "") for line in lines]
    while queue:
        line, extra = queue.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), wanted)
            if key not in seen:
                seen.add(key)
                queue += [(deeper, wanted) for deeper in distribution(key[0]).requires or []]
    return {name for name, _ in seen}


def link_distributions(names: Sequence[str] | set[str], folder: Path) -> None:
    """Link the installed files of some distributions, and of no others, into a folder."""
    folder.mkdir()
    for name in names:
        tops = {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}
        for top in tops:
            link = folder / top
            if not link.is_symlink():
                link.symlink_to(SITE / top)

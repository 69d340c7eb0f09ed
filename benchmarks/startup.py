"""What the start-up hook adds to `python -c pass`.

Makes two virtual environments that hold what this one holds (as links, without any .pth file), puts the hook
into one of them, and starts both interpreters in turn, in random order within each pair. Wall time is what a
user feels; CPU time (user + system of the child) is what other work on the machine disturbs least. Exits with
1 if a median difference is not below the limit.

    python benchmarks/startup.py [--pairs 1000] [--limit-ms 3] [--hook FOLDER]
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

HOOK = Path(__file__).parents[1] / "hook"


def make_venv(folder: Path, *, hook: Path | None) -> Path:
    """An environment with this one's packages linked into it, and the hook of a folder; returns its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and entry.name not in {"_lm_eval_ext_hook.py", "__pycache__"}:
            (site / entry.name).symlink_to(entry)
    if hook:
        for name in ("lm_eval_ext_hook.pth", "_lm_eval_ext_hook.py"):
            shutil.copy(hook / name, site)
        compileall.compile_file(site / "_lm_eval_ext_hook.py", quiet=1)  # as pip does when it installs
    return python


def start(python: Path) -> tuple[float, float]:
    """Start the interpreter once; returns (wall, CPU) milliseconds."""
    began = time.perf_counter()
    child = os.posix_spawn(python, [str(python), "-c", "pass"], os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{python} -c pass failed with status {status}")
    return 1000 * wall, 1000 * (usage.ru_utime + usage.ru_stime)


def interval(values: list[float], rng: random.Random, draws: int = 2000) -> tuple[float, float]:
    """95% bootstrap interval of the median."""
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of starts (default 1000)")
    parser.add_argument("--limit-ms", type=float, default=3.0, help="largest median allowed (default 3)")
    parser.add_argument("--hook", type=Path, default=HOOK, help="folder of the hook (default: this repository's)")
    args = parser.parse_args()
    rng = random.Random(0)
    for variable in ("LM_EVAL_EXT_NO_HOOK", "PYTHONPATH"):
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory() as folder:
        without = make_venv(Path(folder) / "without", hook=None)
        with_hook = make_venv(Path(folder) / "with", hook=args.hook)
        for python in (without, with_hook):
            for _ in range(min(10, args.pairs)):
                start(python)
        seen: dict[Path, list[tuple[float, float]]] = {without: [], with_hook: []}
        for _ in range(args.pairs):
            for python in rng.sample([without, with_hook], 2):
                seen[python].append(start(python))
    print(f"Python {sys.version.split()[0]}, {args.pairs} pairs of `python -c pass`, medians in ms")
    medians = []
    for index, name in enumerate(("wall", "cpu")):
        before, after = ([run[index] for run in seen[python]] for python in (without, with_hook))
        added = [b - a for a, b in zip(before, after, strict=True)]
        medians.append(statistics.median(added))
        low, high = interval(added, rng)
        print(
            f"{name:<5} without {statistics.median(before):6.2f}  with {statistics.median(after):6.2f}  "
            f"added {medians[-1]:+.2f} [{low:+.2f}, {high:+.2f}]"
        )
    return 0 if max(medians) < args.limit_ms else 1


if __name__ == "__main__":
    sys.exit(main())

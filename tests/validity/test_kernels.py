"""The study's numbers are those of the data, whatever the processor adds up with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from validity.floors import new_bias
from validity.simulate import Design

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
import sys
from validity.study import cells, run_study
design = next(d for d in cells() if (d.name, d.templates, d.seeds) == ("no change", 25, 1))
frame = run_study([design], 20, seed=7, workers=1)
sys.stdout.write(frame[["check", "kind", "n", "rate", "low", "high"]].to_json(orient="split", double_precision=15))
"""


def small_study(kernel: str, threads: int) -> str:
    settings = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_CORETYPE": kernel} | settings
    return subprocess.run([sys.executable, "-c", SMALL], env=env, check=True, capture_output=True, text=True).stdout


def test_kernels_and_threads_give_one_result() -> None:
    # OpenBLAS takes the kernel that is named if the processor has it; other libraries overlook the name.
    first, *others = (small_study(kernel, threads) for kernel, threads in (("Haswell", 1), ("SkylakeX", 2)))
    assert "new bias in excess of its floor" in first
    for other in others:
        assert other == first


def test_without_a_change_the_true_excess_is_zero() -> None:
    # Whatever shape the population has: baseline and run have one, and two sums of it differ by rounding alone.
    designs = [
        Design(name="x", seeds=seeds, template_spread=template, item_spread=item)
        for seeds in (1, 2, 3, 5, 7)
        for template in (0.3, 1.0, 1.7)
        for item in (0.4, 1.5, 2.2)
    ]
    assert {new_bias(design)[1] for design in designs} == {0.0}

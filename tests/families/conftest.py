"""The tasks of this folder, asked by a stock `lm_eval` of the demonstration model and of the same at three bits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from analysis import Analysis, analyze
from tests.families.hand import ASKED
from tests.helpers.venvs import LM_EVAL, ROOT

TASKS = Path(__file__).parent / "tasks"


@pytest.fixture(scope="session")
def family_runs(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a run of lm_eval's own hf model, and one of compressed_hf, both by the command line, side by side."""
    folder = tmp_path_factory.mktemp("families")
    (folder / "tasks").symlink_to(TASKS)
    common = f"pretrained={demo_checkpoint},dtype=float32,softmax_dtype=float32"
    models = {"dense": ("hf", common), "rtn-3": ("compressed_hf", f"{common},recipe=rtn-3")}
    # lm_eval's bootstrap of a standard error would start a pool of processes for each task.
    found = {"PYTHONPATH": str(ROOT), "DISABLE_MULTIPROC": "1"}
    # One thread each: two processes with two threads each wait for one another most of the time.
    found |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    running = {}
    for name, (model, arguments) in models.items():
        command = [str(LM_EVAL), "--model", model, "--model_args", arguments, "--include_path", "tasks"]
        command += ["--tasks", ",".join(ASKED), "--output_path", f"runs/{name}", "--log_samples"]
        with (folder / f"{name}.txt").open("w") as output:
            running[name] = subprocess.Popen(
                [*command, "--batch_size", "8", "--device", "cpu"],
                cwd=folder,
                env=os.environ | found,
                stdout=output,
                stderr=output,
            )
    for name, process in running.items():
        assert process.wait() == 0, (folder / f"{name}.txt").read_text()[-3000:]
    return folder / "runs"


@pytest.fixture(scope="session")
def family_report(family_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Their analysis."""
    return analyze(family_runs, tmp_path_factory.mktemp("family_report") / "report")

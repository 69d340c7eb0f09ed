"""`lm-eval-ext demo`: the main job, through the stock lm_eval command, on the demonstration model and items."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lm_eval_ext.demo.model import demo_model
from lm_eval_ext.errors import UserError

__all__ = ["RECIPES", "run_demo"]

# Small enough that the whole demonstration takes a few minutes on two cores.
RECIPES = (
    "recipe=dense",
    "recipe=wanda-50,calibration=demo,samples=16,seqlen=256",
    "recipe=rtn-3",
)
# All three rotations of the options: the model is so small that with one order it answers with one letter.
TASKS = "bbq_itemlevel_cyclic_demo,text_perplexity"


def command(model: Path, recipe: str, runs: Path) -> list[str]:
    """The lm_eval command of one run, as a user would type it (with this interpreter in front)."""
    arguments = ["--model", "compressed_hf", "--model_args", f"pretrained={model},{recipe},max_length=2048"]
    arguments += ["--tasks", TASKS, "--batch_size", "8", "--device", "cpu", "--apply_chat_template"]
    return [
        sys.executable,
        "-m",
        "lm_eval_ext",
        "run",
        *arguments,
        "--log_samples",
        "--output_path",
        str(runs),
    ]


def run_demo(output: Path, say: Callable[[str], None]) -> Path:
    """Evaluate the demonstration model dense and compressed, and analyse the runs.

    Args:
        output: New or empty folder; gets `runs` (lm_eval's logs) and `report`.
        say: Told each command before it runs.

    Returns:
        The report folder.

    Raises:
        UserError: If the folder is occupied, the model is not to be had, or a run fails.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"the demonstration writes to {output}, which exists; remove it or give --output FOLDER")
    model = demo_model()
    runs, report = output / "runs", output / "report"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for recipe in RECIPES:
        line = command(model, recipe, runs)
        say("lm_eval " + shlex.join(line[4:]))
        _call(line, environment)
    line = [sys.executable, "-m", "lm_eval_ext", "analyze", str(runs), "--output", str(report)]
    say("lm-eval-ext " + shlex.join(line[3:]))
    _call(line, environment)
    return report


def _call(line: list[str], environment: dict[str, str]) -> None:
    code = subprocess.run(line, env=environment, check=False).returncode
    if code:
        raise UserError(f"the command above ended with code {code}; its messages say why")

"""`lm-eval-ext demo`: the main job, through the stock lm_eval command, on the demonstration model and items."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lm_eval_ext.demo.model import demo_model
from lm_eval_ext.errors import UserError, require_text

__all__ = ["RECIPES", "options", "run_demo"]

RECIPES = (
    "recipe=dense",
    "recipe=wanda-50,calibration=demo,samples=16,seqlen=256",
    "recipe=rtn-3",
)
# All three rotations of the options: the model is so small that with one order it answers with one letter.
TASKS = "bbq_itemlevel_cyclic_demo,text_perplexity"
# Half of the items, so that installed cores have the whole result within three minutes. Any beginning of the items is
# balanced over templates, conditions and roles.
LIMIT = 100


def options(model: str, recipe: str, runs: str) -> list[str]:
    """What a user types behind `lm_eval` for one run.

    Args:
        model: Folder of the model.
        recipe: One of RECIPES.
        runs: Folder for lm_eval's logs.
    """
    return [
        *("--model", "compressed_hf", "--model_args", f"pretrained={model},{recipe},max_length=2048"),
        *("--tasks", TASKS, "--limit", str(LIMIT), "--apply_chat_template", "--batch_size", "8", "--device", "cpu"),
        *("--log_samples", "--output_path", runs),
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
    require_text("--output", output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"the demonstration writes to {output}, which exists; remove it or give --output FOLDER")
    model = demo_model()
    runs, report = output / "runs", output / "report"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for recipe in RECIPES:
        line = options(str(model), recipe, str(runs))
        say("lm_eval " + shlex.join(line))
        _call(["run", *line], environment)
    line = ["analyze", str(runs), "--output", str(report)]
    say("lm-eval-ext " + shlex.join(line))
    _call(line, environment)
    return report


def _call(arguments: list[str], environment: dict[str, str]) -> None:
    """Run lm-eval-ext with this interpreter; its `run` is lm_eval's own command."""
    code = subprocess.run([sys.executable, "-m", "lm_eval_ext", *arguments], env=environment, check=False).returncode
    if code:
        raise UserError(f"the command above ended with code {code}; its messages say why")

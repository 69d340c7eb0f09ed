"""`lm-eval-ext demo`: the main job, through the stock lm_eval command, on the demonstration model and items."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lm_eval_ext.demo.model import is_built, model_folder, require_source
from lm_eval_ext.demo.screen import Screen
from lm_eval_ext.demo.watch import ended_with_us, last_lines, position, watch
from lm_eval_ext.errors import UserError, require_text
from lm_eval_ext.media import for_terminal

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


@dataclass(frozen=True)
class _Step:
    """One command of the demonstration."""

    title: str
    shown: str
    """The command as a user types it."""
    arguments: list[str]
    """What goes behind `lm-eval-ext`, whose `run` is lm_eval's own command."""
    weight: float = 1.0
    """How long it takes against a run."""


def _steps(output: Path) -> list[_Step]:
    """What there is to do, in order; the last one prints what was found."""
    runs, report = str(output / "runs"), str(output / "report")
    steps = [] if is_built() else [_Step("build the model (once)", "lm-eval-ext demo-model", ["demo-model"])]
    for recipe in RECIPES:
        line = options(str(model_folder()), recipe, runs)
        title = recipe.split(",")[0].removeprefix("recipe=")
        steps.append(_Step(title, f"lm_eval {shlex.join(line)}", ["run", *line]))
    line = ["analyze", runs, "--output", report]
    return [*steps, _Step("compare", f"lm-eval-ext {shlex.join(line)}", line, weight=0.2)]


def run_demo(output: Path, console: Console | None = None, verbose: bool = False) -> Path:
    """Evaluate the demonstration model dense and compressed, and analyse the runs.

    Args:
        output: New or empty folder; gets `runs` (lm_eval's logs), `report`, and `demo.log` with all that lm_eval says.
        console: Where to show how far it is; standard output if not given.
        verbose: Whether to show on standard error what goes to demo.log.

    Returns:
        The report folder.

    Raises:
        UserError: If the folder is occupied, the model is not to be had, or a step fails.
    """
    require_text("--output", output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"the demonstration writes to {output}, which exists; remove it or give --output FOLDER")
    if not is_built():
        require_source()
    steps, log = _steps(output), output / "demo.log"
    output.mkdir(parents=True, exist_ok=True)
    log.touch()
    screen = Screen(console or Console(), [step.weight for step in steps], not verbose)
    try:
        with ended_with_us(), screen:
            screen.say(f"A small model is asked {LIMIT} items: as it is, pruned and quantized. Log: {log}")
            for step in steps[:-1]:
                screen.begin(step.title)
                _logged(step, log, screen, verbose)
                screen.end()
            screen.rest()
            screen.begin(steps[-1].title)
            _say_all(steps[-1], log)
    except (KeyboardInterrupt, SystemExit):
        sys.stderr.write(for_terminal(f"The demonstration was ended; what there is of it is in {output}") + "\n")
        raise
    return output / "report"


def _logged(step: _Step, log: Path, screen: Screen, verbose: bool) -> None:
    """Run a step whose output goes to the log.

    Raises:
        UserError: If it fails; its last lines are shown before.
    """
    _note(step, log)
    start = shown = log.stat().st_size

    def look() -> None:
        nonlocal shown
        screen.move(*position(log, start))
        if verbose:
            shown = _copy(log, shown)

    code = watch(_command(step), _environment(), log, look)
    if code:
        screen.rest()
        if not verbose:
            sys.stderr.write("".join(f"{for_terminal(line)}\n" for line in last_lines(log, start)))
        raise UserError(f"the step {step.title} ended with code {code}; all that it said is in {log}")


def _say_all(step: _Step, log: Path) -> None:
    """Run a step that prints for the user: what it says is the demonstration's result."""
    _note(step, log)
    code = watch(_command(step), _environment(), None, lambda: None)
    if code:
        raise UserError(f"the step {step.title} ended with code {code}; the lines above say why")


def _note(step: _Step, log: Path) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {step.shown}\n")


def _copy(log: Path, start: int) -> int:
    """Show on standard error what was added to the log, and return where it ends now."""
    with log.open("rb") as file:
        file.seek(start)
        added = file.read()
    sys.stderr.write(added.decode(errors="replace"))
    sys.stderr.flush()
    return start + len(added)


def _command(step: _Step) -> list[str]:
    return [sys.executable, "-m", "lm_eval_ext", *step.arguments]


def _environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}

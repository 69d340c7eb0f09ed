"""What to type: the command of this analysis with a change, and lm_eval's for a run that is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..logs import Inputs, RunLog

__all__ = ["AnalyzeCommand", "lm_eval_command"]

_KEPT = (
    *("pretrained", "revision", "subfolder", "tokenizer", "peft", "delta", "gguf_file", "dtype", "softmax_dtype"),
    *("max_length", "add_bos_token", "prefix_token_id", "attn_implementation", "trust_remote_code", "rolling_bos"),
)
"""Model arguments that a run and its baseline share: they say which model, and how it is asked."""


@dataclass(frozen=True)
class AnalyzeCommand:
    """The command line of one analysis."""

    runs: tuple[str, ...] = ("RUNS",)
    """Folders and files that are read."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options by name, without the dashes: a value, several of them, true for a bare one, None where it isn't given."""
    folder: str = "RUNS"
    """Where another run's files would go, to be found with the others."""

    @classmethod
    def of(cls, inputs: Inputs, options: Mapping[str, Any]) -> AnalyzeCommand:
        """The command line that reads these inputs."""
        folder = inputs.given[0] if Path(inputs.given[0]).is_dir() else str(inputs.root)
        return cls(inputs.given, options, folder)

    def text(self, **changes: Any) -> str:
        """The line, quoted for a shell, with some options changed."""
        words = ["lm-eval-ext", "analyze", *self.runs]
        for name, given in {**self.options, **changes}.items():
            for value in given if isinstance(given, (list, tuple, set, frozenset)) else [given]:
                flag = f"--{name.replace('_', '-')}"
                # An option that is on or off has no value.
                words += [] if value is None or value is False else [flag] if value is True else [flag, str(value)]
        return shlex.join(words)

    def basing(self, model: str, base: str) -> str:
        """The line with a model's base model named beside those that are."""
        return self.text(base=(*(self.options.get("base") or ()), f"{model}={base}"))

    def allowing(self, names: Iterable[str]) -> str:
        """The line with some differences accepted beside those that are."""
        return self.text(allow=tuple(dict.fromkeys([*(self.options.get("allow") or ()), *names])))


def lm_eval_command(
    run: RunLog, tasks: Iterable[str], output: str, *, recipe: str | None = None, again: bool = False
) -> str:
    """The command that evaluates a model as a run was, quoted for a shell.

    Args:
        run: What was run: model, data type, prompts, limit.
        tasks: Tasks to run.
        output: Where its files go.
        recipe: What to do to the model; None asks for the plain model.
        again: Whether the run's own arguments are taken as they are, recipe and all.

    Returns:
        One line. Where the number of examples differs between the tasks it is left to them.
    """
    tasks = list(tasks)
    given = run.facts.get("arguments") or {"pretrained": run.base_model}
    arguments = given if again else {name: given[name] for name in _KEPT if name in given}
    model = str(run.facts["model_type"])
    if recipe is not None or (not again and model == "compressed_hf"):
        model, arguments = "compressed_hf", {**arguments, "recipe": recipe or "dense"}
    words = ["lm_eval", "--model", model]
    words += ["--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())]
    words += ["--tasks", ",".join(tasks)]
    shots = {run.tasks[task].n_shot for task in tasks if task in run.tasks}
    if len(shots) == 1 and (shot := shots.pop()):
        words += ["--num_fewshot", str(shot)]
    words += ["--apply_chat_template"] if run.facts["chat_template_sha"] else []
    words += ["--fewshot_as_multiturn"] if run.facts["fewshot_as_multiturn"] else []
    for option in ("system_instruction", "batch_size", "limit"):
        if (value := run.facts.get(option)) is not None:
            words += [f"--{option}", str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)]
    return shlex.join([*words, "--output_path", output, "--log_samples"])

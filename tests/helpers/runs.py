"""Running our tasks through lm_eval itself, with tiny random models and no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.shared import ROOT

TASKS = ROOT / "lm_eval_ext" / "tasks"


def model_args(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"pretrained": str(folder), "dtype": "float32", "softmax_dtype": "float32"} | changes


def task_manager(**metadata: Any) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)


def evaluate(
    folder: Path,
    tasks: list[str],
    *,
    model: str = "hf",
    args: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    output: Path | None = None,
    **kwargs: Any,
) -> Any:
    """Run tasks as lm_eval's command does, by default with its hf model; `output` has it write its files there."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker

    arguments = model_args(folder, **(args or {}))
    tracker = None if output is None else EvaluationTracker(output_path=str(output))
    results = lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=tasks,
        task_manager=task_manager(**arguments | (metadata or {})),
        device="cpu",
        evaluation_tracker=tracker,
        **({"batch_size": 8} | kwargs),
    )
    if tracker is not None:
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for name in results["configs"]:
            tracker.save_results_samples(task_name=name, samples=samples[name])
    return results


def strict(text: str) -> Any:
    """Parse JSON, refusing NaN and Infinity, which are none."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)

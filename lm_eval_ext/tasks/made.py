"""Tasks that are made for a data set without a YAML file of its own: how a plug-in's data set is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.errors import unknown_name
from lm_eval_ext.tasks import functions

__all__ = ["PROTOCOLS", "task_configs"]

PROTOCOLS = ("letters", "text", "cyclic", "sampled")


def task_configs(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The configurations of a data set's own tasks, as lm_eval's YAML files hold them.

    Args:
        dataset: Names its tasks and the protocol of each.

    Returns:
        By task name. Metrics: the accuracy where items have keys; with a direction the rates toward the stereotype, at
        the neutral option, and against it; what is unscored or unparsed.

    Raises:
        UserError: If a protocol is unknown.
    """
    return {name: _config(dataset, name, protocol) for name, protocol in dataset.tasks.items()}


def _config(dataset: Dataset, task: str, protocol: str) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    if protocol not in PROTOCOLS:
        raise unknown_name(f"protocol of task {task}", str(protocol), list(PROTOCOLS))
    config: dict[str, Any] = load_yaml(Path(__file__).parent / f"_{protocol}_yaml")
    return config | {
        "task": task,
        "dataset_kwargs": {"task_dataset": dataset.name},
        "metric_list": _metrics(dataset, sampled=protocol == "sampled"),
        "metadata": {"version": dataset.version},
    }


def _metrics(dataset: Dataset, *, sampled: bool) -> list[dict[str, Any]]:
    rates: dict[str, bool | None] = {"acc": True}
    if dataset.scheme.directed:
        rates |= {"srs": False}
        rates |= {"usr": None} if "neutral" in dataset.scheme.axes.values() else {}
        rates |= {"anti_rate": None}
        rates |= {"expected_srs": False} if sampled else {}
    rates |= {"unparsed" if sampled else "unscored": False}
    metrics = [
        {"metric": name, "aggregation": functions.aggregate_rate, "higher_is_better": better}
        for name, better in rates.items()
    ]
    answered = {"metric": "answer", "aggregation": functions.aggregate_answered, "higher_is_better": None}
    return [*metrics, answered]

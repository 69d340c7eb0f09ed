"""One results file as a typed record: the facts of a run, its tasks and their aggregate metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .aggregates import aggregates
from .fields import RUN_FIELDS, take_all
from .find import RunFiles
from .issues import Issue
from .values import LogError, integer, number

__all__ = ["RunLog", "TaskLog", "read_results"]

ROLLING = "loglikelihood_rolling"
_EVIDENCE_VERSIONS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class TaskLog:
    """What the results file says of one task, and what its samples file turned out to hold."""

    name: str
    output_type: str
    version: str | None
    n_shot: int | None
    n_effective: int | None
    """Documents that were evaluated."""
    task_hash: str | None
    """sha256 of all document, prompt and target hashes in order; missing if samples were not logged."""
    perplexities: dict[str, float]
    """Perplexity metrics by name, with the filter after a comma unless it is 'none'."""
    samples: Path | None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """By filter and metric, the aggregates that are numbers; without standard errors."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    """By metric, where the file tells."""
    aggregations: dict[str, str] = field(default_factory=dict)
    """By metric, the name or source text of its aggregation, where the configuration tells."""
    filters: tuple[str, ...] = ()
    """Names of the filters in lm_eval's order."""
    rows: int = 0
    """Rows read from the samples file; 0 for rolling tasks, which have no items."""
    has_roles: bool = False
    """Whether there are items with a direction."""
    score_digest: str | None = None
    """Hash of every item's raw scores, whatever the order; missing where nothing is scored."""

    @property
    def of_metrics(self) -> tuple[Any, ...]:
        """All that reading the samples is told of metrics."""
        return self.metrics, self.higher_is_better, self.aggregations, self.filters


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """One run as its results file describes it."""

    file: str
    """Results file, relative to the analysed folder."""
    date_id: str
    facts: dict[str, Any]
    """Values of RUN_FIELDS by column."""
    tasks: dict[str, TaskLog] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """Local time of the run's end as ISO 8601, as lm-eval put it into the file's name."""
        day, _, clock = self.date_id.partition("T")
        return f"{day}T{clock.replace('-', ':')}"

    @property
    def is_dense(self) -> bool:
        """Whether nothing was compressed: no evidence, or evidence of the method 'none'."""
        return self.facts["method"] in (None, "none")

    @property
    def base_model(self) -> str:
        """Name or path of the model before compression, with its adapter and a revision other than main."""
        name = self.facts["pretrained"] or self.facts["pretrained_args"] or self.facts["model_name"]
        parts = [str(name or "unnamed").rstrip("/") or "/", *self.facts["attachments"]]
        revision = self.facts["revision"] or self.facts["revision_args"]
        return "+".join(parts) + (f"@{revision}" if revision not in (None, "", "main") else "")

    @property
    def label(self) -> str:
        """The evidence's label; 'dense' for an uncompressed run."""
        return str(self.facts["label"] or ("dense" if self.is_dense else self.facts["method"]))

    @property
    def dtype(self) -> str | None:
        """Weights' dtype without torch's prefix."""
        found = self.facts["dtype"] or self.facts["dtype_args"]
        return None if found is None else str(found).removeprefix("torch.")

    @property
    def softmax_dtype(self) -> str:
        """Dtype that was asked for scoring, or 'default'."""
        found = self.facts["softmax_dtype"] or self.facts["softmax_dtype_args"]
        return "default" if found in (None, "None") else str(found).removeprefix("torch.")

    @property
    def scoring_dtype(self) -> str:
        """Dtype in which log-probabilities were taken: the weights' where none was asked."""
        return (self.dtype or "default") if self.softmax_dtype == "default" else self.softmax_dtype


def read_results(files: RunFiles, folder: Path, patterns: Iterable[str] = ()) -> tuple[RunLog | None, list[Issue]]:
    """Read one results file.

    Args:
        files: The run's files.
        folder: Analysed folder; issues name files relative to it.
        patterns: Shell patterns of the task names to keep; none keeps all.

    Returns:
        The run, or None with an issue if the file can't be read or is not lm-eval's; and the issues: tasks
        with results whose samples are missing, samples of a task that the results don't know.
    """
    name = str(files.results.relative_to(folder))
    try:
        content = json.loads(files.results.read_bytes())
        if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
            raise LogError("results: missing; not a results file of lm-eval")
        facts = _facts(content)
        tasks = {task.name: task for task in _tasks(content, files) if _wanted(task.name, patterns)}
    except (ValueError, RecursionError) as fault:
        return None, [Issue(name, "unreadable", f"{fault}; the run is left out")]
    issues = [
        Issue(str(path.relative_to(folder)), "unknown_task", f"{name} knows no task {task}; left out")
        for task, path in files.samples.items()
        if task not in content["configs"]
    ]
    if absent := [task.name for task in tasks.values() if not task.samples and task.output_type != ROLLING]:
        message = f"no samples file for {', '.join(absent)}, so no items: was lm_eval run without --log_samples?"
        issues.append(Issue(name, "no_samples", message))
    if (version := facts["evidence_version"]) not in (None, *_EVIDENCE_VERSIONS):
        message = f"compression evidence of schema {version}, read as {max(_EVIDENCE_VERSIONS)}; the rest is ignored"
        issues.append(Issue(name, "evidence_version", message, "note"))
    return RunLog(file=name, date_id=files.date_id, facts=facts, tasks=tasks), issues


def _wanted(task: str, patterns: Iterable[str]) -> bool:
    patterns = tuple(patterns)
    return not patterns or any(fnmatchcase(task, pattern) for pattern in patterns)


def _facts(content: dict[str, Any]) -> dict[str, Any]:
    config = content.get("config")
    arguments = _model_args(config.get("model_args") if isinstance(config, Mapping) else None)
    facts = take_all(RUN_FIELDS, {**content, "$model_args": arguments})
    # Another file or adapter on top makes another model of the same name.
    extra = [arguments.get(key) for key in ("gguf_file", "peft", "delta")]
    facts["attachments"] = [str(value).rstrip("/") for value in extra if value not in (None, "")]
    return facts


def _model_args(value: Any) -> dict[str, Any]:
    """lm-eval's model arguments: an object, or key=value pairs joined by commas (outside brackets)."""
    if isinstance(value, Mapping):
        return dict(value)
    out: dict[str, Any] = {}
    depth, current = 0, ""
    for character in f"{value or ''},":
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            key, separator, given = current.partition("=")
            if separator:
                out[key.strip()] = given.strip()
            current = ""
        else:
            current += character
    return out


def _tasks(content: dict[str, Any], files: RunFiles) -> Iterable[TaskLog]:
    configs = content.get("configs")
    if not isinstance(configs, dict):
        raise LogError("configs: missing; not a results file of lm-eval")

    def of(key: str, task: str) -> Any:
        section = content.get(key)
        return section.get(task) if isinstance(section, Mapping) else None

    # Groups have results too, but only tasks have a config.
    for name, config in configs.items():
        counts = of("n-samples", name)
        version = of("versions", name)
        metrics = content["results"].get(name)
        yield TaskLog(
            name=name,
            output_type=str((config or {}).get("output_type", "generate_until")),
            version=None if version is None else str(version),
            n_shot=integer(of("n-shot", name)),
            n_effective=integer(counts.get("effective")) if isinstance(counts, Mapping) else None,
            task_hash=of("task_hashes", name),
            perplexities=dict(_perplexities(metrics if isinstance(metrics, Mapping) else {})),
            samples=files.samples.get(name),
            **aggregates(metrics, config, of("higher_is_better", name)),
        )


def _perplexities(metrics: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for key, value in metrics.items():
        metric, _, name = key.partition(",")
        if (metric == "perplexity" or metric.endswith("_perplexity")) and (found := number(value)) is not None:
            yield (metric if name in ("", "none") else key), found

"""One run as its results file describes it: what was run, its tasks, and what it is taken for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .engine import UNVERIFIED, Engine, Standing, engine_of, standing_of
from .fingerprint import Fingerprint
from .task_groups import TaskGroup

__all__ = ["RunLog", "TaskLog", "last_parts"]


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
    reported: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By filter, the names of all aggregates, numbers or not."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    """By metric, where the file tells."""
    aggregations: dict[str, str] = field(default_factory=dict)
    """By metric, the name or source text of its aggregation, where the configuration tells."""
    own_results: bool = True
    """Whether the task makes its metrics by a function of its own, or its configuration does not say how."""
    filters: tuple[str, ...] = ()
    """Names of the filters in lm_eval's order."""
    rows: int = 0
    """Rows read from the samples file; 0 for rolling tasks, which have no items."""
    has_roles: bool = False
    """Whether there are items with a direction."""
    fingerprint: Fingerprint | None = None
    """Of what the model gave back; missing where that is neither scores nor texts."""

    @property
    def of_metrics(self) -> tuple[Any, ...]:
        """All that reading the samples is told of metrics."""
        return self.metrics, self.reported, self.higher_is_better, self.aggregations, self.own_results, self.filters

    def without(self, metrics: Iterable[str]) -> TaskLog:
        """The task without the aggregates of some metrics."""
        gone = frozenset(metrics)
        kept = {name: {m: v for m, v in found.items() if m not in gone} for name, found in self.metrics.items()}
        own = {name: value for name, value in self.perplexities.items() if name.partition(",")[0] not in gone}
        return replace(self, metrics=kept, perplexities=own) if gone else self


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """One run as its results file describes it."""

    file: str
    """Results file, relative to the analysed folder."""
    date_id: str
    facts: dict[str, Any]
    """Values of RUN_FIELDS by column, and `arguments`, the model arguments by name."""
    tasks: dict[str, TaskLog] = field(default_factory=dict)
    groups: dict[str, TaskGroup] = field(default_factory=dict)
    """Groups of tasks that have values of their own."""
    samples: dict[str, Path] = field(default_factory=dict)
    """All its sample files by task, wanted or not."""

    @property
    def date(self) -> str:
        """ISO 8601. Local time of the run's end, as lm-eval put it into the file's name; see undated.py for others."""
        day, _, clock = self.date_id.partition("T")
        return f"{day}T{clock.replace('-', ':')}"

    @cached_property
    def engine(self) -> Engine:
        """What ran it."""
        return engine_of(self.facts)

    @cached_property
    def standing(self) -> Standing:
        """What it is taken for, and how sure that is."""
        return standing_of(self.facts, self.engine)

    @property
    def is_dense(self) -> bool:
        """Whether it is taken for a model that nobody compressed: by evidence, or as nothing says otherwise."""
        return self.standing.is_dense

    @property
    def method(self) -> str:
        """Method of compression; "none" without, "unverified ..." where nobody proved what is suggested."""
        return self.standing.method

    @property
    def is_unverified(self) -> bool:
        """Whether it is, or may be, compressed in a way that nobody measured."""
        return self.standing.status == UNVERIFIED

    @property
    def own_name(self) -> str:
        """Name or path of the model that was loaded, with its adapter and a revision other than main."""
        name = self.facts["pretrained"] or self.facts["pretrained_args"] or self.facts["model_name"]
        if self.facts.get("serves"):
            name = self.facts["serves"]
        parts = [str(name or "unnamed").rstrip("/") or "/", *self.facts["attachments"]]
        revision = self.facts["revision"] or self.facts["revision_args"]
        return "+".join(parts) + (f"@{revision}" if revision not in (None, "", "main") else "")

    @property
    def base_model(self) -> str:
        """Name or path of the model before compression: what was found out of it, else the run's own name."""
        return str(self.facts.get("base_told") or self.own_name)

    @property
    def label(self) -> str:
        """The evidence's label, "dense" for a run taken as dense, "m-AWQ(unverified awq)" for an unproved one."""
        if self.standing.label is not None:
            return self.standing.label
        return f"{last_parts(self.own_name)}({self.standing.method})"

    @property
    def dtype(self) -> str | None:
        """Weights' dtype without torch's prefix."""
        said = (self.facts.get("engine_values") or {}).get("dtype")
        asked = (self.facts.get("arguments") or {}).get("dtype")
        found = self.facts["dtype"] or self.facts["dtype_args"] or said or asked
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


def last_parts(name: str) -> str:
    """The last path component of every part of a model's name (model, adapter)."""
    return "+".join(part.rsplit("/", 1)[-1] or part for part in name.split("+"))

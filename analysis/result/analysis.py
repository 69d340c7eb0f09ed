"""The outcome of one analysis, for the report and for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from ..compare.pairing import Pairing
from ..errors import UserError
from ..logs import Issue
from ..schema.declare import AnyTable
from ..schema.documents import DOCUMENTS
from ..settings import Settings
from .render import many
from .show import Look
from .tables import read_items, read_table

__all__ = ["Analysis"]

_NAMED = 2
"""Runs that a title names."""


def _some(runs: list[str]) -> str:
    more = len(runs) - _NAMED
    return ", ".join(runs[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis:
    """The outcome of one analysis; its tables are what the report's files hold."""

    folder: Path
    """Analysed folder, or what all folders and files given have in common."""
    given: tuple[str, ...]
    """What was given to analyse."""
    output: Path
    """Report folder."""
    tables: Mapping[str, pd.DataFrame]
    """Tables of the report by name."""
    catalogue: tuple[AnyTable, ...]
    """What each of them holds and is made from, in the order of the report."""
    headline: pd.DataFrame
    """Table HEADLINE: the main numbers of each run and task."""
    perplexity_metric: str | None
    """Task and metric of the headline's perplexity; None without one."""
    pairing: Pairing
    """What was compared, and what was refused."""
    issues: list[Issue]
    """Everything that was left out, kept apart, refused, accepted or noted."""
    named_baseline: str | None
    allow: frozenset[str]
    bases: tuple[str, ...] = ()
    """What models were made from, as the user said it."""
    patterns: tuple[str, ...]
    settings: Settings
    """What its tests and intervals are made with."""
    _home: Path = field(init=False)

    def __post_init__(self) -> None:
        """Keep the report's place: the current folder can be another one when somebody reads from it."""
        object.__setattr__(self, "_home", self.output.resolve())

    @property
    def runs(self) -> pd.DataFrame:
        """Table RUNS: one row a run, as the table functions take it."""
        return self.tables["runs"]

    @cached_property
    def items(self) -> pd.DataFrame:
        """Table ITEMS: one row an answer of every run, read from the report when first asked for.

        Raises:
            UserError: If the report is gone.
        """
        return read_items(self._home / "items.parquet")

    @cached_property
    def documents(self) -> pd.DataFrame:
        """Table DOCUMENTS: what was asked, one row a document, by `doc_hash`. Read and refused as `items`."""
        return DOCUMENTS.conform(read_table(self._home / "documents.parquet"))

    @property
    def title(self) -> str:
        """What was compared, in some words: compression only where runs are compared with what they were before it."""
        pairs = self.pairing.pairs
        if not pairs:
            return "Nothing was compared"
        dense = set(self.runs.loc[self.runs["method"] == "none", "run"])
        unsure = set(self.runs.loc[self.runs["status"] == "unverified", "run"])
        if all(pair.baseline in dense and pair.run not in dense | unsure for pair in pairs):
            return "What compression changed"
        runs = list(dict.fromkeys(pair.run for pair in pairs))
        baselines = list(dict.fromkeys(pair.baseline for pair in pairs))
        shown = " and ".join(runs) if len(runs) <= _NAMED else many(len(runs), "run")
        return f"{shown} beside {' and '.join(baselines) if len(baselines) <= _NAMED else 'their baselines'}"

    @property
    def complete(self) -> bool:
        """Whether every comparison was made: nothing was refused, and nothing lacks a baseline."""
        return not any(issue.level == "error" for issue in self.issues)

    @property
    def compared(self) -> str:
        """One sentence on what was compared with what."""
        models = self.runs["base_model"].nunique()
        pairs = {(pair.run, pair.task) for pair in self.pairing.pairs}
        refused = len(self.pairing.refusals)
        text = f"{many(len(self.runs), 'run')} of {many(models, 'base model')}, {many(len(pairs), 'task comparison')}"
        baselines = sorted({pair.baseline for pair in self.pairing.pairs})
        text += f" with {', '.join(baselines)}" if baselines else ""
        text += f"; {many(refused, 'comparison')} refused." if refused else "."
        tasks, metrics = (self.headline[name].dropna().unique() for name in ("task", "metric"))
        text += f" Task: {tasks[0]}." if len(tasks) == 1 else ""
        text += f" Metric: {metrics[0]}." if len(metrics) == 1 and metrics[0] != "acc" else ""
        return text + self._engines + self._unsure

    @property
    def _engines(self) -> str:
        """What computed the answers, where runs of several engines are compared or stand beside one another."""
        names = self.runs["engine"].dropna().unique()
        crossed = sorted({pair.run for pair in self.pairing.pairs if "engine" in {d.name for d in pair.accepted}})
        text = f" Engines: {', '.join(sorted(map(str, names)))}." if len(names) > 1 else ""
        return text + (f" {_some(crossed)} compared across engines (--allow engine)." if crossed else "")

    @property
    def _unsure(self) -> str:
        """Runs whose compression nobody proved."""
        unsure = [str(run) for run in self.runs.loc[self.runs["status"] == "unverified", "run"]]
        return f" Unverified: {_some(unsure)}." if unsure else ""

    @property
    def _look(self) -> Look:
        return Look(
            sentence=self.compared,
            headline=self.headline,
            issues=self.issues,
            tables=self.tables,
            output=self.output,
        )

    def __repr__(self) -> str:
        """At most ten lines: what was compared, the headline's first rows, issues, and where the rest is."""
        return self._look.text

    def _repr_html_(self) -> str:
        return self._look.html

    @staticmethod
    def collect(analyses: Mapping[str, Analysis], table: str) -> pd.DataFrame:
        """One table of several analyses in one frame.

        Args:
            analyses: By the name that each gets in the column `analysis`.
            table: Name of a table that all have, or "headline".

        Returns:
            The rows in the order given, before them the column `analysis`. A column that one analysis lacks is missing
            in its rows.

        Raises:
            UserError: If there is no analysis, or one lacks the table.
        """
        if not analyses:
            raise UserError("collect: expected at least one analysis, got none")
        lacking = [name for name, found in analyses.items() if table != "headline" and table not in found.tables]
        if lacking:
            known = ", ".join(analyses[lacking[0]].tables)
            raise UserError(f"collect: {', '.join(lacking)} has no table {table!r}; there are headline, {known}")
        parts = []
        for name, found in analyses.items():
            frame = (found.headline if table == "headline" else found.tables[table]).copy()
            frame.insert(0, "analysis", pd.Series(name, index=frame.index, dtype="string"))
            parts.append(frame)
        return pd.concat(parts, ignore_index=True)
